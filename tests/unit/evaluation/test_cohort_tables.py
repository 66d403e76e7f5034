"""A cohort small enough to count by hand: flow, exclusions, indeterminate results, majority and headline."""

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary
from diagchd_batch.evaluation.tables.headline import HEADLINE_SQL
from diagchd_batch.results.columns import with_run
from diagchd_batch.results.columns.evaluation_tables import TABLES
from tests.support.evaluated_runs import FAILED, MODEL, RUN_ID, MadeOutput, MadeStudy

READERS = ("anna", "berta", "carla")

# Study: label, frames of its images, calls of the three readers (None is indeterminate, "" is not read).
COHORT: dict[str, Any] = {
    "d1": (1, [[0.9, 0.7]], (1, 1, 1)),
    "d2": (1, [[0.2], [0.9]], (1, 0, 1)),  # mean 0.55
    "d3": (1, [[0.3]], (0, 0, 1)),
    "d4": (1, [[FAILED]], (1, 1, 0)),
    "h1": (0, [[0.1]], (0, 0, 0)),
    "h2": (0, [[0.6]], (0, 1, None)),  # no majority: two valid reads are a tie
    "h3": (0, [[0.4], [FAILED]], (1, 0, "")),  # a failed frame is left out of the study's mean
    "h4": (0, [[0.05]], ("", "", None)),  # no valid read
    "u1": (None, [[0.8]], (1, 1, 1)),
}


class SmallCohort(MadeOutput):
    """An output with the summary of its evaluation."""

    summary: EvaluationSummary


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallCohort:
    from diagchd_batch.config.job_file import EvaluationConfig
    from diagchd_batch.evaluation.cohort.evaluate import evaluate_run

    made = SmallCohort(tmp_path_factory.mktemp("small"))
    studies = [MadeStudy(name, images, label) for name, (label, images, _) in COHORT.items()]
    studies.append(MadeStudy("x1", [], 0, exclude_reason="wrong view"))
    made.write_run(studies)
    reads = [
        {
            "study_id": study,
            "reader": reader,
            "status": {None: "indeterminate", "": "not_read"}.get(call, "read"),
            "call": call if call in (0, 1) else "",
        }
        for study, (_, _, calls) in COHORT.items()
        for reader, call in zip(READERS, calls, strict=True)
    ]
    reads.append({"study_id": "nobody", "reader": "anna", "status": "read", "call": 1})
    config = EvaluationConfig(readers=made.table("readers", reads), resamples=200)
    made.summary = evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    return made


def pick(rows: Iterable[dict[str, Any]], **wanted: Any) -> dict[str, Any]:
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


MODEL_MAIN = {"unit": "study", "subject_kind": "model", "analysis_set": "determinate", "covariate": None}


def test_flow(small: SmallCohort) -> None:
    flow = {
        (row["name"], row["reason"]): row["n_studies"] for row in small.metrics("flow") if row["subject_kind"] is None
    }
    assert flow["planned", None] == 10
    assert flow["excluded", None] == flow["excluded", "wrong view"] == 1
    assert flow["failed", None] == flow["failed", FAILED] == 1
    assert flow["without_reference", None] == 1
    assert flow["analysed", None] == 7
    assert flow["unmatched", "reads"] == 1


def test_counts_of_the_model(small: SmallCohort) -> None:
    rows = small.metrics("estimates")
    counts = {cell: pick(rows, endpoint=cell, **MODEL_MAIN)["value"] for cell in ("tp", "fp", "fn", "tn")}
    assert counts == {"tp": 2, "fp": 1, "fn": 1, "tn": 3}
    row = pick(rows, endpoint="sensitivity", **MODEL_MAIN)
    assert (row["numerator"], row["denominator"], row["n_units"], row["n_excluded"]) == (2, 3, 7, 3)
    assert row["excluded_reasons"] == "excluded=1; failed=1; without_reference=1"


def test_failed_is_counted_once_as_wrong_and_once_as_right(small: SmallCohort) -> None:
    rows = small.metrics("estimates")
    of_model = {**MODEL_MAIN, "endpoint": "sensitivity"}
    wrong = pick(rows, **{**of_model, "analysis_set": "indeterminate_wrong"})
    right = pick(rows, **{**of_model, "analysis_set": "indeterminate_right"})
    assert (wrong["numerator"], wrong["denominator"]) == (2, 4)
    assert (right["numerator"], right["denominator"]) == (3, 4)
    assert pick(rows, endpoint="indeterminate", **MODEL_MAIN)["value"] == 1


def test_majority_is_undecided_at_a_tie_and_without_enough_reads(small: SmallCohort) -> None:
    rows = small.metrics("estimates")
    of_majority = {"subject_kind": "majority", "comparator_kind": None, "analysis_set": "determinate"}
    counts = {cell: pick(rows, endpoint=cell, **of_majority)["value"] for cell in ("tp", "fp", "fn", "tn")}
    # The majority is positive for d1, d2 and d4, and negative for d3 and h1. It is undecided for h2 and h3 (ties), and
    # for h4, which has no valid read.
    assert counts == {"tp": 3, "fp": 0, "fn": 1, "tn": 1}
    row = pick(rows, endpoint="accuracy", **of_majority)
    assert "undecided=3" in row["excluded_reasons"]
    wrong = pick(rows, endpoint="accuracy", **{**of_majority, "analysis_set": "indeterminate_wrong"})
    assert (wrong["numerator"], wrong["denominator"]) == (4, 8)


