"""The readers as a group: majority, leave-one-out, bootstrap means, and the two forms of Obuchowski–Rockette."""

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.errors import StatisticsError
from diagchd_batch.evaluation.readers.majority import majority_of_others
from diagchd_batch.evaluation.units_and_raters import NOT_READ, UNDECIDED, Rater
from diagchd_batch.statistics.classification import estimate_rate, paired_predictive_values
from diagchd_batch.statistics.classification.confusion import RATES, confusion
from diagchd_batch.statistics.multireader import random_readers as or_analyses
from diagchd_batch.statistics.multireader.random_readers import (
    Measure,
    compare_arms_with_gaps,
    model_versus_readers,
    obuchowski_rockette,
    readers_mean,
)
from diagchd_batch.statistics.multireader.reader_groups import (
    Averaging,
    counted_as,
    leave_one_out_majority,
    majority_call,
    model_versus_readers_rate,
    readers_rate,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("reads", "expected"),
    [
        ([1, 1, 0], 1),
        ([1, 0, 0], 0),
        ([1, 0, NAN], NAN),  # a tie
        ([1, NAN, NAN], NAN),  # one of three is fewer than ceil(3 / 2)
        ([1, 1, NAN], 1),
        ([1, 1, NAN, NAN], 1),  # two of four are enough
        ([1, NAN, NAN, NAN], NAN),
        ([1, 1, 0, 0], NAN),
        ([NAN, NAN, NAN], NAN),
        ([1], 1),
    ],
)
def test_majority(reads: list[float], expected: float) -> None:
    assert majority_call([reads]) == pytest.approx([expected], nan_ok=True)


def test_leave_one_out_leaves_the_reader_out() -> None:
    reads = [[1, 1, 0], [0, 1, 1]]
    assert leave_one_out_majority(reads, 0) == pytest.approx([NAN, 1], nan_ok=True)
    assert leave_one_out_majority(reads, 2) == pytest.approx([1, NAN], nan_ok=True)
    with pytest.raises(StatisticsError, match="column 3"):
        leave_one_out_majority(reads, 3)
    with pytest.raises(StatisticsError, match="two readers"):
        leave_one_out_majority([[1], [0]], 0)


def _reads(n_readers: int) -> st.SearchStrategy[list[list[float]]]:
    calls = st.sampled_from([0.0, 1.0, NAN])
    return st.lists(st.lists(calls, min_size=n_readers, max_size=n_readers), min_size=1)


@given(st.integers(2, 6).flatmap(_reads))
def test_leave_one_out_equals_counting_by_hand(reads: list[list[float]]) -> None:
    for reader in range(len(reads[0])):
        expected = []
        for unit in reads:
            others = [call for place, call in enumerate(unit) if place != reader]
            valid = [call for call in others if call in (0.0, 1.0)]
            winners = [call for call in (0.0, 1.0) if valid.count(call) > len(valid) / 2]
            expected.append(winners[0] if winners and len(valid) >= len(others) / 2 else NAN)
        assert leave_one_out_majority(reads, reader) == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("left_out", range(4))
def test_the_tables_majority_of_the_others_is_the_leave_one_out_majority(left_out: int) -> None:
    generator = np.random.default_rng(left_out)
    calls = generator.choice([0.0, 1.0, NAN], (200, 4))
    reason = np.where(np.isnan(calls), NOT_READ, 0).astype(np.int8)
    # All readers have equal names, so only the object itself shows which reader is left out.
    readers = tuple(Rater("reader", "r", calls[:, place], reason[:, place]) for place in range(4))
    others = majority_of_others(readers, readers[left_out])
    assert others.call == pytest.approx(leave_one_out_majority(calls, left_out), nan_ok=True)
    nobody = np.isnan(np.delete(calls, left_out, axis=1)).all(axis=1)
    assert nobody.any()
    assert (others.reason[nobody] == NOT_READ).all()
    assert (others.reason[~nobody & np.isnan(others.call)] == UNDECIDED).all()


