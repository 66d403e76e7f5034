"""Linearised intervals stay in the possible range, and have no width only where they say `zero_variance`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.statistics.classification import compare_rates
from diagchd_batch.statistics.classification.confusion import FN, RATES, TN, TP, difference_bounds, rate_bounds
from diagchd_batch.statistics.classification.rates import estimate_rate, rate_of_cells
from diagchd_batch.statistics.classification.scores import estimate_score
from diagchd_batch.statistics.estimate import NullReason
from diagchd_batch.statistics.resampling import BOOTSTRAP_SUBJECTS_LIMIT, linearised_estimate

N = BOOTSTRAP_SUBJECTS_LIMIT + 1


def test_two_tests_that_are_never_wrong_have_no_interval_of_their_difference() -> None:
    """Each positive call is right, so the difference of the predictive values has no variance to first order."""
    truth = [1] * 20 + [0] * 30
    compared = compare_rates("ppv", truth, [1] * 15 + [0] * 35, [1] * 12 + [0] * 38)
    assert (compared.value, compared.comparator_value, compared.difference) == (1.0, 1.0, 0.0)
    assert (compared.low, compared.high, compared.se) == (None, None, None)
    assert compared.null_reason == NullReason.ZERO_VARIANCE


@pytest.mark.parametrize("n_wrong", [0, 1, 3])
def test_a_rate_of_a_large_cohort_that_is_nearly_always_right(n_wrong: int) -> None:
    cells = np.zeros((N, 4))
    cells[: N // 3, TP] = 1
    cells[N // 3 :, TN] = 1
    cells[:n_wrong] = np.eye(4)[FN]
    for name in ("f1", "mcc", "balanced_accuracy"):
        estimate = rate_of_cells(name, cells)
        if n_wrong == 0 and name != "balanced_accuracy":  # limits combined from Wilson's keep a width
            assert (estimate.value, estimate.low) == (1.0, None), name
            assert estimate.null_reason == NullReason.ZERO_VARIANCE, name
        else:
            assert estimate.low is not None and estimate.high is not None, name
            assert estimate.low < estimate.value <= estimate.high <= 1, name


counts = st.one_of(st.just(0), st.integers(1, 3), st.integers(4, 10_000))


@settings(max_examples=60, deadline=None)
@given(st.tuples(counts, counts, counts, counts), st.sampled_from(sorted(RATES)), st.booleans())
def test_limits_of_large_cohorts_are_possible(table: tuple[int, int, int, int], name: str, in_pairs: bool) -> None:
    """All subjects have one unit, or all have two of one cell."""
    cells = np.repeat(np.eye(4), [*table[:3], max(table[3], N - sum(table[:3]))], axis=0)
    estimate = rate_of_cells(name, cells * (1 + in_pairs))
    low, high = rate_bounds(name)
    if estimate.low is None or estimate.high is None:
        assert estimate.null_reason is not None
    else:
        assert estimate.value is not None
        assert low <= estimate.low <= estimate.value <= estimate.high <= high
        assert estimate.low < estimate.high


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(range(8)), min_size=2, max_size=40), st.sampled_from(sorted(RATES)), st.booleans())
def test_a_difference_is_possible_and_has_a_width_or_a_reason(kinds: list[int], name: str, in_pairs: bool) -> None:
    truth, a, b = (np.array([kind >> bit & 1 for kind in kinds]) for bit in range(3))
    subjects = np.arange(len(kinds)) // 2 if in_pairs else None
    compared = compare_rates(name, truth, a, b, subjects, resamples=50)
    low, high = difference_bounds(name)
    if compared.low is None or compared.high is None:
        assert compared.null_reason is not None
    else:
        assert compared.difference is not None
        assert low <= compared.low <= compared.difference <= compared.high <= high
        assert compared.high - compared.low > 1e-9


def test_a_small_brier_score_has_no_negative_limit() -> None:
    truth = np.zeros(N)
    probability = np.full(N, 1e-4)
    probability[0] = 0.9
    estimate = estimate_score("brier", truth, probability)
    assert estimate.method == "subject_linearised"
    assert estimate.value is not None and estimate.low is not None and estimate.high is not None
    assert 0 <= estimate.low <= estimate.value < estimate.high


@given(st.integers(2, 200), st.floats(0.01, 1e6))
def test_a_ratio_that_is_the_same_for_every_subject_has_no_variance(n_subjects: int, ratio: float) -> None:
    units = np.random.default_rng(n_subjects).integers(1, 50, n_subjects).astype(np.float64)
    totals = np.stack([ratio * units, units], axis=1)
    estimate = linearised_estimate(totals, lambda sums: sums[..., 0] / sums[..., 1], n=n_subjects)
    assert estimate.null_reason == NullReason.ZERO_VARIANCE


def test_one_false_positive_among_many_keeps_its_interval() -> None:
    """The smallest standard errors that a cohort can have are far above what rounding makes."""
    truth, call = np.zeros(500_000), np.zeros(500_000)
    truth[:2], call[:3] = 1, 1
    estimate = estimate_rate("balanced_accuracy", truth, call)
    assert estimate.low is not None and estimate.high is not None and estimate.low < estimate.high