def test_mean_of_the_readers_is_the_mean_of_their_own_values(small: SmallCohort) -> None:
    rows = small.metrics("estimates")
    own = [
        row["value"]
        for row in rows
        if row["subject_kind"] == "reader"
        and row["endpoint"] == "specificity"
        and row["analysis_set"] == "determinate"
        and row["covariate"] is None
    ]
    assert sorted(own) == pytest.approx([2 / 3, 2 / 3, 1.0])  # anna 2 of 3, berta 2 of 3, carla 1 of 1
    mean = pick(rows, endpoint="specificity", subject_kind="readers_mean", analysis_set="determinate")
    assert mean["value"] == pytest.approx(sum(own) / 3)


def test_every_study_is_either_in_a_figure_or_excluded_with_a_reason(small: SmallCohort) -> None:
    for table in ("estimates", "comparisons"):
        for row in small.metrics(table):
            if row["unit"] != "study" or row["covariate"] is not None:
                continue
            assert row["n_units"] + row["n_excluded"] == 10, row
            reasons = row["excluded_reasons"].split("; ") if row["excluded_reasons"] else []
            assert sum(int(reason.partition("=")[2]) for reason in reasons) == row["n_excluded"], row


def test_study_results_hold_one_row_a_study_and_operating_point(small: SmallCohort) -> None:
    rows = small.metrics("study_results")
    assert Counter(row["status"] for row in rows) == {
        "analysed": 7,
        "failed": 1,
        "excluded": 1,
        "without_reference": 1,
    }
    by_token = {row["study_id"]: row for row in rows}
    assert len(by_token) == 10
    h3 = by_token[small.tokens.study("h3")]
    assert (h3["score"], h3["call"], h3["n_frames_ok"], h3["n_frames_failed"]) == (
        pytest.approx(0.4, abs=1e-7),
        "negative",
        1,
        1,
    )
    d2 = by_token[small.tokens.study("d2")]
    assert (d2["score"], d2["call"], d2["n_images"]) == (pytest.approx(0.55, abs=1e-7), "positive", 2)


def test_reads_hold_every_matched_read_and_the_majority(small: SmallCohort) -> None:
    rows = small.metrics("reads")
    assert Counter(row["subject_kind"] for row in rows) == {"reader": 27, "majority": 9}
    assert {row["subject"] for row in rows if row["subject_kind"] == "reader"} == {
        small.tokens.reader(name) for name in READERS
    }


def test_unmatched_ids_are_listed_in_the_private_tree_alone(small: SmallCohort) -> None:
    key = output_layout.private_evaluation_file(RUN_ID, "unmatched")
    listed = pq.read_table(Path(small.private.uri) / key, partitioning=None).to_pylist()
    assert listed == [{"run": RUN_ID, "table": "reads", "id": "nobody"}]
    assert small.summary.n_unmatched == {"reads": 1}


def test_cross_tabulation_adds_up(small: SmallCohort) -> None:
    rows = [row for row in small.metrics("cross_tabulation") if row["comparator_kind"] == "reader"]
    by_reader: Counter[Any] = Counter()
    for row in rows:
        by_reader[row["comparator"]] += row["n"]
    assert set(by_reader.values()) == {9}  # all studies that are not excluded


def test_headline_is_one_query(small: SmallCohort) -> None:
    connection = duckdb.connect()
    for table in ("estimates", "comparisons"):
        path = Path(small.output.uri) / output_layout.metrics_file(RUN_ID, table)
        connection.register(table, pq.read_table(path, partitioning=None))
    rows = connection.sql(HEADLINE_SQL).to_arrow_table().to_pylist()
    subjects = list(dict.fromkeys((row["subject_kind"], row["subject"]) for row in rows))
    readers = sorted(small.tokens.reader(name) for name in READERS)
    assert subjects == [
        ("model", MODEL),
        *[("reader", name) for name in readers],
        ("readers_mean", "readers_mean"),
        ("majority", "majority"),
    ]
    endpoints = ["tp", "fp", "fn", "tn", "accuracy", "recall", "specificity", "precision", "npv", "f1"]
    for kind, name in subjects:
        own = [row for row in rows if (row["subject_kind"], row["subject"]) == (kind, name)]
        assert [row["endpoint"] for row in own] == endpoints
        for row in own[4:]:
            assert row["ci_method"] or row["null_reason"], row
            if kind != "model":
                assert row["model_minus_subject"] is not None or row["difference_null_reason"], row
                assert row["test"] or row["difference_null_reason"], row
    anna = next(
        row for row in rows if row["subject"] == small.tokens.reader("anna") and row["endpoint"] == "specificity"
    )
    # On h1, h2 and h3, which both called, the model is right twice (0.1 and 0.4), and so is anna (h1 and h2).
    assert anna["n_compared"] == 6
    assert anna["model_minus_subject"] == 0


def test_the_documented_way_to_the_headline_works(small: SmallCohort, capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[3] / "docs" / "metrics.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(code.replace("out/sample", small.output.uri), {"run_id": RUN_ID})
    assert "60 rows" in capsys.readouterr().out  # six subjects, ten endpoints


def test_every_table_of_the_contract_is_written_and_says_simulated(small: SmallCohort) -> None:
    for name, schema in TABLES.items():
        file = pq.ParquetFile(Path(small.output.uri) / output_layout.metrics_file(RUN_ID, name))
        assert file.schema_arrow.remove_metadata() == with_run(schema)
        assert file.schema_arrow.metadata[b"diagchd_batch.data"] == b"SIMULATED"
        assert small.summary.n_rows[name] == file.metadata.num_rows


def test_no_figure_is_without_method_or_reason(small: SmallCohort) -> None:
    for row in small.metrics("estimates"):
        assert row["definition"]
        assert row["null_reason"] or (row["value"] is not None and row["ci_method"] and row["ci_low"] is not None), row
    for row in small.metrics("comparisons"):
        assert row["null_reason"] or (row["ci_method"] and row["test"] and row["p"] is not None), row
