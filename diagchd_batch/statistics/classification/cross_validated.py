"""Cross-validated measures: only scores of one fold are ranked together, and subjects are resampled within folds."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.auc import average_precision_under_weights, class_sums_by_score
from diagchd_batch.statistics.classification.risk_coverage import INTERVAL_SUBJECTS_LIMIT, AreaUnderWeights
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, check_level, complete, subject_codes
from diagchd_batch.statistics.resampling import DEFAULT_RESAMPLES, bootstrap_estimate, resample_weights

METHOD = "subject_bootstrap_within_folds"

_Counts = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""A function from weights of subjects ``[r, subjects]`` to a fold's value × weight ``[r]``, and the weight ``[r]``."""

_CountsOf = Callable[[np.ndarray, np.ndarray, np.ndarray], _Counts]
"""Makes such a function from the classes, the scores and the subjects of a fold's units."""


def cross_validated_auc(
    truth: ArrayLike,
    score: ArrayLike,
    folds: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the folds' AUCs, weighted by their pairs of a positive and a negative unit.

    The models of different folds have different scales, so their scores are never compared with each other. The
    interval is the percentile interval of resamples of subjects within folds. It does not include the variation
    between models that other training sets would give.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        score: One number a unit, from the model that was not trained on the unit's fold.
        folds: One number or name a unit.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`, or with `one_class` if no fold has both classes.

    Raises:
        StatisticsError: A subject has units in several folds.

    Source: LeDell, Petersen & van der Laan (2015), Electron J Stat 9:1583, for averaging within folds.
    """
    parts = _parts(truth, folds, subjects, score, level=level)
    if parts.n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    return _estimate(parts, _pairs_in_order, level=level, resamples=resamples, seed=seed)


def cross_validated_average_precision(
    truth: ArrayLike,
    score: ArrayLike,
    folds: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the folds' average precisions, weighted by their positive units.

    It is the area under the mean of the folds' precision-recall curves. Arguments, interval, null reasons and
    exceptions are those of `cross_validated_auc`.

    Args:
        truth: One 0 or 1 a unit.
        score: One number a unit.
        folds: One number or name a unit.
        subjects: One id a unit.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """
    parts = _parts(truth, folds, subjects, score, level=level)
    if parts.n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    return _estimate(parts, _precision_of_positives, level=level, resamples=resamples, seed=seed)


def cross_validated_abstention_area(
    truth: ArrayLike,
    call: ArrayLike,
    uncertainty: ArrayLike,
    folds: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean of the folds' areas under their abstention curves, weighted by their units.

    The uncertainties of different folds are never compared, as in `abstention_curve` with folds, which keeps the same
    share of each fold. Above `INTERVAL_SUBJECTS_LIMIT` subjects there is no interval.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        call: One 0 or 1 a unit.
        uncertainty: One number a unit. The units of a fold with the lowest are kept first.
        folds: One number or name a unit.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples; 0 for no interval.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`.

    Raises:
        StatisticsError: A subject has units in several folds.
    """
    known = complete(as_binary(truth, "truth"), as_binary(call, "call"))
    wrong = np.where(known, np.asarray(truth, np.float64) != np.asarray(call, np.float64), np.nan)
    parts = _parts(wrong, folds, subjects, uncertainty, level=level)
    if parts.n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    if resamples and 1 < parts.n_subjects <= INTERVAL_SUBJECTS_LIMIT:
        return _estimate(parts, _area_of_units, level=level, resamples=resamples, seed=seed)
    sums = _sums(parts, _area_of_units, 1, seed)[0]
    reason = NullReason.TOO_FEW_SUBJECTS if parts.n_subjects == 1 else NullReason.NO_VALID_INTERVAL
    value = float(sums[0] / sums[-1])
    return Estimate(value, None, None, None, parts.n, null_reason=reason, n_subjects=parts.n_subjects)


def cross_validated_auc_difference(
    truth: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    folds: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two cross-validated AUCs on the same pairs of units, a − b, by resampling subjects within folds.

    The p value is that of the normal distribution with the standard deviation of the resamples.

    Args:
        truth: One 0 or 1 a unit; units with a missing value in any argument are left out.
        score_a: One number a unit.
        score_b: One number a unit.
        folds: One number or name a unit. If both scores come from cross-validations with different folds, it is the
            combination of the two.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The comparison. Null with `no_units` or `one_class`; without interval or test with `too_few_subjects`,
        `zero_variance` or `degenerate_resamples`.

    Raises:
        StatisticsError: A subject has units in several folds.
    """
    parts = _parts(truth, folds, subjects, score_a, score_b, level=level)
    if parts.n == 0:
        return Comparison.null(NullReason.NO_UNITS, 0)
    sums, resampled = _sums(parts, _pairs_in_order, resamples, seed)
    if sums[-1] == 0:
        return Comparison.null(NullReason.ONE_CLASS, parts.n)
    a, b = float(sums[0] / sums[-1]), float(sums[1] / sums[-1])
    known: dict[str, Any] = {"value": a, "comparator_value": b, "difference": a - b, "n_subjects": parts.n_subjects}
    if parts.n_subjects < 2:
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, parts.n, **known)
    values = _divided(resampled[:, 0] - resampled[:, 1], resampled[:, -1])
    found = bootstrap_estimate(a - b, values, level=level, n=parts.n, n_subjects=parts.n_subjects, method=METHOD)
    if found.low is None or found.high is None or not found.se:
        return Comparison.null(found.null_reason or NullReason.ZERO_VARIANCE, parts.n, **known)
    statistic = (a - b) / found.se
    return Comparison(
        se=found.se,
        low=max(-1.0, found.low),
        high=min(1.0, found.high),
        n=parts.n,
        method=found.method,
        test=METHOD,
        statistic=statistic,
        p=float(2 * stats.norm.sf(abs(statistic))),
        resamples=found.resamples,
        degenerate_resamples=found.degenerate_resamples,
        **known,
    )


