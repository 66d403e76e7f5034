"""A figure that was measured to be wrong at the cohort's size says so, and a conclusion stands on an interval."""

from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import PrimaryEndpoint
from diagchd_batch.evaluation.tables.cautions import FailedCell, caution, caution_for_readers
from diagchd_batch.evaluation.tables.multiplicity import mark_primary
from diagchd_batch.report.measure_tables import caution_sentences
from diagchd_batch.report.sections.headline import _primary
from diagchd_batch.statistics.classification import compare_rates

ROW = {"endpoint": "sensitivity", "ci_low": 0.1, "p": None, "n_positive": 9, "n_negative": 900, "difference": None}


def test_fewer_diseased_than_were_measured() -> None:
    assert "fewer than 10 diseased" in (caution(ROW) or "")
    assert caution(ROW | {"n_positive": 10}) is None
    assert caution(ROW | {"endpoint": "specificity"}) is None
    assert caution(ROW | {"ci_low": None}) is None


def failed(figure: str, methods: str = "wilson", repeats: bool = False, **fields: Any) -> FailedCell:
    """Return a cell of 20 diseased at a prevalence of 2 %, with other values of some fields."""
    return FailedCell(figure, methods, repeats, 20, 980, "sensitivity 0.99", 0.91, 2000)._replace(**fields)


def test_the_nearest_cell_decides() -> None:
    rare = ROW | {"endpoint": "npv", "n_positive": 25, "n_negative": 1100, "ci_method": "wilson"}
    known = [failed("npv")]
    assert caution(rare, known) == (
        "the interval held the true value in 91.0 % of 2,000 simulated cohorts with 20 diseased and 980 healthy, where "
        "the sensitivity was 0.99 (npv)"
    )
    for other in ({"n_positive": 40}, {"n_negative": 300}, {"cluster": "subject"}, {"endpoint": "ppv"}):
        assert caution(rare | other, known) != caution(rare, known)
    assert caution(rare | {"ci_method": "clopper_pearson"}, known) is None
    assert "repeat scans" in (caution(rare | {"cluster": "subject"}, [failed("npv", repeats=True)]) or "")
    worse = failed("npv", share=0.9)
    assert "90.0 %" in (caution(rare, [*known, worse]) or "")
    assert caution(rare | {"n_positive": 0}, known) is None and caution(rare | {"n_negative": 0}, known) is None


@pytest.mark.parametrize(
    ("columns", "figure"),
    [
        ({"endpoint": "roc_auc"}, "auc"),
        ({"endpoint": "roc_auc"}, "auc, unequal spread"),
        ({"endpoint": "brier_at_prevalence", "level": "0.01"}, "brier at a prevalence of 0.01"),
        ({"endpoint": "ppv_at_prevalence", "level": "0.04"}, "PPV at a prevalence of 0.05"),
        ({"endpoint": "specificity_corrected"}, "corrected specificity"),
        ({"endpoint": "roc_auc", "difference": 0.1}, "difference of auc"),
        ({"endpoint": "ppv", "difference": 0.1, "p": 0.02, "ci_low": None}, "test of ppv"),
        ({"endpoint": "sensitivity", "difference": 0.1, "covariate": "site", "p": 0.2}, "level − others, sensitivity"),
    ],
)
def test_rows_have_the_names_of_the_study(columns: dict[str, object], figure: str) -> None:
    row = ROW | {"n_positive": 20, "n_negative": 980} | columns
    assert caution(row, [failed(figure)]) != caution(row, [failed("something else")])
    assert caution(row | {"endpoint": "accuracy"}, [failed(figure)]) is None
    assert ("test rejected a true" in (caution(row, [failed(figure)]) or "")) == figure.startswith("test")


