"""Proportions of units that are correlated because a subject has several (repeat scans, twins, images).

The percentile interval of the subject bootstrap covers too little in cohorts of the usual size (measured in
docs/statistics.md). So the cluster-robust variance enters Wilson's formula as an effective number of units.
"""

import math
from typing import Any

import numpy as np
from scipy import special, stats

from diagchd_batch.statistics.classification.proportions import IntervalMethod, proportion
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import check_level
from diagchd_batch.statistics.randomisation import sign_flip_test


def clustered_proportion(
    successes: np.ndarray, units: np.ndarray, method: IntervalMethod = "wilson", level: float = 0.95
) -> Estimate:
    """Return a proportion of units with subjects as the independent draws.

    The effective number of units is p (1 − p) / v, where v is the linearised variance over subjects. It is at most the
    number of units, and it is the number of subjects if all units agree (v = 0). Student's quantile on S − 1 degrees
    of freedom replaces the normal one. Both enter Wilson's formula (`wilson_effective_n`) or, for `exact`, Clopper and
    Pearson's (`clopper_pearson_effective_n`). Korn and Graubard also multiply the effective number by a ratio of two
    quantiles; this function puts Student's quantile into the formula instead.

    Args:
        successes: Array of shape (n_subjects,): successes among the subject's units.
        units: Array of shape (n_subjects,): number of the subject's units. Subjects without a unit do not count.
        method: `wilson` or `exact`.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `zero_denominator` or `too_few_subjects`.

    Source: effective number: Korn & Graubard (1998), Survey Methodology 24:193; Wilson's form: Dean & Pagano (2015), J
    Surv Stat Methodol 3:484.
    """
    check_level(level)
    successes, units = successes[units > 0], units[units > 0]
    n_subjects, n, k = len(units), int(units.sum()), int(successes.sum())
    counts: dict[str, Any] = {"numerator": k, "denominator": n, "n_subjects": n_subjects}
    if n == 0:
        return Estimate.null(NullReason.ZERO_DENOMINATOR, 0, **counts)
    if n_subjects == 1:
        return Estimate(k / n, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, **counts)
    variance = _covariance(successes, successes, units)
    effective = _effective_units(k / n, variance, n, n_subjects)
    quantile = _quantile(level, n_subjects)
    if method == "exact":
        low, high = _clopper_pearson(k / n, effective, float(2 * special.ndtr(-quantile)))
        name = "clopper_pearson_effective_n"
    else:
        low, high = _wilson(k / n, effective, quantile)
        name = "wilson_effective_n"
    return Estimate(k / n, math.sqrt(variance) or None, low, high, n, method=name, **counts)


def proportion_of_subjects(
    successes: np.ndarray, units: np.ndarray, method: IntervalMethod = "wilson", level: float = 0.95
) -> Estimate:
    """Return a proportion of units, as clustered data only if a subject has several of the units that it is taken over.

    Repeat scans of healthy subjects do not make the diseased ones dependent on each other.

    Args:
        successes: Array of shape (n_subjects,): successes among the subject's units.
        units: Array of shape (n_subjects,): number of the subject's units.
        method: As in `proportion_interval`.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate, as `proportion` or `clustered_proportion` returns it.
    """
    if units.max(initial=0) > 1:
        return clustered_proportion(successes, units, method, level)
    return proportion(int(successes.sum()), int(units.sum()), method, level)


