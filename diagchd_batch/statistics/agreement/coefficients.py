"""Chance-corrected agreement between raters, without a reference standard.

Ratings are a matrix of units (studies) × raters, with missing values where a rater did not read a unit. If a subject
has several units, pass `subjects`: the interval then comes from the subject bootstrap.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.inter_rater import cohens_kappa

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.agreement.krippendorff import krippendorff_alpha
from diagchd_batch.statistics.agreement.ratings import MISSING, count_ratings, cross_table, encode_ratings, square_table
from diagchd_batch.statistics.classification.clustered import clustered_proportion
from diagchd_batch.statistics.classification.proportions import normal_quantile, proportion
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_floats, check_level, subject_codes
from diagchd_batch.statistics.resampling import DEFAULT_RESAMPLES, subject_interval, totals_by_subject

__all__ = [
    "brennan_prediger",
    "cohen_kappa",
    "cohen_kappa_of_ratings",
    "cross_table",
    "fleiss_kappa",
    "gwet_ac1",
    "krippendorff_alpha",
    "percent_agreement",
]

Weights = Literal["linear", "quadratic"] | ArrayLike | None

#: Maps category shares (…, K) to the agreement that is expected by chance (…).
_Chance = Callable[[np.ndarray], np.ndarray]


def cohen_kappa(table: ArrayLike, weights: Weights = None, level: float = 0.95) -> Estimate:
    """Return Cohen's kappa from a square table of counts.

    The standard error is that of the non-null case, the interval is normal with an upper limit of at most 1, and `n`
    counts units.

    Args:
        table: Array of shape (K, K): one rater in rows, the other in columns, categories in the same order. A
            DataFrame whose rows and columns are named by categories, such as pandas' `crosstab`, may lack categories
            that one rater never used (see `square_table`).
        weights: None, `linear` (Cicchetti-Allison) or `quadratic` (Fleiss-Cohen) for equally spaced categories. A
            matrix of shape (K, K) holds either disagreement (0 on the diagonal, Cohen 1968) or agreement (1 on the
            diagonal, at most 1).
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `no_units` (all counts are 0) or `constant_ratings` (both raters use one and the same
        category). With a standard error of 0, as for perfect agreement, there is a value without interval,
        `zero_variance`.

    Raises:
        StatisticsError: The table is not square, holds negative or missing counts, or the weights are none of the
            above.

    Source: Cohen (1960), Educ Psychol Meas 20:37; (1968), Psychol Bull 70:213; standard error: Fleiss, Cohen & Everitt
    (1969), Psychol Bull 72:323.
    """
    z = normal_quantile(level)
    counts = _counts(square_table(table), "table")
    if counts.shape[0] != counts.shape[1]:
        raise StatisticsError(
            f"the table of two raters must be square (a row and a column for every category), got shape {counts.shape}"
        )
    disagreement = _disagreement(weights, len(counts))
    n = int(counts.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS)
    if np.isnan(_kappa_of_tables(counts[np.newaxis], disagreement)[0]):
        return Estimate.null(NullReason.CONSTANT_RATINGS, n)
    with np.errstate(divide="ignore", invalid="ignore"):  # statsmodels also computes z, which is 0 / 0 where kappa is 0
        result = cohens_kappa(counts) if weights is None else cohens_kappa(counts, disagreement)
    value = float(result.kappa)
    if not result.var_kappa > 1e-15:
        return Estimate(value, None, None, None, n, null_reason=NullReason.ZERO_VARIANCE)
    se = float(np.sqrt(result.var_kappa))
    return Estimate(value, se, max(-1.0, value - z * se), min(1.0, value + z * se), n, method="fleiss_cohen_everitt")


def cohen_kappa_of_ratings(
    a: ArrayLike,
    b: ArrayLike,
    weights: Weights = None,
    categories: Sequence[Hashable] | None = None,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return Cohen's kappa of two raters from their ratings, on the units that both rated.

    If a subject has several units the interval comes from the subject bootstrap; otherwise the result is
    `cohen_kappa`'s.

    Args:
        a: One rating a unit, missing where the first rater did not read it.
        b: One rating a unit, missing where the second rater did not read it.
        weights: As in `cohen_kappa`.
        categories: All categories in their order; by default those that occur, sorted.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """
    table, categories = cross_table(a, b, categories)
    estimate = cohen_kappa(table, weights, level) if table.size else Estimate.null(NullReason.NO_UNITS)
    if subjects is None or estimate.value is None:
        return estimate
    codes, _ = encode_ratings(np.stack([np.array(a, dtype=object), np.array(b, dtype=object)], axis=1), categories)
    both = (codes != MISSING).all(axis=1)
    of_units = subject_codes(subjects, both)
    if of_units.max() + 1 == len(of_units):
        return estimate
    size = len(categories)
    cells = np.eye(size * size)[codes[both, 0] * size + codes[both, 1]]

    disagreement = _disagreement(weights, size)

    def kappa(totals: np.ndarray) -> np.ndarray:
        tables = totals.reshape(-1, size, size)
        return _kappa_of_tables(tables, disagreement).reshape(totals.shape[:-1])

    totals = totals_by_subject(cells, of_units)
    return subject_interval(
        totals, kappa, n=estimate.n, level=level, resamples=resamples, seed=seed, bounds=(-1.0, 1.0)
    )


