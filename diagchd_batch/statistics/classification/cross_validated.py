"""The cross-validated AUC: only scores of one fold are ranked together, and subjects are resampled within folds."""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.auc import class_sums_by_score
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, check_level, complete, subject_codes
from diagchd_batch.statistics.resampling import DEFAULT_RESAMPLES, bootstrap_estimate, resample_weights

METHOD = "subject_bootstrap_within_folds"

_Pairs = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


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
    check_level(level)
    truth, score = as_binary(truth, "truth"), as_column(score, "score")
    known = complete(truth, score)
    codes = subject_codes(subjects, known)
    truth, score, numbers = truth[known], score[known], np.unique(np.asarray(folds)[known], return_inverse=True)[1]
    n = len(truth)
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    n_subjects = int(codes.max()) + 1
    fold_of_subject = np.full(n_subjects, -1)
    fold_of_subject[codes] = numbers
    if (fold_of_subject[codes] != numbers).any():
        raise StatisticsError("a subject has units in several folds; its scores are not all out of fold")
    generator = np.random.SeedSequence(seed)
    above, pairs = np.zeros(()), np.zeros(())
    resampled_above, resampled_pairs = np.zeros(resamples), np.zeros(resamples)
    for number, child in zip(range(int(numbers.max()) + 1), generator.spawn(int(numbers.max()) + 1), strict=True):
        inside = numbers == number
        _, columns = np.unique(codes[inside], return_inverse=True)
        counts = _pairs(truth[inside] == 1, score[inside], columns)
        each = np.ones(int(columns.max()) + 1)
        own_above, own_pairs = counts(each[np.newaxis])
        above, pairs = above + own_above[0], pairs + own_pairs[0]
        drawn = resample_weights(each, partial(_stacked, counts), resamples, _seed(child))
        resampled_above += drawn[:, 0]
        resampled_pairs += drawn[:, 1]
    if pairs == 0:
        return Estimate.null(NullReason.ONE_CLASS, n, n_subjects=n_subjects)
    value = float(above / pairs)
    if n_subjects < 2:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=n_subjects)
    values = np.divide(resampled_above, resampled_pairs, out=np.full(resamples, np.nan), where=resampled_pairs > 0)
    return bootstrap_estimate(value, values, level=level, n=n, n_subjects=n_subjects, method=METHOD)


def _stacked(counts: _Pairs, weights: np.ndarray) -> np.ndarray:
    return np.stack(counts(weights), axis=1)


def _seed(sequence: np.random.SeedSequence) -> int:
    return int(sequence.generate_state(1)[0])


def _pairs(positive: np.ndarray, score: np.ndarray, columns: np.ndarray) -> _Pairs:
    """Return a function from weights to the weight of the pairs in the right order, ties half, and of all pairs."""
    sums = class_sums_by_score(positive, score, columns)

    def count(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        positives, negatives = sums(weights)
        below = np.cumsum(negatives, axis=1) - negatives / 2
        return np.einsum("rg,rg->r", positives, below), positives.sum(axis=1) * negatives.sum(axis=1)

    return count
