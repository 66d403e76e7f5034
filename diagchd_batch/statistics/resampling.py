"""Intervals that treat subjects as the independent units: bootstrap and linearisation.

A resample is a vector of subject weights, never a copy of the data. Statistics are functions of weights, or of totals
that are summed over subjects. Subjects with equal rows of totals form one *pattern*. Drawing n subjects with
replacement is the same as drawing multinomial counts of the patterns. A confusion table of 20,000 subjects has a dozen
patterns, so 10,000 resamples take milliseconds.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import special

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import check_level

#: Above this number of subjects intervals are linearised instead of bootstrapped. They agree there and cost little.
BOOTSTRAP_SUBJECTS_LIMIT = 20_000
DEFAULT_RESAMPLES = 2_000

_CHUNK_ELEMENTS = 1_000_000  # weights held at once, 8 MB: larger chunks do not fit the processor's cache and are slower
_STEP = 1e-6  # of a total, for the numerical gradient
_ROUNDING = 4 * float(np.finfo(np.float64).eps)  # relative error of a statistic's value, at the least
_JACKKNIFE_LIMIT = 2_000  # above it no deletion is computed: the skewness that it measures fades with the number

#: Maps weights (resamples × subjects or patterns) to a value or a row of values for each resample, NaN where undefined.
WeightStatistic = Callable[[np.ndarray], np.ndarray]
#: Maps totals (…, columns) to values (…), NaN where the statistic is undefined.
TotalsStatistic = Callable[[np.ndarray], np.ndarray]


def totals_by_subject(columns: np.ndarray, subjects: np.ndarray) -> np.ndarray:
    """Return the rows of `columns` summed within subjects.

    Args:
        columns: Array of shape (n_units, n_columns).
        subjects: Array of shape (n_units,) of integers 0 … S − 1.

    Returns:
        Array of shape (S, n_columns), dtype float64.
    """
    n_subjects = int(subjects.max()) + 1 if len(subjects) else 0
    return np.stack([np.bincount(subjects, weights=column, minlength=n_subjects) for column in columns.T], axis=1)


def patterns(totals: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows of `totals`, and the number of subjects that have each of them."""
    rows, counts = np.unique(totals, axis=0, return_counts=True)
    return rows, counts


def resample_weights(multiplicity: np.ndarray, statistic: WeightStatistic, resamples: int, seed: int) -> np.ndarray:
    """Return the values of a statistic over bootstrap resamples of the subjects.

    Args:
        multiplicity: Array of shape (n_patterns,): number of subjects that each pattern stands for. All ones means
            that every subject is its own pattern.
        statistic: Called with float64 weights of shape (chunk, n_patterns), whose rows sum to the number of subjects.
        resamples: Number of resamples.
        seed: Seed of the random draws. The same seed gives the same values.

    Returns:
        Array whose first axis has length `resamples`, NaN where the statistic is undefined.

    Raises:
        StatisticsError: `resamples` is less than 1.

    Source: Efron & Tibshirani (1993), An Introduction to the Bootstrap, ch. 6; resampling of whole subjects: Field &
    Welsh (2007), J R Stat Soc B 69:369.
    """
    if resamples < 1:
        raise StatisticsError(f"a bootstrap needs at least one resample, got {resamples}")
    n_subjects = int(multiplicity.sum())
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_ELEMENTS // max(1, len(multiplicity)))
    values = []
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        weights = generator.multinomial(n_subjects, multiplicity / n_subjects, size=size)
        values.append(statistic(weights.astype(np.float64)))
    return np.concatenate(values)


def bootstrap_totals(totals: np.ndarray, statistic: TotalsStatistic, resamples: int, seed: int) -> np.ndarray:
    """Return the bootstrap values of a statistic of totals that are summed over subjects.

    Args:
        totals: Array of shape (n_subjects, n_columns).
        statistic: Maps totals to values.
        resamples: Number of resamples.
        seed: Seed of the random draws. The same seed gives the same values.

    Returns:
        Array whose first axis has length `resamples`, NaN where the statistic is undefined.
    """
    rows, multiplicity = patterns(totals)
    return resample_weights(multiplicity, lambda weights: statistic(weights @ rows), resamples, seed)


