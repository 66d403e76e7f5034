"""A figure that does not exist for a cohort is a null with a reason, never NaN or 0, and causes no warning."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics import calibration, classification, net_benefit, segmentation, target_prevalence
from diagchd_batch.statistics.agreement import coefficients
from diagchd_batch.statistics.classification.confusion import RATES, Confusion
from diagchd_batch.statistics.classification.partial_verification import begg_greenes
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.multireader import random_readers, reader_groups
from diagchd_batch.statistics.subgroups import InteractionTest, heterogeneity_test, interaction_test

NAN = float("nan")

COHORTS: dict[str, tuple[list[float], list[float], list[float], list[float]]] = {
    # truth, call a, call b, score
    "no unit": ([], [], [], []),
    "one diseased": ([1], [1], [0], [0.7]),
    "one healthy": ([0], [0], [0], [0.7]),
    "one of each": ([0, 1], [0, 1], [1, 1], [0.1, 0.7]),
    "one class": ([1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [0.4, 0.6, 0.7, 0.9]),
    "all missing": ([NAN, NAN, NAN], [1, 0, NAN], [NAN, 1, 0], [NAN, 0.5, 0.1]),
    "never called": ([0, 1, 0, 1, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0.2, 0.2, 0.2, 0.2, 0.2]),
    "always called": ([0, 1, 0, 1, 1], [1, 1, 1, 1, 1], [0, 1, 0, 1, 0], [0.9, 0.9, 0.9, 0.9, 0.9]),
    "perfect": ([0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1], [0, 0, 1, 1, 0, 1], [0.1, 0.2, 0.8, 0.9, 0.1, 0.9]),
    "all wrong": ([0, 0, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1], [1.0, 1.0, 0.0, 0.0]),
    "identical calls": ([0, 1, 0, 1, 1, 0], [1, 1, 0, 0, 1, 0], [1, 1, 0, 0, 1, 0], [0.1, 0.3, 0.4, 0.2, 0.8, 0.6]),
}
SUBJECTS = {"own": lambda n: None, "shared": lambda n: np.arange(n) // 2, "one": lambda n: np.zeros(n)}


def assert_honest(result: object) -> None:
    """Assert that no value is NaN or infinite, that absent values have a reason, and that intervals have a width."""
    assert dataclasses.is_dataclass(result)
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        if isinstance(value, float):
            assert math.isfinite(value) or (field.name == "df2" and value == math.inf), (field.name, result)
    if isinstance(result, Estimate | Comparison):
        main = result.value if isinstance(result, Estimate) else result.difference
        absent = main is None or result.low is None or result.high is None
        assert (result.null_reason is not None) == absent, result
        assert (result.low is None) == (result.high is None)
        if result.low is not None:
            assert result.low < result.high, "an interval without width claims certainty"
            assert result.method
    if isinstance(result, Comparison) and result.low is not None and result.p is not None:
        assert 0 < result.p <= 1 and result.test
    if isinstance(result, InteractionTest):
        assert (result.p is None) == (result.null_reason is not None)


@pytest.mark.parametrize("sharing", SUBJECTS)
@pytest.mark.parametrize("cohort", COHORTS)
def test_accuracy_of_degenerate_cohorts(cohort: str, sharing: str) -> None:
    truth, a, b, score = COHORTS[cohort]
    subjects = SUBJECTS[sharing](len(truth))
    for name in RATES:
        assert_honest(classification.estimate_rate(name, truth, a, subjects, resamples=50))
        assert_honest(classification.compare_rates(name, truth, a, b, subjects, resamples=50))
        reads = np.array([a, b]).T.reshape(len(truth), 2)
        for averaging in ("mean", "pooled"):
            options: dict[str, Any] = {"averaging": averaging, "resamples": 50}
            assert_honest(reader_groups.readers_rate(name, truth, reads, subjects, **options))
            assert_honest(reader_groups.model_versus_readers_rate(name, truth, a, reads, subjects, **options))
    for name in ("auc", "average_precision", "brier"):
        assert_honest(classification.estimate_score(name, truth, score, subjects, resamples=50))
    assert_honest(classification.delong_paired(truth, score, a, subjects))
    assert_honest(classification.delong_paired(truth, score, score, subjects))
    assert_honest(calibration.calibration_intercept(truth, score, subjects))
    assert_honest(calibration.calibration_slope(truth, score, subjects))
    assert_honest(calibration.expected_calibration_error(truth, score))
    for name in target_prevalence.HEALTHY_AT_PREVALENCE:
        assert_honest(target_prevalence.estimate_at_prevalence(name, truth, score, 0.01, subjects))
    for _, of_bin in target_prevalence.calibration_bins_at_prevalence(truth, score, 0.01, subjects):
        assert_honest(of_bin)
    for prevalence in (None, 0.01):
        for benefit in net_benefit.net_benefits(truth, score, [0.02, 0.5], subjects, prevalence=prevalence):
            assert_honest(benefit)
    pair = classification.paired_predictive_values(truth, a, b, subjects)
    assert_honest(pair.ppv)
    assert_honest(pair.npv)
    for estimate in begg_greenes(np.where(np.arange(len(truth)) % 3 == 2, NAN, truth), a, subjects):
        assert_honest(estimate)
    table = classification.confusion(truth, a)
    for estimate in classification.predictive_values_at(table, 0.01):
        assert_honest(estimate)


@pytest.mark.parametrize("sharing", SUBJECTS)
@pytest.mark.parametrize("cohort", COHORTS)
@pytest.mark.parametrize("n_readers", [1, 2, 3])
def test_reader_studies_of_degenerate_cohorts(cohort: str, sharing: str, n_readers: int) -> None:
    truth, a, b, score = COHORTS[cohort]
    subjects = SUBJECTS[sharing](len(truth))
    calls = np.array([a, b, a]).T.reshape(len(truth), 3)[:, :n_readers]
    scores = np.array([score, a, b]).T.reshape(len(truth), 3)[:, :n_readers]
    for measure, model, reads in (("auc", score, scores), ("sensitivity", a, calls), ("specificity", b, calls)):
        assert_honest(random_readers.model_versus_readers(truth, model, reads, measure, subjects))
        assert_honest(random_readers.readers_mean(truth, reads, measure, subjects))
        both_arms = np.stack([reads.T, reads.T[::-1]])
        assert_honest(random_readers.obuchowski_rockette(truth, both_arms, measure, subjects).comparison)


RATINGS: dict[str, list[list[Any]]] = {
    "one unit": [[1, 1]],
    "one unit, in disagreement": [[0, 1]],
    "one rater": [[1], [0], [1]],
    "all missing": [[None, NAN], [NAN, None]],
    "never two reads": [[1, None], [None, 0], [1, None]],
    "one category": [[1, 1, 1], [1, 1, 1]],
    "perfect": [[1, 1], [0, 0], [1, 1], [0, 0]],
    "never agreeing": [[1, 0], [0, 1], [1, 0]],
    "one constant rater": [[1, 1], [1, 0], [1, 1], [1, 0]],
    "one pair among singles": [[1, 0], [1, None], [None, 0], [1, None]],
}


@pytest.mark.parametrize("sharing", SUBJECTS)
@pytest.mark.parametrize("name", RATINGS)
def test_agreement_of_degenerate_ratings(name: str, sharing: str) -> None:
    ratings = RATINGS[name]
    subjects = SUBJECTS[sharing](len(ratings))
    for categories in (None, (0, 1)):
        assert_honest(coefficients.gwet_ac1(ratings, categories, subjects, resamples=50))
        assert_honest(coefficients.brennan_prediger(ratings, categories, subjects, resamples=50))
    assert_honest(coefficients.percent_agreement(ratings, subjects, resamples=50))
    for level in ("nominal", "ordinal", "interval", "ratio"):
        assert_honest(coefficients.krippendorff_alpha(ratings, level, subjects, resamples=50))
    array = np.array(ratings, dtype=object)
    counts = np.stack([(array == value).sum(axis=1) for value in (0, 1)], axis=1)
    assert_honest(coefficients.fleiss_kappa(counts, subjects, resamples=50))
    if array.shape[1] == 2:
        for weights in (None, "linear", "quadratic"):
            pair = array[:, 0], array[:, 1]
            assert_honest(coefficients.cohen_kappa_of_ratings(*pair, weights, None, subjects, resamples=50))
            assert_honest(coefficients.cohen_kappa_of_ratings(*pair, weights, (0, 1), subjects, resamples=50))


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: coefficients.cohen_kappa([[0, 0], [0, 0]]), NullReason.NO_UNITS),
        (lambda: coefficients.cohen_kappa([[5, 0], [0, 0]]), NullReason.CONSTANT_RATINGS),
        (lambda: coefficients.cohen_kappa([[5, 0], [0, 3]]), NullReason.ZERO_VARIANCE),
        (lambda: coefficients.fleiss_kappa(np.zeros((3, 2))), NullReason.NO_UNITS),
        (lambda: coefficients.fleiss_kappa([[1, 0], [0, 1]]), NullReason.ONE_RATER),
        (lambda: coefficients.fleiss_kappa([[3, 0], [3, 0]]), NullReason.CONSTANT_RATINGS),
        (lambda: coefficients.gwet_ac1([[1, 1], [1, 1]]), NullReason.CONSTANT_RATINGS),
        (lambda: coefficients.krippendorff_alpha([[1, 1], [1, 1]]), NullReason.CONSTANT_RATINGS),
        (lambda: coefficients.krippendorff_alpha([[1, None], [None, 1]]), NullReason.ONE_RATER),
        (lambda: classification.proportion(0, 0), NullReason.ZERO_DENOMINATOR),
        (lambda: classification.estimate_rate("ppv", [0, 1], [0, 0]), NullReason.ZERO_DENOMINATOR),
        (lambda: classification.estimate_rate("ppv", [], []), NullReason.NO_UNITS),
        (lambda: classification.compare_rates("f1", [0, 1], [1, 1], [1, 1]), NullReason.IDENTICAL_CALLS),
        (lambda: classification.compare_rates("sensitivity", [0, 1], [1, 1], [0, 1]), NullReason.IDENTICAL_CALLS),
        (lambda: classification.delong_interval([1, 1], [0.2, 0.3]), NullReason.ONE_CLASS),
        (lambda: classification.delong_paired([0, 0, 1, 1], [1, 3, 2, 4], [1, 9, 2, 16]), NullReason.IDENTICAL_RANKS),
        (lambda: classification.delong_paired([0, 0, 1, 1], [1, 2, 3, 4], [2, 1, 4, 3]), NullReason.IDENTICAL_RANKS),
        (lambda: classification.delong_paired([0, 0, 1, 1], [1, 3, 2, 4], [1, 3, 2, 4]), NullReason.IDENTICAL_CALLS),
        (lambda: calibration.calibration_slope([0, 0, 1, 1], [0.1, 0.2, 0.3, 0.4]), NullReason.SEPARATION),
        (lambda: calibration.expected_calibration_error([0], [0.1]), NullReason.NO_VALID_INTERVAL),
    ],
)
def test_the_reason_is_the_right_one(call: Callable[[], Estimate], reason: NullReason) -> None:
    assert call().null_reason == reason


def test_no_discordant_pair_has_no_p() -> None:
    assert classification.mcnemar_exact(0, 0) == 1.0


@pytest.mark.parametrize("score", [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [1, 1, 1, 1, 1, 1]])
def test_extreme_auc_has_an_interval_with_width(score: list[float]) -> None:
    estimate = classification.delong_interval([0, 0, 0, 1, 1, 1], score)
    assert estimate.method == "newcombe_mann_whitney"
    assert_honest(estimate)
    assert estimate.low <= estimate.value <= estimate.high


def test_sensitivity_of_one_with_clustered_units_keeps_a_width() -> None:
    estimate = classification.estimate_rate("sensitivity", [1] * 12, [1] * 12, np.arange(12) // 3)
    assert estimate.value == estimate.high == 1.0
    # There are four subjects, not twelve, so the interval is wider than that of 12 of 12.
    assert estimate.low < classification.proportion_interval(12, 12)[0]


@pytest.mark.parametrize(
    "call",
    [
        lambda: classification.proportion_interval(0, 0),
        lambda: classification.proportion_interval(3, 2),
        lambda: classification.proportion_interval(-1, 2),
        lambda: classification.proportion_interval(1.5, 2),
        lambda: classification.proportion_interval(1, 2, "wald"),
        lambda: classification.proportion_interval(1, 2, level=95),
        lambda: classification.mcnemar_exact(-1, 2),
        lambda: classification.estimate_rate("recall", [0], [1]),
        lambda: classification.estimate_rate("ppv", [0, 1], [1]),
        lambda: classification.estimate_rate("ppv", [0, 1], [0.3, 0.7]),
        lambda: classification.estimate_rate("ppv", [0, 1], [0, 1], ["a"]),
        lambda: classification.estimate_rate("ppv", [0, 1], [0, 1], ["a", None]),
        lambda: classification.estimate_rate("ppv", ["sick", "well"], [0, 1]),
        lambda: classification.estimate_score("brier", [0, 1], [0.5, 1.5]),
        lambda: classification.delong_interval([0, 1], [0.5, math.inf]),
        lambda: classification.predictive_values_at(Confusion(1, 1, 1, 1), 1.0),
        lambda: coefficients.cohen_kappa([[1, 2, 3], [4, 5, 6]]),
        lambda: coefficients.cohen_kappa([[1, -2], [4, 5]]),
        lambda: coefficients.cohen_kappa([[1, NAN], [4, 5]]),
        lambda: coefficients.cohen_kappa([[1, 2], [4, 5]], "cubic"),
        lambda: coefficients.fleiss_kappa([[1.5, 2]]),
        lambda: coefficients.gwet_ac1([1, 2, 3]),
        lambda: coefficients.gwet_ac1([[1, 2]], categories=(0, 1)),
        lambda: coefficients.krippendorff_alpha([["a", "b"]], "ordinal"),
        lambda: coefficients.krippendorff_alpha([[-1, 2]], "ratio"),
        lambda: coefficients.krippendorff_alpha([[1, 2]], "metric"),
        lambda: random_readers.obuchowski_rockette([0, 1], np.zeros((3, 2, 2))),
        lambda: random_readers.model_versus_readers([0, 1], [0, 1], [[0], [1]], "accuracy"),
        lambda: net_benefit.net_benefits([0, 1], [0.2, 0.3], [1.0]),
        lambda: net_benefit.net_benefits([0, 1], [0.2, 0.3], [0.0]),
        lambda: net_benefit.net_benefits([0, 1], [0.2, 0.3], [0.5], prevalence=1.0),
        lambda: target_prevalence.estimate_at_prevalence("auc", [0, 1], [0.2, 0.3], 0.1),
        lambda: target_prevalence.estimate_at_prevalence("brier", [0, 1], [0.2, 0.3], 1),
        lambda: target_prevalence.calibration_bins_at_prevalence([0, 1], [0.2, 0.3], 0),
        lambda: calibration.calibration_bins([0, 1], [0.2, 0.3], 0),
        lambda: segmentation.PixelCounts([5], [4], [9]),
        lambda: interaction_test([0, 1], ["a", None]),
    ],
)
def test_arguments_for_which_nothing_is_defined_are_refused(call: Callable[[], object]) -> None:
    with pytest.raises(StatisticsError) as error:
        call()
    assert len(str(error.value)) > 20  # It is a message, not a code.


def test_empty_masks() -> None:
    counts = segmentation.PixelCounts([0, 0, 4, 5], [0, 4, 8, 5], [0, 0, 4, 5])
    assert list(counts.status()) == ["both_empty", "one_empty", "ok", "ok"]
    assert np.isnan(segmentation.dice(counts)[0]) and np.isnan(segmentation.iou(counts)[0])
    assert list(segmentation.dice(counts)[1:]) == pytest.approx([0, 2 / 3, 1])
    assert_honest(segmentation.distribution(segmentation.dice(counts)))
    assert segmentation.distribution(segmentation.dice(counts)).n_undefined == 1
    nothing = segmentation.PixelCounts(np.zeros(2), np.zeros(2), np.zeros(2))
    for pooled in (segmentation.pooled_dice, segmentation.pooled_iou):
        assert pooled(nothing).null_reason == NullReason.BOTH_EMPTY
        assert_honest(pooled(counts, resamples=50))
    by_class = segmentation.PixelCounts(*np.zeros((3, 2, 3)))
    assert segmentation.mean_iou_pooled(by_class).null_reason == NullReason.BOTH_EMPTY
    assert np.isnan(segmentation.mean_iou_per_image(by_class)).all()
    assert_honest(segmentation.mean_of_studies([NAN, NAN]))
    assert_honest(segmentation.mean_of_studies([0.5]))
    assert_honest(segmentation.mean_of_studies([0.5, 0.5, 0.5], resamples=50))
    assert_honest(segmentation.distribution([]))
    penalised = segmentation.penalised_distance([NAN, NAN, 2.0, 0.0], counts.status(), 100.0)
    assert list(penalised[1:]) == [100, 2, 0] and np.isnan(penalised[0])


def test_subgroups_without_anything_to_compare() -> None:
    assert interaction_test([], []).null_reason == NullReason.NO_UNITS
    assert interaction_test([1, 0], ["a", "a"]).null_reason == NullReason.ONE_LEVEL
    assert interaction_test([1, 1], ["a", "b"]).null_reason == NullReason.ZERO_VARIANCE
    assert heterogeneity_test([]).null_reason == NullReason.ONE_LEVEL
    assert_honest(interaction_test([1, 0, 1, 0.5], ["a", "b", "a", "b"]))
    assert_honest(interaction_test([1, 0, 1, 0], ["a", "b", "a", "b"], ["x", "x", "x", "x"]))
