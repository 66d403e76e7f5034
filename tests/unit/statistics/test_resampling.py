"""Bootstrap, linearisation and sign flips agree with direct computations."""

import itertools
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from diagchd_batch.statistics import resampling
from diagchd_batch.statistics.classification import estimate_score, mcnemar_exact
from diagchd_batch.statistics.classification.clustered import clustered_proportion
from diagchd_batch.statistics.classification.confusion import RATES, confusion_cells, f1
from diagchd_batch.statistics.randomisation import exchange_test, sign_flip_test
from diagchd_batch.statistics.resampling import (
    bootstrap_totals,
    linearised_standard_error,
    subject_interval,
    totals_by_subject,
)


def test_patterns_resample_like_copied_cohorts() -> None:
    """Drawing multinomial counts of equal subjects gives the same distribution as drawing rows with replacement."""
    generator = np.random.default_rng(0)
    truth, call = generator.integers(0, 2, (2, 80)).astype(float)
    subjects = np.sort(generator.integers(0, 40, 80))
    subjects = np.unique(subjects, return_inverse=True)[1]
    totals = totals_by_subject(confusion_cells(truth, call), subjects)
    ours = bootstrap_totals(totals, f1, 4000, seed=1)
    rows = generator.integers(0, len(totals), (4000, len(totals)))
    copied = f1(totals[rows].sum(axis=1))
    assert stats.ks_2samp(ours, copied).pvalue > 0.001
    assert ours.std() == pytest.approx(copied.std(), rel=0.05)


def test_the_seed_decides_everything() -> None:
    totals = np.random.default_rng(0).integers(0, 3, (50, 4)).astype(float)
    first, again, other = (bootstrap_totals(totals, f1, 100, seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_resamples_with_one_class_are_counted_and_left_out() -> None:
    truth, score = [1, 0, 0, 0, 0, 0, 0, 0], [0.9, 0.1, 0.2, 0.95, 0.4, 0.1, 0.3, 0.2]
    estimate = estimate_score("average_precision", truth, score, resamples=2000)
    expected = (7 / 8) ** 8 + (1 / 8) ** 8  # The only positive is never drawn, or no other unit is.
    assert estimate.degenerate_resamples / 2000 == pytest.approx(expected, abs=0.04)


def test_chunks_do_not_change_the_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = np.random.default_rng(0).random((40, 4))
    whole = bootstrap_totals(totals, f1, 90, seed=3)
    monkeypatch.setattr(resampling, "_CHUNK_ELEMENTS", 40 * 7)
    assert bootstrap_totals(totals, f1, 90, seed=3) == pytest.approx(whole)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_linearised_error_of_a_mean_is_the_textbook_one(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(30, 1))
    columns = np.hstack([values, np.ones((30, 1))])
    error = linearised_standard_error(columns, lambda sums: sums[..., 0] / sums[..., 1])
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(30), rel=1e-6)


def test_bootstrap_and_linearisation_agree_in_large_cohorts(monkeypatch: pytest.MonkeyPatch) -> None:
    totals = np.random.default_rng(0).multinomial(2, [0.3, 0.1, 0.1, 0.5], size=3000).astype(float)
    for rate in RATES.values():
        by_bootstrap = subject_interval(totals, rate, n=6000, resamples=2000)
        with monkeypatch.context() as patch:
            patch.setattr(resampling, "BOOTSTRAP_SUBJECTS_LIMIT", 100)
            linearised = subject_interval(totals, rate, n=6000)
        assert by_bootstrap.method == "subject_bootstrap_bca" and linearised.method == "subject_linearised"
        assert linearised.se == pytest.approx(by_bootstrap.se, rel=0.08)
        assert linearised.low == pytest.approx(by_bootstrap.low, abs=0.35 * by_bootstrap.se)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=10))