@dataclass(frozen=True)
class _Parts:
    """The complete units: their classes, scores (one array a score), folds and subjects, numbered from 0."""

    positive: np.ndarray
    scores: tuple[np.ndarray, ...]
    folds: np.ndarray
    subjects: np.ndarray

    @property
    def n(self) -> int:
        return len(self.positive)

    @property
    def n_subjects(self) -> int:
        return int(self.subjects.max()) + 1


def _parts(truth: ArrayLike, folds: ArrayLike, subjects: ArrayLike | None, *scores: ArrayLike, level: float) -> _Parts:
    check_level(level)
    truth = as_binary(truth, "truth")
    columns = [as_column(score, "score") for score in scores]
    known = complete(truth, *columns)
    codes = subject_codes(subjects, known)
    numbers = np.unique(np.asarray(folds)[known], return_inverse=True)[1]
    fold_of_subject = np.full(int(codes.max(initial=-1)) + 1, -1)
    fold_of_subject[codes] = numbers
    if (fold_of_subject[codes] != numbers).any():
        raise StatisticsError("a subject has units in several folds; its scores are not all out of fold")
    return _Parts(truth[known] == 1, tuple(column[known] for column in columns), numbers, codes)


def _estimate(parts: _Parts, counts_of: _CountsOf, *, level: float, resamples: int, seed: int) -> Estimate:
    sums, resampled = _sums(parts, counts_of, resamples, seed)
    if sums[-1] == 0:
        return Estimate.null(NullReason.ONE_CLASS, parts.n, n_subjects=parts.n_subjects)
    value = float(sums[0] / sums[-1])
    if parts.n_subjects < 2:
        reason = NullReason.TOO_FEW_SUBJECTS
        return Estimate(value, None, None, None, parts.n, null_reason=reason, n_subjects=parts.n_subjects)
    values = _divided(resampled[:, 0], resampled[:, -1])
    return bootstrap_estimate(value, values, level=level, n=parts.n, n_subjects=parts.n_subjects, method=METHOD)


def _sums(parts: _Parts, counts_of: _CountsOf, resamples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums over folds, one a score and the weight last, and those of each resample of subjects."""
    n_folds = int(parts.folds.max()) + 1
    sums: np.ndarray = np.zeros(len(parts.scores) + 1)
    resampled: np.ndarray = np.zeros((resamples, len(parts.scores) + 1))
    for number, child in enumerate(np.random.SeedSequence(seed).spawn(n_folds)):
        inside = parts.folds == number
        _, columns = np.unique(parts.subjects[inside], return_inverse=True)
        counts = [counts_of(parts.positive[inside], score[inside], columns) for score in parts.scores]
        statistic = partial(_stacked, counts)
        each = np.ones(int(columns.max()) + 1)
        sums += statistic(each[np.newaxis])[0]
        resampled += resample_weights(each, statistic, resamples, int(child.generate_state(1)[0]))
    return sums, resampled


def _stacked(counts: Sequence[_Counts], weights: np.ndarray) -> np.ndarray:
    found = [count(weights) for count in counts]
    return np.stack([*(values for values, _ in found), found[0][1]], axis=1)


def _divided(sums: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.divide(sums, weights, out=np.full(len(sums), np.nan), where=weights > 0)


def _pairs_in_order(positive: np.ndarray, score: np.ndarray, columns: np.ndarray) -> _Counts:
    """Return a function from weights to the weight of the pairs in the right order, ties half, and of all pairs."""
    sums = class_sums_by_score(positive, score, columns)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positives, negatives = sums(weights)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        return np.einsum("rg,rg->r", positives, below), positives.sum(axis=1) * negatives.sum(axis=1)

    return count


def _precision_of_positives(positive: np.ndarray, score: np.ndarray, columns: np.ndarray) -> _Counts:
    """Return a function from weights to average precision × weight of the positives, and that weight.

    A fold with one class has no average precision, so its positives count nothing.
    """
    precision = average_precision_under_weights(positive, score, columns)
    of_subject = np.bincount(columns, weights=positive)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = precision(weights)
        positives = np.where(np.isnan(values), 0.0, weights @ of_subject)
        return np.nan_to_num(values) * positives, positives

    return count


def _area_of_units(wrong: np.ndarray, uncertainty: np.ndarray, columns: np.ndarray) -> _Counts:
    """Return a function from weights to the area under the abstention curve × weight of the units, and that weight."""
    area = AreaUnderWeights(wrong, uncertainty, columns)
    of_subject = np.bincount(columns)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        units = weights @ of_subject
        return np.nan_to_num(area(weights)) * units, units

    return count
