"""Abstention curves and their area, against definitions that are worked out one unit at a time."""

import numpy as np
import pytest

from diagchd_batch.statistics.classification.cross_validated import cross_validated_abstention_area
from diagchd_batch.statistics.classification.risk_coverage import AreaUnderWeights, abstention_area, abstention_curve

GENERATOR = np.random.default_rng(3)
TRUTH = (GENERATOR.random(40) < 0.4).astype(float)
CALL = np.where(GENERATOR.random(40) < 0.2, 1 - TRUTH, TRUTH)
UNCERTAINTY = GENERATOR.integers(0, 6, 40) / 5
"""With many ties."""


def _by_hand(truth: np.ndarray, call: np.ndarray, uncertainty: np.ndarray, draws: int = 4000) -> np.ndarray:
    """Return the mean error of the first k units over random orders of tied ones."""
    generator, n = np.random.default_rng(0), len(truth)
    wrong = np.zeros(n)
    for _ in range(draws):
        order = np.lexsort([generator.random(n), uncertainty])
        wrong += np.cumsum((truth != call)[order])
    return wrong / draws / np.arange(1, n + 1)


def test_the_curve_is_the_expected_error_of_the_most_certain_units_and_the_area_is_its_mean() -> None:
    expected = _by_hand(TRUTH, CALL, UNCERTAINTY)
    curve = abstention_curve(TRUTH, CALL, UNCERTAINTY, np.arange(1, 41))
    assert curve.error == pytest.approx(expected, abs=0.03)
    assert curve.error[-1] == pytest.approx(np.mean(TRUTH != CALL))
    assert curve.sensitivity[-1] == pytest.approx(np.mean(CALL[TRUTH == 1]))
    assert curve.specificity[-1] == pytest.approx(np.mean(1 - CALL[TRUTH == 0]))
    area = abstention_area(TRUTH, CALL, UNCERTAINTY, resamples=200)
    assert area.value == pytest.approx(curve.error.mean())
    assert area.low is not None and area.high is not None and area.low < area.value < area.high


def test_sensitivity_and_specificity_are_of_the_kept_units_alone() -> None:
    truth, call = np.array([1, 1, 0, 0, 1.0]), np.array([1, 0, 0, 1, 0.0])
    curve = abstention_curve(truth, call, np.arange(5.0), [1, 2, 3, 4, 5])
    assert curve.sensitivity == pytest.approx([1, 0.5, 0.5, 0.5, 1 / 3])
    assert curve.specificity[2:] == pytest.approx([1, 0.5, 0.5])
    assert np.isnan(curve.specificity[:2]).all()
    assert curve.error == pytest.approx([0, 1 / 2, 1 / 3, 2 / 4, 3 / 5])


def test_at_random_the_area_is_the_error_and_no_order_beats_the_oracle() -> None:
    wrong = (TRUTH != CALL).astype(float)
    areas = [abstention_area(TRUTH, CALL, by, resamples=50).value for by in (np.zeros(40), wrong, UNCERTAINTY)]
    assert areas[0] == pytest.approx(wrong.mean())
    assert areas[1] is not None and areas[2] is not None and areas[1] <= areas[2]


def test_a_subject_that_is_drawn_twice_counts_as_if_its_units_were_there_twice() -> None:
    subjects = np.arange(40) // 2
    drawn = np.repeat(np.arange(40), np.where(subjects < 5, 2, 1))
    twice = abstention_area(TRUTH[drawn], CALL[drawn], UNCERTAINTY[drawn], resamples=50)
    statistic = AreaUnderWeights(TRUTH != CALL, UNCERTAINTY, subjects)
    weights = np.where(np.arange(20) < 5, 2.0, 1.0)
    assert statistic(weights[None])[0] == pytest.approx(twice.value)


def test_units_without_a_label_a_call_or_an_uncertainty_do_not_count() -> None:
    nothing = np.full(3, np.nan)
    whole = abstention_area(TRUTH, CALL, UNCERTAINTY, resamples=50)
    more = abstention_area(np.r_[TRUTH, nothing], np.r_[CALL, 1, 1, 1], np.r_[UNCERTAINTY, 0, 0, 0], resamples=50)
    assert (more.value, more.low, more.high, more.n) == (whole.value, whole.low, whole.high, 40)
    assert abstention_area(nothing, nothing, nothing).null_reason == "no_units"


def test_uncertainties_of_different_folds_are_never_compared() -> None:
    folds = np.arange(40) % 4 // 2  # 20 and 20 units
    shifted = UNCERTAINTY + 100 * folds
    parts = [
        abstention_curve(TRUTH[folds == k], CALL[folds == k], UNCERTAINTY[folds == k], [5, 10, 20]) for k in (0, 1)
    ]
    for uncertainty in (UNCERTAINTY, shifted):
        curve = abstention_curve(TRUTH, CALL, uncertainty, [10, 20, 40], folds)
        assert curve.error == pytest.approx((parts[0].error + parts[1].error) / 2)
    areas = [abstention_area(TRUTH[folds == k], CALL[folds == k], UNCERTAINTY[folds == k]).value for k in (0, 1)]
    found = cross_validated_abstention_area(TRUTH, CALL, UNCERTAINTY, folds, resamples=200)
    assert found.value == pytest.approx(np.mean(np.array(areas, float)))
    assert found.low is not None and found.high is not None and found.low < found.value < found.high
    assert cross_validated_abstention_area(TRUTH, CALL, shifted, folds, resamples=200) == found
    assert abstention_area(TRUTH, CALL, shifted, resamples=1).value != pytest.approx(found.value)


def test_folds_of_different_sizes_weigh_by_their_units_and_no_interval_is_asked_for() -> None:
    folds = (np.arange(40) < 10).astype(int)
    areas = [abstention_area(TRUTH[folds == k], CALL[folds == k], UNCERTAINTY[folds == k]).value for k in (0, 1)]
    found = cross_validated_abstention_area(TRUTH, CALL, UNCERTAINTY, folds, resamples=0)
    assert found.value == pytest.approx(np.average(np.array(areas, float), weights=[30, 10]))
    assert (found.low, found.null_reason) == (None, "no_valid_interval")
    missing = np.r_[TRUTH, np.nan], np.r_[CALL, 1], np.r_[UNCERTAINTY, 0], np.r_[folds, 0]
    assert cross_validated_abstention_area(*missing, resamples=0).value == found.value
    assert cross_validated_abstention_area([], [], [], []).null_reason == "no_units"
