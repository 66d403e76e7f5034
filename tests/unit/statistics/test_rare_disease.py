"""Intervals keep their width where few subjects are diseased, and only dependent units count as dependent."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from diagchd_batch.statistics.classification import (
    compare_rates,
    delong_paired,
    estimate_rate,
    estimate_score,
    proportion_interval,
)
from diagchd_batch.statistics.classification.clustered import proportion_of_subjects
from diagchd_batch.statistics.multireader.random_readers import Measure, readers_mean
from diagchd_batch.statistics.multireader.reader_groups import model_versus_readers_rate, readers_rate

#: Two diseased fetuses of two mothers, both found, and three healthy ones of whom two share a mother.
FIVE: dict[str, Any] = {"truth": [1, 1, 0, 0, 0], "call": [1, 1, 0, 0, 1], "subjects": ["a", "b", "c", "c", "d"]}


def test_repeat_scans_of_healthy_subjects_do_not_make_the_diseased_dependent() -> None:
    found = estimate_rate("sensitivity", **FIVE)
    assert (found.low, found.high) == proportion_interval(2, 2)
    assert (found.method, found.numerator, found.denominator, found.n_subjects) == ("wilson", 2, 2, 2)
    assert estimate_rate("specificity", **FIVE).method == "wilson_effective_n"
    compared = compare_rates("sensitivity", FIVE["truth"], FIVE["call"], [1, 0, 0, 0, 0], FIVE["subjects"])
    assert compared.test == "mcnemar_exact"
    predictive = compare_rates("ppv", FIVE["truth"], FIVE["call"], [1, 0, 0, 0, 1], FIVE["subjects"])
    assert predictive.test == "weighted_generalised_score"


@pytest.mark.parametrize("name", ["balanced_accuracy", "lr_positive", "lr_negative"])
@pytest.mark.parametrize("copies", [1, 2])
def test_ten_diseased_who_are_all_found_leave_an_interval(name: str, copies: int) -> None:
    truth = np.repeat([1, 0], [10 * copies, 990 * copies])
    call = np.repeat([1, 1, 0], [10 * copies, 20 * copies, 970 * copies])
    estimate = estimate_rate(name, truth, call, np.arange(1000 * copies) // copies)
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert estimate.low <= estimate.value <= estimate.high and estimate.low < estimate.high
    assert estimate.method == ("combined_wilson" if copies == 1 else "combined_wilson_effective_n")


@pytest.mark.parametrize("name", ["balanced_accuracy", "lr_positive", "lr_negative"])
def test_units_of_one_subject_that_always_agree_count_once(name: str) -> None:
    truth, call = np.repeat([1, 0], [30, 70]), np.tile([1, 0, 1, 0, 0, 1, 0, 0, 1, 0], 10)
    single = estimate_rate(name, truth, call)
    pairs = estimate_rate(name, np.repeat(truth, 2), np.repeat(call, 2), np.arange(200) // 2)
    assert single.low is not None and pairs.low is not None and single.high is not None and pairs.high is not None
    assert pairs.value == pytest.approx(single.value)
    assert pairs.high - pairs.low == pytest.approx(single.high - single.low, rel=0.05)


@pytest.mark.parametrize("name", ["balanced_accuracy", "lr_positive", "lr_negative"])
def test_large_classes_give_the_delta_methods_limits(name: str) -> None:
    truth = np.repeat([1, 0], [20_000, 30_000])
    call = np.repeat([1, 0, 1, 0], [17_000, 3_000, 2_400, 27_600])
    estimate = estimate_rate(name, truth, call)
    var_a, var_b = 0.85 * 0.15 / 20_000, 0.92 * 0.08 / 30_000
    if name == "balanced_accuracy":
        low, high = (0.885 + sign * 1.959964 * np.sqrt(var_a + var_b) / 2 for sign in (-1, 1))
    else:
        a, b = (0.85, 0.08) if name == "lr_positive" else (0.15, 0.92)
        spread = 1.959964 * np.sqrt(var_a / a**2 + var_b / b**2)
        low, high = a / b * np.exp(-spread), a / b * np.exp(spread)
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=2e-4)


def test_one_subject_with_all_diseased_units_has_no_interval() -> None:
    assert proportion_of_subjects(np.array([2.0, 0.0]), np.array([3.0, 0.0])).low is None
    estimate = estimate_rate("balanced_accuracy", [1, 1, 0, 0], [1, 0, 0, 1], ["a", "a", "b", "c"])
    assert estimate.value == 0.5 and estimate.low is None and estimate.null_reason == "too_few_subjects"


def test_the_auc_of_few_diseased_is_not_narrower_than_its_scarcest_class_allows() -> None:
    """Ten diseased who all score above 99 % of the healthy do not show that the AUC is above 0.98."""
    rng = np.random.default_rng(3)
    healthy = np.sort(rng.normal(size=990))
    score = np.concatenate([np.full(10, healthy[-5]) + np.linspace(0, 0.01, 10), healthy])
    estimate = estimate_score("auc", np.repeat([1, 0], [10, 990]), score)
    assert estimate.method == "newcombe_delong"
    assert estimate.value is not None and estimate.low is not None and estimate.value > 0.99 and estimate.low < 0.9


def test_both_analyses_of_the_readers_sensitivity_delete_the_same_subjects() -> None:
    rng = np.random.default_rng(5)
    truth = np.repeat([1, 0], [12, 60])
    reads = np.where(rng.random((72, 4)) < 0.8, truth[:, None], 1 - truth[:, None]).astype(float)
    reads[rng.random((72, 4)) < 0.1] = np.nan
    rates: tuple[Measure, ...] = ("sensitivity", "specificity")
    for rate in rates:
        one, other = readers_mean(truth, reads, rate), readers_rate(rate, truth, reads)
        assert other.value == pytest.approx(one.value, abs=1e-12)
        assert (other.se, other.low, other.high) == pytest.approx((one.se, one.low, one.high), rel=1e-12)


def test_mcc_against_readers_does_not_step_to_negative_counts() -> None:
    """Nobody has a false negative, so a step below that count would leave the square root undefined."""
    truth = np.repeat([1, 0], [10, 30])
    model = np.repeat([1, 0], [14, 26])
    readers = np.stack([np.repeat([1, 0], [12 + j, 28 - j]) for j in range(3)], axis=1)
    compared = model_versus_readers_rate("mcc", truth, model, readers, random_readers=False, resamples=200)
    assert compared.p is not None and compared.low is not None


@pytest.mark.parametrize("clustered", [False, True])
def test_the_paired_test_of_aucs_knows_that_ten_diseased_are_few(clustered: bool) -> None:
    """Without ties and repeats it has the degrees of freedom of the ten structural components of the diseased."""
    rng = np.random.default_rng(6)
    copies = 2 if clustered else 1
    truth = np.repeat([1, 0], [10 * copies, 4000 * copies])
    subjects = np.arange(4010 * copies) // copies
    a, b = 0.8 * truth + rng.normal(size=(2, len(truth))) + rng.normal(size=4010)[subjects]
    plain = delong_paired(truth, a, b, subjects)
    student = delong_paired(truth, a, b, subjects, quantile="student")
    assert (student.difference, student.se, student.statistic) == (plain.difference, plain.se, plain.statistic)
    assert student.test == ("delong_clustered_student" if clustered else "delong_student")
    assert student.df2 is not None and student.low is not None and plain.low is not None
    assert 9 <= student.df2 < 10
    assert student.low < plain.low and student.p is not None and plain.p is not None and student.p > plain.p
    below = 2 * stats.t.sf(abs(student.statistic or 0.0), student.df2)
    assert student.p == pytest.approx(below)


def test_satterthwaites_degrees_of_freedom_by_hand() -> None:
    """Each class adds the variance of the mean of its components, as each sample does in Welch's t test."""
    truth, a, b = [1, 1, 1, 0, 0, 0, 0], [5, 4, 1, 3, 2, 0, 0.5], [1, 4, 5, 0, 3, 2, 4.5]
    found = delong_paired(truth, a, b, quantile="student")
    v = []
    for label in (1, 0):
        own = [i for i, t in enumerate(truth) if t == label]
        other = [i for i, t in enumerate(truth) if t != label]
        sign = 1 if label else -1
        parts = [np.mean([(sign * (s[i] - s[j]) > 0) for j in other]) for s in (a, b) for i in own]
        difference = np.array(parts[: len(own)]) - parts[len(own) :]
        v.append((difference.var(ddof=1) / len(own), len(own) - 1))
    expected = sum(x for x, _ in v) ** 2 / sum(x**2 / df for x, df in v)
    assert found.df2 == pytest.approx(expected)
    assert found.se == pytest.approx(np.sqrt(sum(x for x, _ in v)))