def test_uncertain_calls_bound_the_accuracy() -> None:
    truth, call, uncertain = [1, 1, 0, 0], [1, NAN, 0, NAN], [False, True, False, True]
    assert list(counted_as(truth, call, uncertain, right=True)) == [1, 1, 0, 0]
    assert list(counted_as(truth, call, uncertain, right=False)) == [1, 0, 0, 1]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 6), st.booleans())
def test_one_sample_form_equals_the_model_entered_as_identical_readers(seed: int, count: int, clustered: bool) -> None:
    generator = np.random.default_rng(seed)
    truth = np.repeat([0, 1], 20)
    scores = truth + generator.normal(size=(count + 1, 40))
    calls = (scores > 0.5).astype(float)
    subjects = np.r_[np.arange(20) // 2, 50 + np.arange(20) // 2] if clustered else None
    for measure, values in (("auc", scores), ("sensitivity", calls), ("specificity", calls)):
        model, readers = values[0], values[1:]
        one = model_versus_readers(truth, model, readers.T, measure, subjects)  # type: ignore[arg-type]
        two = obuchowski_rockette(truth, np.stack([np.tile(model, (count, 1)), readers]), measure, subjects).comparison  # type: ignore[arg-type]
        assert one.difference == pytest.approx(two.difference, abs=1e-12)
        if one.p is not None:
            assert (one.p, one.se, one.df2) == pytest.approx((two.p, two.se, two.df2), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_modalities_and_readers_may_change_places(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.repeat([0, 1], 15)
    cube = truth + generator.normal(size=(2, 4, 30))
    forward, backward = obuchowski_rockette(truth, cube).comparison, obuchowski_rockette(truth, cube[::-1]).comparison
    assert forward.difference == pytest.approx(-backward.difference, abs=1e-12)
    assert forward.p == pytest.approx(backward.p, rel=1e-9)
    shuffled = obuchowski_rockette(truth, cube[:, generator.permutation(4)]).comparison
    assert (shuffled.p, shuffled.se) == pytest.approx((forward.p, forward.se), rel=1e-9)


@pytest.mark.parametrize("clustered", [False, True])
@pytest.mark.parametrize("measure", ["auc", "sensitivity", "specificity"])
def test_arms_without_gaps_are_analysed_as_balanced_ones(measure: Measure, clustered: bool) -> None:
    """The analysis of arms with gaps equals the balanced one where there are none, and is close to it with few."""
    generator = np.random.default_rng(7)
    truth = np.repeat([0, 1], 40)
    cube = truth + generator.normal(size=(2, 5, 80)) + 0.3 * generator.normal(size=(2, 5, 1))
    cube = cube if measure == "auc" else (cube > 0.5).astype(float)
    subjects = np.r_[np.arange(40) // 2, 50 + np.arange(40) // 2] if clustered else None
    balanced = obuchowski_rockette(truth, cube, measure, subjects).comparison
    assert compare_arms_with_gaps(truth, cube, measure, subjects) == balanced
    # Only reader 0 read two further cases, which repeat others.
    longer = np.concatenate([cube, np.where(np.arange(5)[:, None] == 0, cube[..., [0, 79]], NAN)], axis=2)
    ids = None if subjects is None else np.r_[subjects, subjects[[0, 79]]]
    gaps = compare_arms_with_gaps(np.r_[truth, 0, 1], longer, measure, ids)
    assert (gaps.method, gaps.test) == ("obuchowski_rockette_unbalanced",) * 2
    assert gaps.n == 82
    assert gaps.difference == pytest.approx(balanced.difference, abs=0.02)
    assert gaps.se == pytest.approx(balanced.se, rel=0.2)
    codes = np.arange(80) if subjects is None else np.unique(subjects, return_inverse=True)[1]
    pairs = or_analyses._compare_on_own_units(truth, cube[0].T, cube[1].T, codes, measure, 0.95)
    assert (pairs.se, pairs.low, pairs.high, pairs.df2, pairs.p) == pytest.approx(
        (balanced.se, balanced.low, balanced.high, balanced.df2, balanced.p), rel=1e-9
    )


def test_a_reader_who_read_one_class_only_leaves_no_comparison() -> None:
    generator = np.random.default_rng(8)
    truth = np.repeat([0, 1], 20)
    cube = truth + generator.normal(size=(2, 4, 40))
    cube[0, 2, 20:] = NAN
    assert compare_arms_with_gaps(truth, cube).null_reason == "one_class"
    with pytest.raises(StatisticsError, match="2 modalities"):
        compare_arms_with_gaps(truth, cube[0])


def test_two_readers_are_these_readers_only() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0, 1], 30)
    scores = truth[:, np.newaxis] + generator.normal(size=(60, 4))
    for count, suffix in ((1, "_fixed_readers"), (2, "_fixed_readers"), (3, "")):
        result = model_versus_readers(truth, scores[:, 0], scores[:, 1 : 1 + count], "auc")
        assert result.method == "one_sample_obuchowski_rockette" + suffix


def test_fixed_readers_error_is_the_binomial_one() -> None:
    """The jackknife variance of one reader's sensitivity over diseased subjects is p (1 − p) / (n − 1)."""
    truth, calls = np.r_[np.ones(20), np.zeros(10)], np.r_[np.ones(15), np.zeros(15)]
    estimate = readers_mean(truth, calls, "sensitivity")
    assert estimate.value == 0.75
    assert estimate.se == pytest.approx(np.sqrt(0.75 * 0.25 / 19))


def test_unread_units_concern_only_their_reader() -> None:
    generator = np.random.default_rng(0)
    truth = np.repeat([0.0, 1.0], 40)
    reads = (truth[:, np.newaxis] + generator.normal(size=(80, 4)) > 0.5).astype(float)
    model = reads[:, 0].copy()
    gaps = reads[:, 1:].copy()
    gaps[:10, 0] = gaps[70:, 1] = NAN
    result = model_versus_readers(truth, model, gaps, "sensitivity")
    expected = []
    for column in gaps.T:
        read = ~np.isnan(column)
        own, theirs = (RATES["sensitivity"](confusion(truth[read], c[read]).counts()) for c in (model, column))
        expected.append(own - theirs)
    assert result.difference == pytest.approx(np.mean(expected), abs=1e-12)
    assert result.n == 80


def test_mean_and_pooled_rates_are_what_they_say() -> None:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 2, 100).astype(float)
    reads = np.where(generator.random((100, 3)) < [0.95, 0.8, 0.6], truth[:, np.newaxis], 1 - truth[:, np.newaxis])
    reads[:30, 2] = NAN
    each = [float(RATES["ppv"](confusion(truth, column).counts())) for column in reads.T]
    pooled = sum(confusion(truth, column).counts() for column in reads.T)
    options: dict[str, Any] = {"resamples": 400}
    assert readers_rate("ppv", truth, reads, **options).value == pytest.approx(np.mean(each))
    assert readers_rate("ppv", truth, reads, averaging="pooled", **options).value == pytest.approx(
        float(RATES["ppv"](pooled))  # type: ignore[arg-type]
    )
    fixed = readers_rate("ppv", truth, reads, random_readers=False, **options)
    random = readers_rate("ppv", truth, reads, random_readers=True, **options)
    assert fixed.high - fixed.low < random.high - random.low
    one = readers_rate("ppv", truth, reads[:, 0], random_readers=False, resamples=4000)
    alone = estimate_rate("ppv", truth, reads[:, 0])
    assert (one.low, one.high) == pytest.approx((alone.low, alone.high), abs=0.04)


def test_model_against_one_reader_agrees_with_the_paired_analysis() -> None:
    generator = np.random.default_rng(1)
    truth = generator.integers(0, 2, 400).astype(float)
    model, reader = (np.where(generator.random(400) < accuracy, truth, 1 - truth) for accuracy in (0.9, 0.8))
    paired = paired_predictive_values(truth, model, reader).ppv
    group = model_versus_readers_rate("ppv", truth, model, reader, random_readers=False, resamples=4000)
    assert group.difference == pytest.approx(paired.difference, abs=1e-12)
    assert (group.low, group.high) == pytest.approx((paired.low, paired.high), abs=0.01)
    assert (group.p < 0.01) == (paired.p < 0.01)


def study_of_readers(seed: int, n: int = 300) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, model, reads (units × 4) and subject. Each subject has two units."""
    generator = np.random.default_rng(seed)
    truth = np.repeat(generator.integers(0, 2, n // 2), 2).astype(float)
    right = generator.random((n, 5)) < [0.9, 0.9, 0.85, 0.8, 0.7]
    calls = np.where(right, truth[:, np.newaxis], 1 - truth[:, np.newaxis])
    return truth, calls[:, 0], calls[:, 1:], np.arange(n) // 2


@pytest.mark.parametrize("measure", ["sensitivity", "specificity"])
def test_any_rate_of_readers_in_general_is_analysed_as_the_sensitivity_is(
    measure: Literal["sensitivity", "specificity"],
) -> None:
    truth, model, reads, subject = study_of_readers(3)
    rate, mean = readers_rate(measure, truth, reads, subject), readers_mean(truth, reads, measure, subject)
    assert (rate.value, rate.method) == (pytest.approx(mean.value, abs=1e-12), mean.method)  # type: ignore[comparison-overlap]
    assert (rate.se, rate.low, rate.high) == pytest.approx((mean.se, mean.low, mean.high), rel=2e-3)
    rate = model_versus_readers_rate(measure, truth, model, reads, subject)
    group = model_versus_readers(truth, model, reads, measure, subject)
    assert (rate.difference, rate.test) == (pytest.approx(group.difference, abs=1e-12), group.test)  # type: ignore[comparison-overlap]
    assert (rate.se, rate.df2, rate.p) == pytest.approx((group.se, group.df2, group.p), rel=1e-2)


@pytest.mark.parametrize("averaging", ["mean", "pooled"])
def test_the_model_is_judged_on_the_units_that_each_reader_read(averaging: Averaging) -> None:
    truth, model, reads, subject = study_of_readers(4)
    hard = (model != truth)[:, np.newaxis] & (np.arange(4) < 2)  # Two readers did not read the model's errors.
    gaps = np.where(hard, NAN, reads)
    for random_readers in (True, False):
        options: dict[str, Any] = {"averaging": averaging, "random_readers": random_readers, "resamples": 200}
        result = model_versus_readers_rate("accuracy", truth, model, gaps, subject, **options)
        right, read = (model == truth)[:, np.newaxis], ~np.isnan(gaps)
        of_each = [right[read[:, j], 0].mean() for j in range(4)]
        expected = np.mean(of_each) if averaging == "mean" else (right & read).sum() / read.sum()
        assert result.value == pytest.approx(expected)
        assert result.value > (model == truth).mean()
        mirrored = model_versus_readers_rate("accuracy", 1 - truth, model, gaps, subject, **options)
        assert mirrored.value == pytest.approx(1 - expected)


def test_pooled_rate_of_readers_who_read_alike_varies_as_their_mean_does() -> None:
    truth, _, reads, subject = study_of_readers(5, n=2000)
    mean, pooled = (readers_rate("accuracy", truth, reads, subject, averaging=a) for a in ("mean", "pooled"))
    assert (pooled.value, pooled.se) == pytest.approx((mean.value, mean.se), rel=1e-9)  # Denominators are equal.
    mean, pooled = (readers_rate("ppv", truth, reads, subject, averaging=a) for a in ("mean", "pooled"))
    assert pooled.se == pytest.approx(mean.se, rel=0.1)


def test_above_the_limit_of_the_bootstrap_these_readers_are_linearised(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, model, reads, subject = study_of_readers(6, n=2000)
    options: dict[str, Any] = {"random_readers": False, "resamples": 4000}
    rate, difference = (
        lambda: readers_rate("ppv", truth, reads, subject, **options),
        lambda: model_versus_readers_rate("ppv", truth, model, reads, subject, **options),
    )
    resampled = rate(), difference()
    monkeypatch.setattr("diagchd_batch.statistics.resampling.BOOTSTRAP_SUBJECTS_LIMIT", 10)
    linearised = rate(), difference()
    assert [result.method for result in linearised] == ["subject_linearised"] * 2
    for one, other in zip(resampled, linearised, strict=True):
        assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=0.003)  # type: ignore[attr-defined]
    assert resampled[1].test == linearised[1].test == "subject_linearised"
    assert resampled[1].p == linearised[1].p < 0.01
