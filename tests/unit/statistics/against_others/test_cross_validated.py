"""Cross-validated measures: what a comparison of scores of different folds would spoil, and intervals by simulation."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.cross_validated import (
    cross_validated_auc,
    cross_validated_auc_difference,
    cross_validated_average_precision,
)


def _cohort(seed: int, n: int = 120, effect: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, score and folds; the scores of each fold have another origin."""
    random = np.random.default_rng(seed)
    truth, folds = random.integers(0, 2, n), random.integers(0, 3, n)
    return truth, effect * truth + random.normal(size=n) + 5 * folds, folds


def test_average_precision_is_the_mean_of_the_folds_weighted_by_their_positives() -> None:
    truth, score, folds = _cohort(1)
    of_folds = [average_precision_score(truth[folds == one], score[folds == one]) for one in range(3)]
    weights = [truth[folds == one].sum() for one in range(3)]
    found = cross_validated_average_precision(truth, score, folds, resamples=200)
    assert found.value == pytest.approx(np.average(of_folds, weights=weights))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    shifted = cross_validated_average_precision(truth, score - 50 * folds, folds, resamples=200)
    assert (shifted.value, shifted.low) == (found.value, found.low), "scores of different folds must not meet"


def test_a_fold_of_one_class_counts_nothing() -> None:
    truth, score, folds = [1, 0, 1, 0, 1, 1], [0.9, 0.1, 0.3, 0.4, 0.9, 0.8], [0, 0, 1, 1, 2, 2]
    assert cross_validated_average_precision(truth, score, folds).value == pytest.approx((1 + 0.5) / 2)
    assert cross_validated_auc(truth, score, folds).value == pytest.approx(0.5)
    assert cross_validated_average_precision([1, 1], [0.1, 0.2], [0, 1]).null_reason == "one_class"
    assert cross_validated_auc_difference([1, 1], [0.1, 0.2], [0.1, 0.2], [0, 1]).null_reason == "one_class"
    assert cross_validated_auc_difference([], [], [], []).null_reason == "no_units"


def test_a_difference_is_that_of_the_two_cross_validated_aucs() -> None:
    truth, score, folds = _cohort(2)
    other = score + np.random.default_rng(3).normal(size=len(truth))
    found = cross_validated_auc_difference(truth, score, other, folds, resamples=300)
    a, b = (cross_validated_auc(truth, one, folds, resamples=1).value for one in (score, other))
    assert (found.value, found.comparator_value) == (a, b)
    assert found.difference == pytest.approx(a - b)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high
    assert found.p is not None
    assert found.test == "subject_bootstrap_within_folds"
    same = cross_validated_auc_difference(truth, score, 2 * score, folds, resamples=50)
    assert (same.difference, same.p, same.null_reason) == (0, None, "zero_variance")


def test_one_fold_gives_the_ordinary_auc() -> None:
    truth, score, folds = _cohort(4)
    of_one = cross_validated_auc(truth, score, np.zeros(len(truth)), resamples=1).value
    assert of_one == pytest.approx(roc_auc_score(truth, score))
    assert of_one < cross_validated_auc(truth, score, folds, resamples=1).value - 0.05


def test_a_subject_in_two_folds_is_refused() -> None:
    with pytest.raises(StatisticsError, match="several folds"):
        cross_validated_auc_difference([1, 0], [0.1, 0.2], [0.1, 0.2], [0, 1], ["a", "a"])


def test_with_shuffled_labels_the_interval_contains_a_half() -> None:
    """Scores of a fold are lower where its training part had more positives, as with models that learned nothing.

    The pooled AUC of such scores is below 0.5. The cross-validated one is not, and its interval covers 0.5.
    """
    covered, pooled = 0, []
    for seed in range(60):
        random = np.random.default_rng(seed)
        truth, folds = random.integers(0, 2, 60), np.arange(60) % 5
        share = np.array([truth[folds != fold].mean() for fold in range(5)])
        score = share[folds] + 0.01 * random.normal(size=60)
        found = cross_validated_auc(truth, score, folds, resamples=200, seed=seed)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 0.5 <= found.high
        pooled.append(roc_auc_score(truth, score))
    assert covered >= 53
    assert np.mean(pooled) < 0.45
