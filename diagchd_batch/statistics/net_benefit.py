"""The net benefit of acting on a probability (decision curves), with intervals, also at another prevalence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.calibration import as_probabilities
from diagchd_batch.statistics.classification.clustered import proportion_of_subjects
from diagchd_batch.statistics.classification.combined_limits import Share, correlation_over_subjects, sum_limits
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, check_level, complete, subject_codes


def net_benefits(
    truth: ArrayLike,
    probability: ArrayLike,
    thresholds: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    prevalence: float | None = None,
    level: float = 0.95,
) -> list[Estimate]:
    """Return the net benefit of calling positive at a probability of t or more, with its interval, for each t.

    As observed it is TP / n − FP / n · t / (1 − t). At a prevalence π it is π · sensitivity − (1 − π) · (1 −
    specificity) · t / (1 − t). Wilson's limits of the two shares are combined with their correlation: that of two
    categories of the same units as observed, 0 at a prevalence. With several units a subject the limits have the
    effective number of units, and the correlation is that over subjects.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].
        thresholds: Values of t strictly between 0 and 1.
        subjects: One id a unit; without them every unit is its own subject.
        prevalence: π, strictly between 0 and 1, taken as known without error; None for the net benefit as observed.
        level: Confidence level, between 0 and 1.

    Returns:
        One estimate for each threshold. Null with `no_units`; at a prevalence also with `one_class`. Without an
        interval, `too_few_subjects`, where one subject has all units that a share is taken over, several of them.

    Raises:
        StatisticsError: A threshold or the prevalence is not strictly between 0 and 1, or a probability is outside
            [0, 1].

    Source: net benefit: Vickers & Elkin (2006), Med Decis Making 26:565; limits of a sum: Zou & Donner (2008), Stat Med
    27:1693.
    """
    check_level(level)
    thresholds = as_column(thresholds, "thresholds")
    if not np.all((thresholds > 0) & (thresholds < 1)):
        raise StatisticsError("thresholds of a net benefit must lie strictly between 0 and 1")
    if prevalence is not None and not 0 < prevalence < 1:
        raise StatisticsError(f"prevalence must lie strictly between 0 and 1, got {prevalence!r}")
    truth, probability = as_binary(truth, "truth"), as_probabilities(probability)
    known = complete(truth, probability)
    codes = subject_codes(subjects, known)
    diseased, probability, n = truth[known] == 1, probability[known], int(known.sum())
    if n == 0:
        return [Estimate.null(NullReason.NO_UNITS, n_subjects=0)] * len(thresholds)
    n_subjects = int(codes.max()) + 1
    if prevalence is not None and diseased.all() == diseased.any():
        return [Estimate.null(NullReason.ONE_CLASS, n, n_subjects=n_subjects)] * len(thresholds)
    everyone = np.bincount(codes).astype(np.float64)
    units = [everyone, everyone] if prevalence is None else [_sums(codes, diseased), _sums(codes, ~diseased)]
    made: dict[int, _CalledShares] = {}  # of the same number of calls: then they are calls of the same units
    found = []
    for threshold in thresholds.tolist():
        called = probability >= threshold
        n_called = int(called.sum())
        if n_called not in made:
            hits = [_sums(codes, diseased & called), _sums(codes, ~diseased & called)]
            made[n_called] = _called_shares(hits, units, n, level)
        cost = threshold / (1 - threshold)
        factors = (1.0, cost) if prevalence is None else (prevalence, (1 - prevalence) * cost)
        found.append(_difference(made[n_called], *factors, n, n_subjects))
    return found


@dataclass(frozen=True, slots=True)
class _CalledShares:
    """The share of the diseased and of the healthy who are called, and the correlation of the two."""

    diseased: Share
    healthy: Share
    correlation: float
    method: str | None


def _sums(codes: np.ndarray, column: np.ndarray) -> np.ndarray:
    return np.bincount(codes, weights=column)


def _called_shares(hits: Sequence[np.ndarray], units: Sequence[np.ndarray], n: int, level: float) -> _CalledShares:
    found = [proportion_of_subjects(k, of, level=level) for k, of in zip(hits, units, strict=True)]
    first, second = (_share(estimate) for estimate in found)
    if units[0] is units[1] and len(units[0]) == n:
        correlation = _correlation_of_categories(first.value, second.value)
    else:
        correlation = correlation_over_subjects(hits[0], units[0], hits[1], units[1])
    clustered = any(estimate.method == "wilson_effective_n" for estimate in found)
    method: str | None = "combined_wilson_effective_n" if clustered else "combined_wilson"
    if any(estimate.low is None for estimate in found):
        method = None
    return _CalledShares(first, second, correlation, method)


def _difference(shares: _CalledShares, gain: float, cost: float, n: int, n_subjects: int) -> Estimate:
    """Return gain × the share of the diseased − cost × the share of the healthy."""
    value = gain * shares.diseased.value - cost * shares.healthy.value
    if shares.method is None:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=n_subjects)
    low, high = sum_limits(shares.diseased.times(gain), shares.healthy.times(-cost), -shares.correlation)
    low, high = min(max(low, -cost), value), max(min(high, gain), value)
    return Estimate(value, None, low, high, n, shares.method, n_subjects=n_subjects)


def _share(estimate: Estimate) -> Share:
    return Share(estimate.value or 0.0, estimate.low or 0.0, 1.0 if estimate.high is None else estimate.high)


def _correlation_of_categories(first: float, second: float) -> float:
    """Return the correlation of the shares of two categories of the same units, which exclude each other."""
    odds = [share / (1 - share) if share < 1 else 0.0 for share in (first, second)]
    return -math.sqrt(odds[0] * odds[1])
