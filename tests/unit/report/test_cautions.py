"""A figure that was measured to be wrong at the cohort's size says so, and a conclusion stands on an interval."""

import numpy as np
import pytest

from diagchd_batch.config.job_file import PrimaryEndpoint
from diagchd_batch.evaluation.tables.cautions import caution, caution_for_readers
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


def test_cells_that_did_not_pass() -> None:
    few_healthy = {"endpoint": "lr_positive", "n_positive": 10, "n_negative": 20}
    assert "63.0 %" in (caution(ROW | few_healthy) or "")
    assert "90.1 %" in (caution(ROW | few_healthy | {"n_negative": 90}) or "")
    assert caution(ROW | few_healthy | {"n_negative": 150}) is None
    assert "91.2 %" in (caution(ROW | few_healthy | {"endpoint": "balanced_accuracy"}) or "")
    rare = {"endpoint": "ppv", "n_positive": 20, "n_negative": 980, "difference": 0.1}
    assert caution(ROW | rare) is None  # 5.1 % of twice 2,000 cohorts
    npv = rare | {"endpoint": "npv", "difference": None, "cluster": "subject"}
    assert "91.0 %" in (caution(ROW | npv) or "")
    assert caution(ROW | npv | {"cluster": "none"}) is None
    brier = few_healthy | {"endpoint": "brier_at_prevalence"}
    assert "87.5 %" in (caution(ROW | brier) or "") and caution(ROW | brier | {"n_positive": 50}) is None
    assert caution(ROW | npv | {"endpoint": "npv_at_prevalence"}) is None
    assert "fewer than 10" in (caution(ROW | {"endpoint": "calibration_slope_at_prevalence"}) or "")
    # The test of the AUC held its level once it had Student's t.
    assert caution(ROW | rare | {"endpoint": "roc_auc", "cluster": "subject"}) is None


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