def clustered_paired_proportions(
    successes_a: np.ndarray, successes_b: np.ndarray, units: np.ndarray, level: float = 0.95
) -> Comparison:
    """Compare two proportions of the same units, a − b, with subjects as the independent draws.

    The limits of the two proportions, as in `clustered_proportion`, are combined with their cluster-robust
    correlation. The test flips the signs of the subjects' differences.

    Args:
        successes_a: Array of shape (n_subjects,): successes of a among the subject's units.
        successes_b: Array of shape (n_subjects,): successes of b among the same units.
        units: Array of shape (n_subjects,): number of the subject's units.
        level: Confidence level, between 0 and 1.

    Returns:
        The comparison. If every subject has the same successes of a and b, the difference is 0 without interval or
        test, `identical_calls`; differences that cancel within every subject cannot be told apart from that. Null with
        `zero_denominator` or `too_few_subjects`.

    Source: Zou & Donner (2008), Stat Med 27:1693 (combines limits, as Newcombe 1998 does for independent units); test
    as in `sign_flip_test`.
    """
    rows = units > 0
    successes_a, successes_b, units = successes_a[rows], successes_b[rows], units[rows]
    n_subjects, n = len(units), int(units.sum())
    if n == 0:
        return Comparison.null(NullReason.ZERO_DENOMINATOR, 0, n_subjects=0)
    p_a, p_b = float(successes_a.sum() / n), float(successes_b.sum() / n)
    known: dict[str, Any] = {"value": p_a, "comparator_value": p_b, "difference": p_a - p_b, "n_subjects": n_subjects}
    if np.array_equal(successes_a, successes_b):
        return Comparison.null(NullReason.IDENTICAL_CALLS, n, **known)
    if n_subjects == 1:
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, **known)
    quantile = _quantile(level, n_subjects)
    var_a, var_b = (_covariance(s, s, units) for s in (successes_a, successes_b))
    covariance = _covariance(successes_a, successes_b, units)
    correlation = covariance / math.sqrt(var_a * var_b) if var_a > 0 and var_b > 0 else 0.0
    low_a, high_a = _wilson(p_a, _effective_units(p_a, var_a, n, n_subjects), quantile)
    low_b, high_b = _wilson(p_b, _effective_units(p_b, var_b, n, n_subjects), quantile)

    def half_width(distance_a: float, distance_b: float) -> float:
        return math.sqrt(max(distance_a**2 - 2 * correlation * distance_a * distance_b + distance_b**2, 0.0))

    return Comparison(
        se=math.sqrt(max(var_a + var_b - 2 * covariance, 0.0)) or None,
        low=max(-1.0, p_a - p_b - half_width(p_a - low_a, high_b - p_b)),
        high=min(1.0, p_a - p_b + half_width(high_a - p_a, p_b - low_b)),
        n=n,
        method="combined_wilson_effective_n",
        test="subject_sign_flip",
        p=sign_flip_test(successes_a - successes_b),
        **known,
    )


def _covariance(a: np.ndarray, b: np.ndarray, units: np.ndarray) -> float:
    """Return the linearised covariance of the ratios a / units and b / units over subjects."""
    n_subjects, n = len(units), units.sum()
    residual_a, residual_b = a - a.sum() / n * units, b - b.sum() / n * units
    return float(n_subjects / (n_subjects - 1) * (residual_a @ residual_b)) / n**2


def _effective_units(p: float, variance: float, n: int, n_subjects: int) -> float:
    if variance <= 1e-15:
        return float(n_subjects)
    return float(np.clip(p * (1 - p) / variance, 1.0, n))


def _quantile(level: float, n_subjects: int) -> float:
    check_level(level)
    return float(special.stdtrit(n_subjects - 1, (1 + level) / 2))


def _wilson(p: float, n: float, z: float) -> tuple[float, float]:
    centre = p + z**2 / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    low, high = ((centre + sign * half) / (1 + z**2 / n) for sign in (-1, 1))
    return (0.0 if p == 0 else max(0.0, low)), (1.0 if p == 1 else min(1.0, high))


def _clopper_pearson(p: float, n: float, alpha: float) -> tuple[float, float]:
    low = 0.0 if p == 0 else stats.beta.ppf(alpha / 2, p * n, n - p * n + 1)
    high = 1.0 if p == 1 else stats.beta.ppf(1 - alpha / 2, p * n + 1, n - p * n)
    return float(low), float(high)
