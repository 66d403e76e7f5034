"""Recalibration, thresholds and the cross-validated AUC, against what each must hold on simulated cohorts."""

import numpy as np
import pytest
from scipy import special, stats
from sklearn.metrics import roc_auc_score

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.calibration import expected_calibration_error
from diagchd_batch.statistics.classification.cross_validated import cross_validated_auc
from diagchd_batch.statistics.recalibration import (
    SMALLEST_GROUP,
    Method,
    Recalibration,
    choose_recalibration,
    compare_methods,
    fit_recalibration,
)
from diagchd_batch.statistics.thresholds import Rule, choose_threshold

METHODS: tuple[Method, ...] = ("temperature", "platt", "isotonic")


def _overconfident(n: int, seed: int, factor: float = 3.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, probabilities whose logits are `factor` times too large, and folds."""
    generator = np.random.default_rng(seed)
    logit = generator.normal(0, 1.5, n)
    truth = (generator.random(n) < special.expit(logit)).astype(float)
    return truth, special.expit(factor * logit).astype(np.float32).astype(float), generator.integers(0, 5, n)


@pytest.mark.parametrize("factor", [0.4, 1.0, 2.0, 4.0])
def test_a_temperature_does_not_change_the_ranking(factor: float) -> None:
    truth, probability, _ = _overconfident(2000, 1, factor)
    probability[:4] = 0.0, 1.0, np.float32(1) - np.float32(2**-24), 1e-40
    fitted = fit_recalibration("temperature", truth, probability)
    assert np.array_equal(stats.rankdata(fitted.apply(probability)), stats.rankdata(probability))
    assert fitted.intercept == 0 and fitted.slope == pytest.approx(1 / factor, rel=0.15)


@pytest.mark.parametrize("method", METHODS)
def test_no_method_turns_an_order_around(method: Method) -> None:
    truth, probability, _ = _overconfident(500, 2)
    for labels in (truth, 1 - truth):  # with exchanged labels the score is worse than chance
        calibrated = fit_recalibration(method, labels, probability).apply(np.linspace(0, 1, 1001))
        assert (np.diff(calibrated) >= 0).all() and calibrated.min() >= 0 and calibrated.max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_the_calibration_error_of_an_overconfident_network_is_at_least_halved_out_of_fold(seed: int) -> None:
    truth, probability, folds = _overconfident(600, seed)
    before, *after = compare_methods(METHODS, truth, probability, folds)
    assert before.method == "none"
    assert before.expected_calibration_error == pytest.approx(expected_calibration_error(truth, probability).value)
    for figures in after:
        assert figures.expected_calibration_error <= before.expected_calibration_error / 2
        assert figures.log_loss < before.log_loss
    chosen, figures_of_all = choose_recalibration(METHODS, truth, probability, folds)
    assert chosen.method == min(figures_of_all, key=lambda one: one.log_loss).method


def test_without_a_method_that_helps_probabilities_stay() -> None:
    truth, probability, folds = _overconfident(60, 7, factor=1.0)
    chosen, figures = choose_recalibration(("platt",), truth, probability, folds)
    if figures[0].log_loss <= figures[1].log_loss:
        assert chosen == Recalibration()
    assert choose_recalibration(METHODS, truth, probability, np.zeros(60)) == (Recalibration(), [])
    assert np.array_equal(Recalibration().apply(probability), probability)


def test_platt_finds_a_shift_and_a_perfect_separation_stays_finite() -> None:
    generator = np.random.default_rng(3)
    logit = generator.normal(0, 1, 20_000)
    truth = (generator.random(len(logit)) < special.expit(0.5 * logit - 1)).astype(float)
    fitted = fit_recalibration("platt", truth, special.expit(logit))
    assert fitted.slope == pytest.approx(0.5, abs=0.05) and fitted.intercept == pytest.approx(-1, abs=0.05)
    apart = fit_recalibration("platt", [0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9])
    assert np.isfinite([apart.slope, apart.intercept]).all()


@pytest.mark.parametrize("distinct", [3, 50, 10_000])
def test_no_step_of_isotonic_regression_shows_a_few_units(distinct: int) -> None:
    generator = np.random.default_rng(4)
    probability = generator.integers(0, distinct, 977) / distinct
    truth = (generator.random(977) < probability).astype(float)
    fitted = fit_recalibration("isotonic", truth, probability)
    edges = (np.array(fitted.scores)[1:] + np.array(fitted.scores)[:-1]) / 2
    group = np.searchsorted(edges, probability)
    assert np.bincount(group).min() >= SMALLEST_GROUP // 2  # the nearest mean is not quite the group
    assert len(fitted.scores) <= 977 // SMALLEST_GROUP
    assert not set(fitted.values) & {0.0, 1.0}


def test_calibration_needs_both_classes_and_probabilities() -> None:
    with pytest.raises(StatisticsError, match="both classes"):
        fit_recalibration("temperature", [1, 1], [0.2, 0.4])
    with pytest.raises(StatisticsError, match="between 0 and 1"):
        fit_recalibration("temperature", [0, 1], [0.2, 1.4])


def test_thresholds_reach_what_is_asked_with_the_best_of_the_other() -> None:
    truth, score, _ = _overconfident(400, 5)
    rules: tuple[Rule, ...] = ("sensitivity", "specificity")
    for rule in rules:
        chosen = choose_threshold(truth, score, rule, at_least=0.95)
        called = score >= chosen.threshold
        assert chosen.sensitivity == pytest.approx(called[truth == 1].mean())
        assert chosen.specificity == pytest.approx((~called)[truth == 0].mean())
        assert getattr(chosen, rule) >= 0.95
        assert chosen.threshold not in score
        others = np.unique(score)
        reached = [(np.mean(score[truth == 1] >= other), np.mean(score[truth == 0] < other)) for other in others]
        place = ("sensitivity", "specificity").index(rule)
        assert (
            max(pair[1 - place] for pair in reached if pair[place] >= 0.95)
            <= (chosen.specificity if place == 0 else chosen.sensitivity) + 1e-12
        )


def test_thresholds_of_youden_and_of_costs() -> None:
    truth, score = [0, 0, 0, 1, 0, 1, 1], [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    assert choose_threshold(truth, score, "youden").threshold == pytest.approx(0.35)
    assert choose_threshold(truth, score, "cost", false_negative_cost=0.1).threshold == pytest.approx(0.55)
    assert choose_threshold(truth, score, "cost", false_negative_cost=9).threshold == pytest.approx(0.35)
    rare = choose_threshold(truth, score, "cost", false_negative_cost=9, prevalence=0.01)
    assert rare.threshold == pytest.approx(0.55)
    with pytest.raises(StatisticsError, match="both classes"):
        choose_threshold([1, 1], [0.1, 0.2], "youden")


def test_the_cross_validated_auc_is_the_mean_of_the_folds_weighted_by_their_pairs() -> None:
    generator = np.random.default_rng(6)
    folds = generator.integers(0, 3, 90)
    truth = (generator.random(90) < 0.4).astype(float)
    score = np.round(truth + generator.normal(0, 1, 90) + 100 * folds, 1)  # folds on quite different scales
    parts = [(roc_auc_score(truth[folds == f], score[folds == f]), truth[folds == f]) for f in range(3)]
    pairs = [labels.sum() * (1 - labels).sum() for _, labels in parts]
    estimate = cross_validated_auc(truth, score, folds, seed=1)
    assert estimate.value == pytest.approx(np.average([auc for auc, _ in parts], weights=pairs))
    assert estimate.low is not None and estimate.high is not None and estimate.low < estimate.value < estimate.high
    shifted = cross_validated_auc(truth, score - 100 * folds, folds, seed=1)
    assert (shifted.value, shifted.low, shifted.high) == (estimate.value, estimate.low, estimate.high)


def test_a_fold_with_one_class_has_no_weight_and_a_subject_in_two_folds_is_refused() -> None:
    truth, score, folds = [0, 1, 0, 1, 1, 1], [0.1, 0.9, 0.4, 0.3, 0.2, 0.1], [0, 0, 0, 0, 1, 1]
    assert cross_validated_auc(truth, score, folds).value == pytest.approx(3 / 4)
    assert cross_validated_auc([1, 1], [0.1, 0.2], [0, 1]).null_reason == "one_class"
    with pytest.raises(StatisticsError, match="several folds"):
        cross_validated_auc(truth, score, folds, ["a", "b", "c", "d", "a", "e"])


def test_with_shuffled_labels_the_interval_holds_one_half() -> None:
    """Folds whose models have different offsets, and several images a subject, as in real cross-validation."""
    inside = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        subjects = np.repeat(np.arange(100), 2)
        folds = (np.arange(100) % 5)[subjects]
        truth = generator.permutation(np.arange(100) < 30)[subjects].astype(float)
        score = generator.normal(0, 1, 100)[subjects] + generator.normal(0, 0.5, 200) + 3 * folds
        estimate = cross_validated_auc(truth, score, folds, subjects, resamples=400, seed=seed)
        assert estimate.low is not None and estimate.high is not None
        inside += estimate.low <= 0.5 <= estimate.high
    assert inside >= 53  # 95 % of 60 are 57
