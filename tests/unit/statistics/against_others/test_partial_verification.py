"""Figures corrected for missing reference labels, as R prints them.

The calls ran in R 4.2.2 with the functions of PVBcorrect (commit e2a7079) on its own data sets:
`acc_bg(cad_pvb, "T", "D", ci = TRUE)`, `acc_bg(hepatic_pvb, "test", "disease", ci = TRUE)` (the example of Begg &
Greenes 1983), and `acc_bg(diapha_pvb, "test", "disease", ci = TRUE)`. The counts are those of
`table(test, disease, useNA = "always")`.
"""

import numpy as np
import pytest

from diagchd_batch.statistics.classification import estimate_rate
from diagchd_batch.statistics.classification.partial_verification import begg_greenes

NAN = float("nan")
CALLED = {  # called positive: diseased, healthy, without a label; called negative: the same
    "coronary disease": (195, 232, 996, 5, 39, 1221),
    "hepatic scintigraphy": (231, 32, 166, 27, 54, 140),
    "diaphanography": (26, 11, 30, 7, 44, 782),
}


def units(counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return the truth and the calls."""
    return np.repeat([1, 0, NAN, 1, 0, NAN], counts), np.repeat([1, 1, 1, 0, 0, 0], counts)


@pytest.mark.parametrize(
    ("name", "sensitivity", "se_of_sensitivity", "specificity", "se_of_specificity"),
    [
        ("coronary disease", 0.8188628994, 0.06320034428, 0.5918753606, 0.01928758624),
        ("hepatic scintigraphy", 0.8364667154, 0.02449803126, 0.7383980182, 0.03886267992),
        ("diaphanography", 0.2916782944, 0.080232301255, 0.9730309942, 0.007565951796),
    ],
)
def test_corrected_figures_are_those_of_r(
    name: str, sensitivity: float, se_of_sensitivity: float, specificity: float, se_of_specificity: float
) -> None:
    first, second = begg_greenes(*units(CALLED[name]))
    assert (first.value, first.se) == pytest.approx((sensitivity, se_of_sensitivity), abs=5e-11)
    assert (second.value, second.se) == pytest.approx((specificity, se_of_specificity), abs=5e-11)
    for estimate in (first, second):
        assert estimate.low < estimate.value < estimate.high
        assert 3.4 < (estimate.high - estimate.low) / estimate.se < 4.4


@pytest.mark.parametrize("name", ["ppv", "npv"])
@pytest.mark.parametrize(
    ("cohort", "expected"),
    [
        ("coronary disease", {"ppv": 0.4566744731, "npv": 0.8863636364}),
        ("hepatic scintigraphy", {"ppv": 0.8783269962, "npv": 0.6666666667}),
        ("diaphanography", {"ppv": 0.7027027027, "npv": 0.8627450980}),
    ],
)
def test_predictive_values_need_no_correction(cohort: str, expected: dict[str, float], name: str) -> None:
    assert estimate_rate(name, *units(CALLED[cohort])).value == pytest.approx(expected[name], abs=5e-11)


def test_complete_labels_leave_the_figure_as_it_is() -> None:
    truth, call = units((30, 8, 0, 6, 50, 0))
    for name, corrected in zip(("sensitivity", "specificity"), begg_greenes(truth, call), strict=True):
        assert corrected.value == pytest.approx(estimate_rate(name, truth, call).value)


def test_no_missed_diseased_leaves_a_lower_limit() -> None:
    sensitivity, _ = begg_greenes(*units((10, 2, 3, 0, 30, 20)))
    assert sensitivity.value == sensitivity.high == 1 and 0.5 < sensitivity.low < 0.8


def test_exchanging_the_classes_and_the_calls_exchanges_the_figures() -> None:
    truth, call = units(CALLED["hepatic scintigraphy"])
    (a, b), (c, d) = begg_greenes(truth, call), begg_greenes(1 - truth, 1 - call)
    assert [x for e in (a, b) for x in (e.value, e.low, e.high)] == pytest.approx(
        [x for e in (d, c) for x in (e.value, e.low, e.high)]
    )
