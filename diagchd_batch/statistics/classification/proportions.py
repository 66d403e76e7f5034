"""Proportions of independent units: intervals, and the paired comparison of two proportions."""

import math
import numbers
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from scipy import special
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import check_level

IntervalMethod = Literal["wilson", "exact"]

_STATSMODELS_NAMES = {"wilson": "wilson", "exact": "beta"}


def proportion_interval(k: int, n: int, method: IntervalMethod = "wilson", level: float = 0.95) -> tuple[float, float]:
    """Return the confidence limits of k successes among n independent units.

    Args:
        k: Number of successes.
        n: Number of units.
        method: `wilson` (score) or `exact` (Clopper-Pearson).
        level: Confidence level, between 0 and 1.

    Returns:
        Lower and upper limit, within [0, 1].

    Raises:
        StatisticsError: n is 0 (no interval exists), k is not within 0 … n, or the method is unknown.

    Source: Wilson (1927), J Am Stat Assoc 22:209; Clopper & Pearson (1934), Biometrika 26:404.
    """
    check_level(level)
    if not isinstance(method, str) or method not in _STATSMODELS_NAMES:
        raise StatisticsError(f"unknown interval method {method!r}: use 'wilson' or 'exact'")
    k, n = _count(k, "k"), _count(n, "n")
    if n == 0:
        raise StatisticsError("a proportion of 0 units has no interval (zero denominator)")
    if k > n:
        raise StatisticsError(f"{k} successes among {n} units: k must not exceed n")
    low, high = _cached_confint(k, n, 1 - level, _STATSMODELS_NAMES[method])
    # Rounding may leave 1e-17 where the limit is exactly 0 or 1.
    return (0.0 if k == 0 else max(0.0, low), 1.0 if k == n else min(1.0, high))


def proportion(k: int, n: int, method: IntervalMethod = "wilson", level: float = 0.95) -> Estimate:
    """Return k / n with its interval; null with `zero_denominator` if n is 0.

    Arguments and errors are those of `proportion_interval`.
    """
    if _count(n, "n") == 0:
        return Estimate.null(NullReason.ZERO_DENOMINATOR, 0, numerator=0, denominator=0)
    low, high = proportion_interval(k, n, method, level)
    name = "wilson" if method == "wilson" else "clopper_pearson"
    return Estimate(int(k) / int(n), None, low, high, int(n), method=name, numerator=int(k), denominator=int(n))


def mcnemar_exact(b: int, c: int) -> float:
    """Return the two-sided exact McNemar p from the discordant counts.

    Args:
        b: Number of units on which only the first call is right.
        c: Number of units on which only the second call is right.

    Returns:
        The p value. It is 1 without a discordant pair, as in other implementations.

    Source: McNemar (1947), Psychometrika 12:153, as a binomial test of b among b + c at 1/2.
    """
    b, c = _count(b, "b"), _count(c, "c")
    return float(mcnemar([[0, b], [c, 0]], exact=True).pvalue)


def newcombe_paired_interval(
    both: int, only_a: int, only_b: int, neither: int, level: float = 0.95
) -> tuple[float, float]:
    """Return the confidence limits of p_a − p_b for two proportions of the same units.

    Args:
        both: Number of units on which a and b succeed.
        only_a: Number of units on which only a succeeds.
        only_b: Number of units on which only b succeeds.
        neither: Number of units on which neither succeeds.
        level: Confidence level, between 0 and 1.

    Returns:
        Lower and upper limit, within [−1, 1].

    Raises:
        StatisticsError: The counts sum to 0, or one is not a whole number of 0 or more.

    Source: Newcombe (1998), Stat Med 17:2635, method 10 (square-and-add of Wilson limits, phi with continuity
    correction).
    """
    both, only_a, only_b, neither = (_count(v, "each count") for v in (both, only_a, only_b, neither))
    n = both + only_a + only_b + neither
    low_a, high_a = proportion_interval(both + only_a, n, level=level)
    low_b, high_b = proportion_interval(both + only_b, n, level=level)
    p_a, p_b = (both + only_a) / n, (both + only_b) / n
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    cross = both * neither - only_a * only_b
    corrected = max(cross - n / 2, 0) if cross > 0 else cross
    phi = corrected / math.sqrt(margins) if margins else 0.0

    def half_width(distance_a: float, distance_b: float) -> float:
        squared = distance_a**2 - 2 * phi * distance_a * distance_b + distance_b**2
        return math.sqrt(max(squared, 0.0))  # rounding may leave −1e-19

    difference = p_a - p_b
    low = difference - half_width(p_a - low_a, high_b - p_b)
    high = difference + half_width(high_a - p_a, p_b - low_b)
    return max(low, -1.0), min(high, 1.0)


def paired_proportions(both: int, only_a: int, only_b: int, neither: int, level: float = 0.95) -> Comparison:
    """Compare two proportions of the same independent units: Newcombe's interval of a − b and the exact McNemar test.

    Arguments are those of `newcombe_paired_interval`.

    Returns:
        The comparison. Null with `zero_denominator` without units. Without a discordant pair the difference is 0,
        without interval or test, `identical_calls`.
    """
    n = both + only_a + only_b + neither
    if n == 0:
        return Comparison.null(NullReason.ZERO_DENOMINATOR)
    value_a, value_b = (both + only_a) / n, (both + only_b) / n
    if only_a + only_b == 0:
        return Comparison(value_a, value_b, 0.0, None, None, None, n, null_reason=NullReason.IDENTICAL_CALLS)
    low, high = newcombe_paired_interval(both, only_a, only_b, neither, level)
    return Comparison(
        value_a,
        value_b,
        (only_a - only_b) / n,
        None,
        low,
        high,
        n,
        method="newcombe_paired",
        test="mcnemar_exact",
        p=mcnemar_exact(only_a, only_b),
    )


def normal_quantile(level: float) -> float:
    """Return z of a two-sided interval, for example 1.96 for 0.95."""
    check_level(level)
    return float(special.ndtri((1 + level) / 2))


@lru_cache(maxsize=65_536)
def _cached_confint(k: int, n: int, alpha: float, method: str) -> tuple[float, float]:
    """Return statsmodels' limits. Tables ask for the same counts again and again, and a call takes 0.1 ms."""
    low, high = proportion_confint(k, n, alpha=alpha, method=method)
    return float(low), float(high)


def _count(value: Any, name: str) -> int:
    if isinstance(value, np.ndarray | np.generic) and value.ndim == 0:
        value = value.item()
    if not isinstance(value, numbers.Real) or not float(value).is_integer() or value < 0:
        raise StatisticsError(f"{name} must be a whole number of units, not negative, got {value!r}")
    return int(float(value))