def fleiss_kappa(
    counts: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return Fleiss' kappa from counts of ratings.

    Units may have different numbers of ratings: category shares are means over the units, and agreement counts the
    units with two ratings or more. `se` is the linearised standard error, the interval is the subject bootstrap's, and
    `n` counts units with a rating.

    Args:
        counts: Array of shape (n_units, n_categories): number of raters who put each unit into each category.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`, `one_rater` or `constant_ratings`.

    Raises:
        StatisticsError: The counts are not two-dimensional, negative or missing.

    Source: Fleiss (1971), Psychol Bull 76:378; missing ratings and standard error: Gwet (2014), Handbook of
    Inter-Rater Reliability, 4th ed., ch. 2 and 5.
    """
    counts = _counts(counts, "counts")
    chance = _fleiss_chance
    return _chance_corrected(counts, chance, subjects, "bootstrap", level=level, resamples=resamples, seed=seed)


def gwet_ac1(
    ratings: ArrayLike,
    categories: Sequence[Hashable] | None = None,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return Gwet's AC1 from ratings.

    The interval is Student's t on n − 1 degrees of freedom, limited to [−1, 1]. `n` counts units with a rating,
    including those with one.

    Args:
        ratings: Matrix of shape (n_units, n_raters), missing where not read.
        categories: All categories that raters could choose; by default those that occur. AC1 depends on their number,
            so name them (0 and 1 for calls) if one of them may be absent.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples, if a subject has several units.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`, `one_rater` or `constant_ratings` (a single category).

    Raises:
        StatisticsError: The ratings have another shape, or one is not among the categories.

    Source: Gwet (2008), Br J Math Stat Psychol 61:29; missing ratings: Gwet (2014), ch. 2 and 5.
    """
    counts = _counts_of(ratings, categories)
    return _chance_corrected(counts, _gwet_chance, subjects, "t", level=level, resamples=resamples, seed=seed)


def brennan_prediger(
    ratings: ArrayLike,
    categories: Sequence[Hashable] | None = None,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return Brennan and Prediger's coefficient, whose chance agreement is 1 / number of categories.

    Arguments, result and errors are those of `gwet_ac1`.

    Source: Brennan & Prediger (1981), Educ Psychol Meas 41:687; missing ratings: Gwet (2014).
    """
    counts = _counts_of(ratings, categories)
    return _chance_corrected(counts, _uniform_chance, subjects, "t", level=level, resamples=resamples, seed=seed)


def percent_agreement(
    ratings: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the share of agreeing pairs of raters (0 to 1), averaged over units with two ratings or more.

    Two raters get Wilson's interval; if a subject has several units, Wilson's on the effective number of units. More
    raters get Student's t or, with several units a subject, the subject bootstrap.

    Args:
        ratings: Matrix of shape (n_units, n_raters), missing where not read.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units` or `one_rater`.
    """
    counts = _counts_of(ratings, None)
    if counts.sum(axis=1).max(initial=0) == 2:
        rated = counts.sum(axis=1) == 2
        agree = counts[rated].max(axis=1) == 2
        if subjects is None:
            return proportion(int(agree.sum()), int(rated.sum()), level=level)
        codes = subject_codes(subjects, rated)
        if codes.max() + 1 == len(codes):
            return proportion(int(agree.sum()), int(rated.sum()), level=level)
        totals = totals_by_subject(np.stack([agree, np.ones(len(agree))], axis=1), codes)
        agreeing, units = totals.T
        return clustered_proportion(agreeing, units, level=level)
    return _chance_corrected(counts, _no_chance, subjects, "t", level=level, resamples=resamples, seed=seed)


def _fleiss_chance(shares: np.ndarray) -> np.ndarray:
    return np.sum(shares**2, axis=-1)


def _gwet_chance(shares: np.ndarray) -> np.ndarray:
    if shares.shape[-1] == 1:
        return np.ones(shares.shape[:-1])
    return np.sum(shares * (1 - shares), axis=-1) / (shares.shape[-1] - 1)


def _uniform_chance(shares: np.ndarray) -> np.ndarray:
    return np.full(shares.shape[:-1], 1 / shares.shape[-1])


def _no_chance(shares: np.ndarray) -> np.ndarray:
    return np.zeros(shares.shape[:-1])


def _chance_by_unit(chance: _Chance, mean: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return each unit's part in the chance agreement; their mean is the chance agreement itself."""
    if chance is _fleiss_chance:
        return shares @ mean
    if chance is _gwet_chance:
        return shares @ (1 - mean) / (len(mean) - 1)
    return np.full(len(shares), float(chance(mean)))


def _chance_corrected(
    counts: np.ndarray,
    chance: _Chance,
    subjects: ArrayLike | None,
    interval: Literal["t", "bootstrap"],
    *,
    level: float,
    resamples: int,
    seed: int,
) -> Estimate:
    """Return (pa − pe) / (1 − pe) of counts (units × categories) with Gwet's linearised standard error."""
    check_level(level)
    rated = counts.sum(axis=1) > 0
    of_units, counts = subject_codes(subjects, rated), counts[rated]
    n_ratings = counts.sum(axis=1)
    n = len(counts)
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS)
    paired = n_ratings > 1
    if not paired.any():
        return Estimate.null(NullReason.ONE_RATER, n)
    shares = counts / n_ratings[:, np.newaxis]
    pairs = n_ratings * np.maximum(n_ratings - 1, 1)
    agreement = np.sum(counts * (counts - 1), axis=1) / pairs  # 0 for a single rating
    columns = np.column_stack([np.ones(n), paired, agreement, shares])

    def coefficient(totals: np.ndarray) -> np.ndarray:
        units, paired_units = totals[..., 0], totals[..., 1]
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample without a pair is undefined
            observed = totals[..., 2] / paired_units
        expected = chance(totals[..., 3:] / units[..., np.newaxis])
        possible = expected < 1 - 1e-12
        return np.where(possible, (observed - expected) / np.where(possible, 1 - expected, 1), np.nan)

    value = float(coefficient(columns.sum(axis=0)))
    if np.isnan(value):
        return Estimate.null(NullReason.CONSTANT_RATINGS, n)
    totals = totals_by_subject(columns, of_units)
    clustered = len(totals) < n
    least = 0.0 if chance is _no_chance else -1.0
    if value < least:  # possible where subjects differ in their number of ratings
        least = -math.inf
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed, "bounds": (least, 1.0)}
    if clustered:
        return subject_interval(totals, coefficient, n=n, **options)
    if n == 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS)

    mean = shares.mean(axis=0)
    expected = float(chance(mean))
    by_unit = n / paired.sum() * (agreement - expected * paired) / (1 - expected)
    by_unit -= 2 * (1 - value) * (_chance_by_unit(chance, mean, shares) - expected) / (1 - expected)
    se = float(np.sqrt(np.sum((by_unit - value) ** 2) / (n * (n - 1))))
    if se <= 1e-12:
        return Estimate(value, None, None, None, n, null_reason=NullReason.ZERO_VARIANCE)
    if interval == "t":
        half = float(stats.t.ppf((1 + level) / 2, n - 1)) * se
        return Estimate(value, se, max(least, value - half), min(1.0, value + half), n, method="student_t")
    bootstrap = subject_interval(totals, coefficient, n=n, **options)
    return Estimate(
        value,
        se,
        bootstrap.low,
        bootstrap.high,
        n,
        method=bootstrap.method,
        null_reason=bootstrap.null_reason,
        n_subjects=bootstrap.n_subjects,
        resamples=bootstrap.resamples,
        degenerate_resamples=bootstrap.degenerate_resamples,
    )


def _disagreement(weights: Weights, size: int) -> np.ndarray:
    """Return the weights as a float64 matrix of disagreement, from 0 (agreement) to 1 (greatest disagreement)."""
    distance = np.abs(np.arange(size)[:, np.newaxis] - np.arange(size)) / max(size - 1, 1)
    if weights is None:
        return np.sign(distance)
    if isinstance(weights, str):
        if weights not in ("linear", "quadratic"):
            raise StatisticsError(f"unknown weights {weights!r}: use None, 'linear', 'quadratic' or a matrix")
        return distance if weights == "linear" else distance**2
    matrix = as_floats(weights, "weights")
    if matrix.shape != (size, size) or np.isnan(matrix).any():
        raise StatisticsError(f"a matrix of weights must have the table's shape {(size, size)} and nothing missing")
    diagonal = np.diag(matrix)
    if np.all(diagonal == 1) and matrix.max() == 1:
        matrix = 1 - matrix
    elif np.any(diagonal != 0) or matrix.min() < 0:
        raise StatisticsError(
            "weights must have a diagonal of 0 (disagreement, not negative) or 1 (agreement, at most 1)"
        )
    return matrix / max(float(matrix.max()), 1e-300)


def _kappa_of_tables(tables: np.ndarray, disagreement: np.ndarray) -> np.ndarray:
    """Return the kappa of each table (resamples × K × K), NaN where no disagreement by chance is possible."""
    n = tables.sum(axis=(1, 2))
    observed = np.einsum("rij,ij->r", tables, disagreement)
    expected = np.einsum("ri,rj,ij->r", tables.sum(axis=2), tables.sum(axis=1), disagreement)
    ratio = np.divide(observed * n, expected, out=np.full(len(tables), np.nan), where=expected > 0)
    return 1 - ratio


def _counts(values: ArrayLike, name: str) -> np.ndarray:
    counts = as_floats(values, name)
    if counts.ndim != 2:
        raise StatisticsError(f"{name} must be two-dimensional, got shape {counts.shape}")
    if not np.all(counts >= 0) or np.any(counts != np.round(counts)):
        raise StatisticsError(f"{name} must hold counts of units: whole numbers, not negative, not missing")
    return counts


def _counts_of(ratings: ArrayLike, categories: Sequence[Hashable] | None) -> np.ndarray:
    codes, found = encode_ratings(ratings, categories)
    return count_ratings(codes, max(len(found), 1))