def acceleration(left_out: np.ndarray, multiplicity: np.ndarray | None = None) -> float:
    """Return the acceleration of a BCa interval.

    Args:
        left_out: Values of the statistic without each subject, or without one subject of each pattern. NaN means that
            the statistic is undefined; such deletions do not count.
        multiplicity: Number of subjects of each pattern, if `left_out` has one value a pattern.

    Source: Efron (1987), J Am Stat Assoc 82:171.
    """
    weights = np.ones(len(left_out)) if multiplicity is None else multiplicity.astype(np.float64)
    defined = ~np.isnan(left_out)
    weights, left_out = weights[defined], left_out[defined]
    if len(left_out) == 0:
        return 0.0
    influence = np.average(left_out, weights=weights) - left_out
    spread = weights @ influence**2
    return float(weights @ influence**3 / (6 * spread**1.5)) if spread > 1e-24 else 0.0


def acceleration_under_weights(multiplicity: np.ndarray, statistic: WeightStatistic) -> float:
    """Return the acceleration of a statistic of weights.

    Args:
        multiplicity: Array of shape (n_patterns,): number of subjects that each pattern stands for.
        statistic: Maps weights to a value for each row.

    Returns:
        The acceleration; 0, so that only bias is corrected, above 2,000 patterns.
    """
    size = len(multiplicity)
    if size > _JACKKNIFE_LIMIT:
        return 0.0
    chunk = max(1, _CHUNK_ELEMENTS // size)
    deleted = [multiplicity - np.eye(size)[start : start + chunk] for start in range(0, size, chunk)]
    return acceleration(np.concatenate([statistic(weights) for weights in deleted]), multiplicity)


def bootstrap_estimate(
    value: float,
    resampled: np.ndarray,
    *,
    level: float,
    n: int,
    n_subjects: int,
    method: str = "subject_bootstrap",
    accelerated_by: float | None = None,
) -> Estimate:
    """Return a value with the bootstrap interval that its resampled values give.

    With an acceleration it is the bias-corrected and accelerated interval (method `…_bca`), without one the percentile
    interval (`…_percentile`). Both are expanded for the number of subjects, because a bootstrap variance is too small
    by (S − 1) / S and normal quantiles are too narrow. The limits always include the value. Undefined resamples are
    left out and counted; if they are the majority there is no interval. An interval without width is withheld, because
    it would claim a certainty that a finite sample does not have.

    Args:
        value: The statistic on the whole cohort.
        resampled: Array of shape (resamples,), NaN where the statistic is undefined.
        level: Confidence level, between 0 and 1.
        n: Number of units.
        n_subjects: Number of subjects, S.
        method: Prefix of the method's name.
        accelerated_by: Acceleration from `acceleration`, or None.

    Source: Efron (1987), J Am Stat Assoc 82:171; expansion: Hesterberg (2015), Am Stat 69:371.
    """
    check_level(level)
    defined = resampled[~np.isnan(resampled)]
    degenerate = len(resampled) - len(defined)
    kind = "percentile" if accelerated_by is None else "bca"
    reason = se = low = high = None
    if 2 * degenerate > len(resampled):
        reason = NullReason.DEGENERATE_RESAMPLES
    elif defined.max() - defined.min() <= 1e-12:
        reason = NullReason.ZERO_VARIANCE
    else:
        se = float(defined.std(ddof=1))
        reach = float(special.stdtrit(n_subjects - 1, (1 + level) / 2)) * math.sqrt(n_subjects / (n_subjects - 1))
        ends = np.array([-reach, reach])
        if accelerated_by is not None:
            below = float(np.mean(defined < value) + np.mean(defined == value) / 2)
            bias = float(special.ndtri(np.clip(below, 1 / (len(defined) + 1), len(defined) / (len(defined) + 1))))
            ends = bias + (bias + ends) / np.maximum(1 - accelerated_by * (bias + ends), 1e-9)
        low, high = (float(q) for q in np.quantile(defined, special.ndtr(ends)))
        low, high = min(low, value), max(high, value)
        if high - low <= 1e-12:
            reason, se, low, high = NullReason.ZERO_VARIANCE, None, None, None
    return Estimate(
        value,
        se,
        low,
        high,
        n,
        method=None if low is None else f"{method}_{kind}",
        null_reason=reason,
        n_subjects=n_subjects,
        resamples=len(resampled),
        degenerate_resamples=degenerate,
    )


def subject_interval(
    totals: np.ndarray,
    statistic: TotalsStatistic,
    *,
    n: int,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
    difference: bool = False,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Return a statistic of summed totals with an interval that takes subjects as the independent units.

    Up to `BOOTSTRAP_SUBJECTS_LIMIT` subjects the interval is the bootstrap's, above it the linearised one; `method`
    says which. The bootstrap is BCa, and percentile for a difference, where BCa was measured to cover less.

    Args:
        totals: Array of shape (n_subjects, n_columns).
        statistic: Maps summed totals (…, n_columns) to values (…), NaN where it is undefined.
        n: Number of units, for the result.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
        difference: Whether the statistic is a difference of two quantities.
        bounds: The least and the greatest value that the statistic can have. Limits are cut there.

    Returns:
        The estimate. Null with `no_units`, `zero_denominator` or `too_few_subjects`.
    """
    n_subjects = len(totals)
    if n_subjects == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    value = float(statistic(totals.sum(axis=0)))
    if np.isnan(value):
        return Estimate.null(NullReason.ZERO_DENOMINATOR, n, n_subjects=n_subjects)
    if n_subjects == 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=1)
    if n_subjects > BOOTSTRAP_SUBJECTS_LIMIT:
        return linearised_estimate(totals, statistic, n=n, level=level, bounds=bounds)
    resampled = bootstrap_totals(totals, statistic, resamples, seed)
    accelerated_by = None if difference else acceleration(statistic(totals.sum(axis=0) - totals))
    estimate = bootstrap_estimate(
        value, resampled, level=level, n=n, n_subjects=n_subjects, accelerated_by=accelerated_by
    )
    if estimate.low is None or estimate.high is None:
        return estimate
    # A resample can leave the range by rounding, as an MCC of −1.0000000000000002 does.
    return replace(estimate, low=max(estimate.low, bounds[0]), high=min(estimate.high, bounds[1]))


def linearised_estimate(
    totals: np.ndarray,
    statistic: TotalsStatistic,
    *,
    n: int,
    level: float = 0.95,
    bounds: tuple[float, float] = (-math.inf, math.inf),
) -> Estimate:
    """Return a statistic with Student's interval on S − 1 degrees of freedom and the linearised standard error.

    The standard error is the infinitesimal jackknife's, which is cluster robust. The gradient is taken numerically at
    the mean of the totals.

    Args:
        totals: Array of shape (n_subjects, n_columns).
        statistic: Maps summed totals (…, n_columns) to values (…).
        n: Number of units, for the result.
        level: Confidence level, between 0 and 1.
        bounds: The least and the greatest value that the statistic can have. Limits are cut there.

    Returns:
        The estimate. Without an interval, `zero_variance`, where no subject changes the statistic to first order.

    Source: Efron (1982), The Jackknife, the Bootstrap and Other Resampling Plans, ch. 6; Binder (1983), Int Stat Rev
    51:279.
    """
    check_level(level)
    n_subjects = len(totals)
    value = float(statistic(totals.sum(axis=0)))
    se = linearised_standard_error(totals, statistic)
    if not se:
        return Estimate(value, None, None, None, n, null_reason=NullReason.ZERO_VARIANCE, n_subjects=n_subjects)
    half = float(special.stdtrit(n_subjects - 1, (1 + level) / 2)) * se
    low, high = max(value - half, bounds[0]), min(value + half, bounds[1])
    return Estimate(value, se, low, high, n, method="subject_linearised", n_subjects=n_subjects)


def linearised_standard_error(totals: np.ndarray, statistic: TotalsStatistic) -> float | None:
    """Return the linearised standard error of a statistic of summed totals.

    Args:
        totals: Array of shape (n_subjects, n_columns).
        statistic: Maps totals to values.

    Returns:
        The standard error; None with fewer than two subjects or where the gradient is undefined. Exactly 0 where it
        is no larger than what rounding makes of a standard error of 0.
    """
    n_subjects = len(totals)
    if n_subjects < 2:
        return None
    total = totals.sum(axis=0)
    steps = np.diag(np.maximum(np.abs(total), 1.0) * _STEP)
    with np.errstate(invalid="ignore", divide="ignore"):  # a step may leave the range of a total that is 0
        above, below = statistic(total + steps), statistic(total - steps)
    gradient = (above - below) / (2 * np.diag(steps))
    # A total that is 0 in every subject cannot vary. A step below it may leave the range, as a count below 0 does.
    absent = ~np.any(totals != 0, axis=0)
    gradient[absent] = above[absent] = below[absent] = 0.0
    if np.isnan(gradient).any():
        return None
    rounding = _ROUNDING * np.maximum(np.maximum(np.abs(above), np.abs(below)), 1.0) / (2 * np.diag(steps))
    deviations = totals - total / n_subjects
    se, error = (
        float(np.sqrt(n_subjects / (n_subjects - 1) * np.sum(influence**2)))
        for influence in (deviations @ gradient, np.abs(deviations) @ rounding)
    )
    return se if se > error else 0.0
