"""Krippendorff's alpha for nominal, ordinal, interval and ratio ratings."""

from collections.abc import Hashable
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.agreement.ratings import count_ratings, encode_ratings
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import check_level, subject_codes
from diagchd_batch.statistics.resampling import (
    DEFAULT_RESAMPLES,
    acceleration_under_weights,
    bootstrap_estimate,
    patterns,
    resample_weights,
)

Level = Literal["nominal", "ordinal", "interval", "ratio"]


def krippendorff_alpha(
    ratings: ArrayLike,
    level: Level = "nominal",
    subjects: ArrayLike | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return Krippendorff's alpha from ratings.

    Units with fewer than two ratings are left out; `n` counts the others. `se` is the linearised standard error, with
    the metric taken as fixed. The interval is the subject bootstrap's.

    Args:
        ratings: Matrix of shape (n_units, n_raters), missing where not read.
        level: Level of measurement: `nominal`, `ordinal`, `interval` or `ratio`. Nominal ratings may be any labels;
            the others must be numbers, for `ratio` not negative. Ordinal distances come from the ranks that the
            ratings of all units give.
        subjects: One id a unit; without them every unit is its own subject.
        confidence: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`, `one_rater` or `constant_ratings` (no disagreement by chance is possible).

    Raises:
        StatisticsError: The level of measurement is unknown, or a rating does not fit it.

    Source: Krippendorff (2011), Computing Krippendorff's alpha-reliability; standard error: Gwet (2014), Handbook of
    Inter-Rater Reliability, 4th ed., ch. 5.
    """
    check_level(confidence)
    if level not in ("nominal", "ordinal", "interval", "ratio"):
        raise StatisticsError(f"unknown level of measurement {level!r}: use nominal, ordinal, interval or ratio")
    codes, categories = encode_ratings(ratings)
    values = _values(categories, level)
    counts = count_ratings(codes, len(categories))
    n_ratings = counts.sum(axis=1)
    if n_ratings.sum() == 0:
        return Estimate.null(NullReason.NO_UNITS)
    pairable = n_ratings > 1
    of_units, counts = subject_codes(subjects, pairable), counts[pairable]
    n = len(counts)
    if n == 0:
        return Estimate.null(NullReason.ONE_RATER)
    value = float(_alpha(np.ones((1, n)), counts, values, level)[0])
    if np.isnan(value):
        return Estimate.null(NullReason.CONSTANT_RATINGS, n)

    n_subjects = int(of_units.max()) + 1
    if n_subjects == 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=1)
    if n_subjects == n:
        rows, multiplicity = patterns(counts)

        def alpha(weights: np.ndarray) -> np.ndarray:
            return _alpha(weights, rows, values, level)
    else:
        multiplicity = np.ones(n_subjects)

        def alpha(weights: np.ndarray) -> np.ndarray:
            return _alpha(weights[:, of_units], counts, values, level)

    estimate = bootstrap_estimate(
        value,
        resample_weights(multiplicity, alpha, resamples, seed),
        level=confidence,
        n=n,
        n_subjects=n_subjects,
        accelerated_by=acceleration_under_weights(multiplicity, alpha),
    )
    if n_subjects < n or estimate.low is None:
        return estimate
    return Estimate(
        value,
        _standard_error(counts, values, level),
        estimate.low,
        estimate.high,
        n,
        method=estimate.method,
        n_subjects=n_subjects,
        resamples=estimate.resamples,
        degenerate_resamples=estimate.degenerate_resamples,
    )


def _values(categories: list[Hashable], level: Level) -> np.ndarray:
    """The categories as numbers; for nominal ratings, whose values have no meaning, their positions."""
    if level == "nominal":
        return np.arange(len(categories), dtype=np.float64)
    try:
        values = np.array(categories, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"{level} ratings must be numbers: {error}") from error
    if np.isinf(values).any():
        raise StatisticsError(f"{level} ratings must be finite; use a missing value where there is none")
    if level == "ratio" and np.any(values < 0):
        raise StatisticsError(f"ratio ratings must not be negative, got {values.min():g}")
    return values


def _alpha(weights: np.ndarray, counts: np.ndarray, values: np.ndarray, level: Level) -> np.ndarray:
    """Alpha under weights of the units (resamples × units), NaN where chance disagreement is impossible."""
    in_all = weights @ counts
    n_ratings = counts.sum(axis=1)
    if level in ("ordinal", "interval"):
        # Both are squared differences of positions x: pairs of one unit sum to 2 (m Σ x² − (Σ x)²).
        positions = _ordinal_positions(in_all) if level == "ordinal" else (values - values.mean())[np.newaxis]
        of_units = 2 * (n_ratings * (positions**2 @ counts.T) - (positions @ counts.T) ** 2)
        total = in_all.sum(axis=1)
        expected = 2 * (total * np.sum(in_all * positions**2, axis=1) - np.sum(in_all * positions, axis=1) ** 2)
    else:
        distance = _distance(values, level)
        of_units = np.einsum("uk,kl,ul->u", counts, distance, counts)[np.newaxis]
        expected = np.sum((in_all @ distance) * in_all, axis=1)
        total = in_all.sum(axis=1)
    observed = np.sum(weights * (of_units / (n_ratings - 1)), axis=1)
    scale = np.maximum(total, 2) ** 2 * max(float(np.abs(values).max()), 1.0) ** 2
    possible = expected > 1e-12 * scale / np.maximum(total, 1) if level == "interval" else expected > 1e-9
    return np.where(possible, 1 - observed * (total - 1) / np.where(possible, expected, 1), np.nan)


def _ordinal_positions(in_all: np.ndarray) -> np.ndarray:
    """Ranks of the categories: ratings below, plus half of their own; their differences are the ordinal metric."""
    return np.cumsum(in_all, axis=1) - in_all / 2


def _distance(values: np.ndarray, level: Level) -> np.ndarray:
    """Squared distances between categories (K × K) of the nominal and ratio metrics."""
    if level == "nominal":
        return 1 - np.eye(len(values))
    sums = values[:, np.newaxis] + values
    return np.divide(values[:, np.newaxis] - values, sums, out=np.zeros(sums.shape), where=sums > 0) ** 2


def _standard_error(counts: np.ndarray, values: np.ndarray, level: Level) -> float:
    """Return Gwet's linearised standard error, as his R package irrCAC computes it.

    The agreement weights are 1 − distance / largest distance.
    """
    n, n_ratings = len(counts), counts.sum(axis=1)
    mean_ratings = n_ratings.mean()
    if level in ("ordinal", "interval"):
        positions = _ordinal_positions(counts.sum(axis=0, keepdims=True))[0] if level == "ordinal" else values
        distance = (positions[:, np.newaxis] - positions) ** 2
    else:
        distance = _distance(values, level)
    weights = 1 - distance / distance.max()
    shares = counts.sum(axis=0) / n_ratings.sum()
    expected = float(shares @ weights @ shares)
    of_units = np.sum(counts * (counts @ weights - 1), axis=1) / (mean_ratings * (n_ratings - 1))
    excess = (n_ratings - mean_ratings) / mean_ratings
    correction = 1 / n_ratings.sum()
    uncorrected = (of_units.mean() - expected) / (1 - expected)  # alpha without its small-sample correction
    agreement = of_units - (of_units.mean() * (1 - correction) + correction) * excess
    chance = counts @ weights @ shares / mean_ratings - expected * excess
    by_unit = (agreement - expected - 2 * (1 - uncorrected) * (chance - expected)) / (1 - expected)
    return float(np.sqrt(np.sum((by_unit - uncorrected) ** 2) / (n * (n - 1))))