def test_sign_flips_of_whole_numbers_equal_enumeration(differences: list[int]) -> None:
    array = np.array(differences, dtype=float)
    p = sign_flip_test(array)
    if not array.any():
        assert p is None
        return
    sums = [abs(np.dot(signs, array)) for signs in itertools.product((-1, 1), repeat=len(array))]
    assert p == pytest.approx(np.mean(np.array(sums) >= abs(array.sum()) - 1e-9), abs=1e-12)


@given(st.integers(0, 60), st.integers(0, 60))
def test_sign_flips_of_single_units_are_mcnemar(b: int, c: int) -> None:
    differences = np.array([1.0] * b + [-1.0] * c + [0.0] * 5)
    expected = pytest.approx(mcnemar_exact(b, c), abs=1e-12)
    assert sign_flip_test(differences) == (expected if b + c else None)


def test_sign_flips_of_other_numbers_are_drawn() -> None:
    differences = np.random.default_rng(0).normal(0.3, 1, 12)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=12)]
    exact = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-9)
    assert sign_flip_test(differences, resamples=20_000) == pytest.approx(exact, abs=0.01)


def test_exchanges_within_subjects_equal_enumeration() -> None:
    generator = np.random.default_rng(4)
    a, b = generator.integers(0, 3, (2, 9, 4)).astype(float)
    observed = abs(f1(a.sum(axis=0)) - f1(b.sum(axis=0)))
    extreme = []
    for swaps in itertools.product((False, True), repeat=9):
        chosen = np.array(swaps)[:, np.newaxis]
        new_a, new_b = np.where(chosen, b, a).sum(axis=0), np.where(chosen, a, b).sum(axis=0)
        extreme.append(abs(f1(new_a) - f1(new_b)) >= observed - 1e-12)
    assert exchange_test(a, b, f1, resamples=20_000) == pytest.approx(np.mean(extreme), abs=0.015)
    assert exchange_test(a, a, f1) is None


def test_effective_number_of_units() -> None:
    """Perfectly correlated units count as one per subject. Independent units count almost fully."""
    alone = clustered_proportion(np.r_[np.zeros(10), np.ones(30)], np.ones(40))
    copies = clustered_proportion(3 * np.r_[np.zeros(10), np.ones(30)], np.full(40, 3.0))
    assert (copies.low, copies.high) == pytest.approx((alone.low, alone.high), abs=0.01)
    successes = np.random.default_rng(0).binomial(3, 0.75, 400)
    independent = clustered_proportion(successes, np.full(400, 3.0))
    plain = clustered_proportion(np.r_[np.zeros(300), np.ones(900)], np.ones(1200))
    assert independent.high - independent.low == pytest.approx(plain.high - plain.low, rel=0.15)


def test_twenty_thousand_subjects_take_seconds() -> None:
    generator = np.random.default_rng(0)
    n = 20_000
    truth = (generator.random(n) < 0.1).astype(float)
    call = np.where(generator.random(n) < 0.9, truth, 1 - truth)
    totals = totals_by_subject(confusion_cells(truth, call), np.arange(n))
    start = time.process_time()
    bootstrap_totals(totals, f1, 10_000, seed=0)
    counts_s = time.process_time() - start
    start = time.process_time()
    bootstrap_totals(totals + generator.random((n, 1)), f1, 20, seed=0)  # no two subjects alike
    distinct_s = (time.process_time() - start) * 10_000 / 20
    assert counts_s < distinct_s / 100, "equal subjects must be drawn together"


def test_bca_interval_equals_scipy() -> None:
    """The values are skewed, so that BCa and percentile limits differ. Many subjects make the expansion accurate."""
    values = np.random.default_rng(0).lognormal(0, 1.5, 400)
    totals = np.stack([values, np.ones(400)], axis=1)
    ours = subject_interval(totals, lambda sums: sums[..., 0] / sums[..., 1], n=400, resamples=20_000)
    sample = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1))
    plain = stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1))
    theirs, percentile = sample.confidence_interval, plain.confidence_interval
    assert ours.method == "subject_bootstrap_bca"
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.08)
    assert theirs.high - percentile.high > 0.15  # The limits differ enough for this test.