def test_what_the_package_warns_of() -> None:
    few_healthy = {"endpoint": "lr_positive", "n_positive": 10, "n_negative": 20, "ci_method": "combined_wilson"}
    assert "63.8 %" in (caution(ROW | few_healthy) or "") and caution(ROW | few_healthy | {"n_negative": 900}) is None
    assert "fewer than 10" in (caution(ROW | {"endpoint": "calibration_slope_at_prevalence"}) or "")
    brier = few_healthy | {"endpoint": "brier_at_prevalence", "ci_method": "stratified_linearised_logit"}
    assert "87.5 %" in (caution(ROW | brier) or "") and caution(ROW | brier | {"n_positive": 50}) is None
    npv = {"endpoint": "npv", "n_positive": 20, "n_negative": 980, "cluster": "subject"}
    assert "91.0 %" in (caution(ROW | npv) or "") and caution(ROW | npv | {"cluster": "none"}) is None
    assert caution(ROW | npv | {"endpoint": "npv_at_prevalence"}) is None


def test_readers_in_general_need_five_readers() -> None:
    assert caution_for_readers(5) is None
    assert all("at least 5 readers" in (caution_for_readers(n) or "") for n in (3, 4))
    assert "11.4 %" in (caution_for_readers(3) or "") and "7.6 %" in (caution_for_readers(4) or "")


def comparison(low: float | None, difference: float = 0.0) -> dict[str, object]:
    return {
        **{"headline": True, "endpoint": "sensitivity", "subject": "model", "comparator": "readers_mean"},
        **{"difference": difference, "ci_low": low, "ci_high": 0.2, "df2": None, "p": 0.4},
    }


@pytest.mark.parametrize(
    ("low", "conclusion"),
    [
        (0.01, "superior"),
        (-0.05, "non-inferior"),
        (-0.0999, "non-inferior"),
        (-0.1001, "not shown"),
        (None, "no interval"),
    ],
)
def test_the_one_sided_p_agrees_with_the_conclusion(low: float | None, conclusion: str) -> None:
    difference = 0.1 if low and low > 0 else 0.0
    endpoint = PrimaryEndpoint(endpoint="sensitivity", comparator="readers_mean", margin=0.1)
    (row,), found = mark_primary([comparison(low, difference)], endpoint, "readers_mean")
    assert found and row["conclusion"] == conclusion
    if low is None:
        assert row["p_margin"] is None
    else:
        assert (row["p_margin"] < 0.025) == (low > -0.1)
    assert "interval" in _primary(row)


def test_two_tests_that_are_never_wrong_are_not_called_non_inferior() -> None:
    truth, first, second = [1] * 20 + [0] * 30, [1] * 15 + [0] * 35, [1] * 12 + [0] * 38
    compared = compare_rates("ppv", truth, first, second)
    endpoint = PrimaryEndpoint(endpoint="ppv", comparator="readers_mean", margin=0.1)
    row = comparison(compared.low, compared.difference or 0.0) | {"endpoint": "ppv"}
    (marked,), _ = mark_primary([row], endpoint, "readers_mean")
    assert (marked["conclusion"], marked["p_margin"]) == ("no interval", None)


def test_a_normal_interval_gives_the_usual_p() -> None:
    endpoint = PrimaryEndpoint(endpoint="sensitivity", comparator="readers_mean", margin=0.1)
    (row,), _ = mark_primary([comparison(-1.959964 * 0.04)], endpoint, "readers_mean")
    assert np.isclose(row["p_margin"], 0.006209665, atol=1e-6)  # R: pnorm(0.1 / 0.04, lower.tail = FALSE)


def test_a_caution_of_several_measures_is_printed_once() -> None:
    rows = [
        {"endpoint": "auc", "caution": "few readers"},
        {"endpoint": "sensitivity", "caution": "few readers"},
        {"endpoint": "auc", "caution": "few readers"},
        {"endpoint": "lr_positive", "caution": "few healthy studies"},
        {"endpoint": "specificity", "caution": None},
    ]
    assert caution_sentences(rows, {"auc": "AUC", "lr_positive": "LR+"}) == [
        "Caution, AUC, sensitivity: few readers.",
        "Caution, LR+: few healthy studies.",
    ]
