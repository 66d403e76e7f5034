"""Published figures, reproduced by the tables that `evaluate` writes for made-up runs."""

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from tests.support.evaluated_runs import MODEL, RUN_ID, MadeOutput, MadeStudy

DATA = Path(__file__).parents[1] / "statistics" / "against_others" / "data"

# Data set Paired1 of R's DTComPair: its test 1 is the model, its test 2 a reader.
DISEASED = {(1, 1): 319, (0, 1): 22, (1, 0): 78, (0, 0): 32}  # (model, reader): patients
HEALTHY = {(1, 1): 31, (0, 1): 22, (1, 0): 53, (0, 0): 155}


def one(rows: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


@pytest.fixture(scope="module")
def paired(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("paired"))
    studies, reads = [], []
    for label, table in ((1, DISEASED), (0, HEALTHY)):
        for (model, reader), count in table.items():
            for number in range(count):
                name = f"{label}{model}{reader}-{number}"
                studies.append(MadeStudy(name, [[0.9 if model else 0.1]], label))
                reads.append({"study_id": name, "reader": "second test", "status": "read", "call": reader})
    made.write_run(studies)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(readers=made.table("readers", reads)), made.tokens)
    return made


MAIN = {"unit": "study", "analysis_set": "determinate", "subject_kind": "model", "covariate": None}


def test_rates_and_wilson_intervals(paired: MadeOutput) -> None:
    estimates = paired.metrics("estimates")
    for endpoint, value in {
        "sensitivity": 0.8802661,
        "specificity": 0.6781609,
        "ppv": 0.8253638,
        "npv": 0.7662338,
    }.items():
        row = one(estimates, endpoint=endpoint, **MAIN)
        assert row["value"] == pytest.approx(value, abs=5e-8)
        assert (row["ci_method"], row["n_units"], row["n_excluded"]) == ("wilson", 712, 0)
    sensitivity = one(estimates, endpoint="sensitivity", **MAIN)
    assert (round(sensitivity["ci_low"], 4), round(sensitivity["ci_high"], 4)) == (0.8470, 0.9071)
    ppv = one(estimates, endpoint="ppv", **MAIN)
    assert (round(ppv["ci_low"], 4), round(ppv["ci_high"], 4)) == (0.7889, 0.8567)


def test_clopper_pearson_on_request(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)  # R binom: 18 of 20
    made.write_run([MadeStudy(f"{number}", [[0.9 if number < 18 else 0.1]], 1) for number in range(20)])
    config = EvaluationConfig(proportion_interval="exact")
    evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    row = one(made.metrics("estimates"), endpoint="sensitivity", **MAIN)
    assert row["ci_method"] == "clopper_pearson"
    assert (row["ci_low"], row["ci_high"]) == pytest.approx((0.683017, 0.987651), abs=5e-7)


def test_weighted_generalised_score_of_predictive_values(paired: MadeOutput) -> None:
    comparisons = paired.metrics("comparisons")
    ppv = one(comparisons, endpoint="ppv", comparator_kind="reader", **MAIN)
    assert ppv["difference"] == pytest.approx(-0.04011841, abs=5e-9)  # model − reader
    assert ppv["statistic"] == pytest.approx(5.46588745, abs=5e-9)
    assert ppv["p"] == pytest.approx(0.01939120, abs=5e-9)
    npv = one(comparisons, endpoint="npv", comparator_kind="reader", **MAIN)
    assert npv["difference"] == pytest.approx(0.1121457, abs=5e-8)
    assert npv["statistic"] == pytest.approx(16.53540, abs=5e-6)
    assert npv["p"] == pytest.approx(4.775012e-05, rel=1e-6)


def test_mcnemar_is_made_on_the_diseased_alone(paired: MadeOutput) -> None:
    from scipy.stats import binomtest

    row = one(paired.metrics("comparisons"), endpoint="sensitivity", comparator_kind="reader", **MAIN)
    assert row["test"] == "mcnemar_exact"
    assert row["p"] == pytest.approx(binomtest(22, 100, 0.5).pvalue, rel=1e-12)


@pytest.fixture(scope="module")
def van_dyke(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    """Evaluate 114 cases with five readers and two modalities as arms. The model is reader 1 in modality 2."""
    made = MadeOutput(tmp_path_factory.mktemp("vandyke"))
    truth, model, reads = {}, {}, []
    with (DATA / "van_dyke_mrmc.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            truth[row["case"]] = int(row["truth"])
            rating = float(row["rating"])
            if (row["treatment"], row["reader"]) == ("2", "1"):
                model[row["case"]] = rating
            reads.append(
                {
                    "study_id": row["case"],
                    "reader": f"reader {row['reader']}",
                    "session": row["treatment"],
                    "arm": {"1": "unaided", "2": "aided"}[row["treatment"]],
                    "status": "read",
                    "call": int(rating > 2),
                    "score": rating,
                }
            )
    made.write_run([MadeStudy(case, [[model[case] / 8]], label) for case, label in truth.items()])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(readers=made.table("readers", reads)), made.tokens)
    return made


def test_two_arms_by_obuchowski_and_rockette(van_dyke: MadeOutput) -> None:
    row = one(van_dyke.metrics("comparisons"), covariate="arm", endpoint="roc_auc")
    assert (row["subject"], row["comparator"]) == ("aided", "unaided")
    assert row["difference"] == pytest.approx(0.043800322, abs=5e-10)  # aided − unaided
    assert row["statistic"] == pytest.approx(4.4563187, abs=5e-8)
    assert row["df2"] == pytest.approx(15.259675, abs=5e-7)
    assert row["p"] == pytest.approx(0.051665686, abs=5e-10)
    assert row["se"] == pytest.approx(0.020748618, abs=5e-10)
    assert row["ci_low"] == pytest.approx(-0.00035885444, abs=5e-10)
    assert row["ci_high"] == pytest.approx(0.087959499, abs=5e-10)


def test_model_against_the_mean_of_the_readers(van_dyke: MadeOutput) -> None:
    row = one(van_dyke.metrics("comparisons"), endpoint="roc_auc", comparator_kind="readers_mean", subject=MODEL)
    assert row["difference"] == pytest.approx(0.0507890, abs=5e-8)
    assert row["se"] == pytest.approx(0.0325810, abs=5e-8)
    assert row["df2"] == pytest.approx(11.858, abs=5e-4)
    assert row["p"] == pytest.approx(0.145307, abs=5e-7)
    assert row["generalises_to"] == "readers_in_general"


def test_readers_areas_under_the_curve(van_dyke: MadeOutput) -> None:
    rows = van_dyke.metrics("estimates")
    unaided = [0.91964573, 0.85877617, 0.90386473, 0.97310789, 0.82979066]
    found = [
        row["value"]
        for row in rows
        if row["endpoint"] == "roc_auc" and row["subject_kind"] == "reader" and row["covariate"] is None
    ]
    assert sorted(found) == pytest.approx(sorted(unaided), abs=5e-9)
