"""Figures at another prevalence, as other programs print them. The call that was run stands beside each of them.

The calls ran in R 4.2.2 with survey 4.1-1 on

    y <- c(1,0,0,1,0,1,0,0,1,0,0,1,0,0,0)
    p <- c(.82,.31,.12,.44,.55,.91,.08,.27,.38,.62,.19,.71,.33,.05,.48)
    w <- ifelse(y == 1, pi / sum(y == 1), (1 - pi) / sum(y == 0))
    d <- svydesign(ids = ~1, strata = ~y, weights = ~w, data = data.frame(y, l = qlogis(p), b = (p - y)^2))

with pi 0.01 and 0.05. The standard errors of regressions agree to the digits to which R's iterations converge.
"""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from diagchd_batch.statistics.classification import Confusion, predictive_values_at, proportion_interval
from diagchd_batch.statistics.estimate import NullReason
from diagchd_batch.statistics.target_prevalence import (
    calibration_bins_at_prevalence,
    estimate_at_prevalence,
    predictive_values_at_prevalence,
)

Y = np.array([1, 0, 0, 1, 0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 0])
P = np.array([0.82, 0.31, 0.12, 0.44, 0.55, 0.91, 0.08, 0.27, 0.38, 0.62, 0.19, 0.71, 0.33, 0.05, 0.48])


@pytest.mark.parametrize(
    ("name", "prevalence", "value", "se"),
    [
        ("brier", 0.01, 0.1258506, 0.04212807504),  # svymean(~b, d)
        ("brier", 0.05, 0.127413, 0.04060269007),
        ("calibration_intercept", 0.01, -4.056844206, 0.287417),  # svyglm(y ~ offset(l), d, family = quasibinomial())
        ("calibration_intercept", 0.05, -2.508769983, 0.274765),
        ("calibration_slope", 0.01, 2.99719, 1.5262),  # svyglm(y ~ l, d, family = quasibinomial())
        ("calibration_slope", 0.05, 2.286815673, 1.038424),
    ],
)
def test_figures_of_the_survey_package(name: str, prevalence: float, value: float, se: float) -> None:
    estimate = estimate_at_prevalence(name, Y, P, prevalence)
    assert estimate.value == pytest.approx(value, rel=2e-6)
    assert estimate.se == pytest.approx(se, rel=4e-5)


@pytest.mark.parametrize("prevalence", [0.01, 1 / 3, 0.9])
def test_average_precision_is_that_of_weighted_units(prevalence: float) -> None:
    weights = np.where(Y == 1, prevalence / Y.sum(), (1 - prevalence) / (1 - Y).sum())
    rounded = np.round(P, 1)  # with ties
    for score in (P, rounded):
        expected = average_precision_score(Y, score, sample_weight=weights)
        assert estimate_at_prevalence("average_precision", Y, score, prevalence).value == pytest.approx(expected)


def test_the_derivative_of_average_precision_is_that_of_a_jackknife() -> None:
    rng = np.random.default_rng(5)
    truth = (np.arange(400) < 150).astype(float)
    score = np.clip(0.4 + 0.2 * truth + 0.15 * rng.normal(size=400), 0, 1)
    estimate = estimate_at_prevalence("average_precision", truth, score, 0.2)
    left_out = np.array(
        [
            estimate_at_prevalence("average_precision", np.delete(truth, i), np.delete(score, i), 0.2).value
            for i in range(400)
        ]
    )
    squares = [(n - 1) / n * np.sum((v - v.mean()) ** 2) for v in (left_out[:150], left_out[150:]) for n in [len(v)]]
    assert estimate.se == pytest.approx(np.sqrt(sum(squares)), rel=0.05)


def test_the_mean_share_of_the_bins_is_the_prevalence() -> None:
    found = calibration_bins_at_prevalence(Y, P, 0.02, bins=4)
    of_bin = [0.02 * b.n_positive / Y.sum() + 0.98 * (b.n - b.n_positive) / (1 - Y).sum() for b, _ in found]
    assert sum(m * (e.value or 0) for m, (_, e) in zip(of_bin, found, strict=True)) == pytest.approx(0.02)
    assert sum(of_bin) == pytest.approx(1)
    top = found[-1][1]  # only diseased: the share is 1, and the few healthy elsewhere leave a lower limit
    assert top.value == top.high == 1 and 0 < top.low < 0.2


@pytest.mark.parametrize("counts", [(8, 3, 2, 17), (8, 0, 2, 17), (10, 0, 0, 20), (0, 0, 4, 9), (3, 4, 0, 0)])
def test_predictive_values_are_those_of_bayes_rule(counts: tuple[int, int, int, int]) -> None:
    cells = np.repeat(np.eye(4), counts, axis=0)  # one unit a subject: TP, FP, FN, TN
    ours = predictive_values_at_prevalence(cells, 0.02)
    for estimate, other in zip(ours, predictive_values_at(Confusion(*counts), 0.02), strict=True):
        assert (estimate.null_reason, estimate.n) == (other.null_reason, sum(counts))
        assert estimate.value == (None if other.value is None else pytest.approx(other.value))
        assert estimate.value is None or estimate.low <= estimate.value <= estimate.high


def test_the_ppv_of_a_test_without_a_false_positive_has_a_lower_limit() -> None:
    ppv, _ = predictive_values_at_prevalence(np.repeat(np.eye(4), (10, 0, 0, 100), axis=0), 0.01)
    assert ppv.value == ppv.high == 1
    highest = proportion_interval(0, 100)[1]
    assert 0.1 < ppv.low < 0.01 / (0.01 + 0.99 * highest)


def test_too_few_healthy_for_the_prevalence_leave_the_figure_without_an_interval() -> None:
    rng = np.random.default_rng(1)
    for healthy, reason in ((900, NullReason.NO_VALID_INTERVAL), (1000, None)):
        truth = np.repeat([1, 0], [30, healthy])
        score = np.clip(0.3 + 0.3 * truth + 0.1 * rng.normal(size=len(truth)), 0, 1)
        estimate = estimate_at_prevalence("brier", truth, score, 0.01)
        assert estimate.null_reason == reason and estimate.value is not None
