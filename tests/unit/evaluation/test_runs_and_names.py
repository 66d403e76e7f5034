"""Lineages, determinism, identifiers, covariates, operating points, the primary endpoint, size."""

import hashlib
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import InputError, UsageError
from diagchd_batch.evaluation.tables.schemas import TABLES
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeStudy

CHILD = "0a1b2c3d-4e5f6071-2"


def metrics_bytes(made, run_id=RUN_ID):
    return {
        name: hashlib.sha256(
            (Path(made.output.uri) / output_layout.metrics_file(run_id, name)).read_bytes()
        ).hexdigest()
        for name in TABLES
    }


def pick(rows, **wanted):
    found = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    assert len(found) == 1, f"{len(found)} rows with {wanted}"
    return found[0]


# --- lineage


def test_a_lineage_takes_the_latest_ok_of_each_frame(made, evaluate):
    made.write_run([MadeStudy("a", [[0.9], [FAILED]], 1), MadeStudy("b", [[0.2]], 0)])
    retried = [MadeStudy("a", [["not_found"], [0.1, 0.3]], 1), MadeStudy("c", [[0.7]], 1)]
    made.write_run(retried, CHILD, parent=RUN_ID)
    summary = evaluate(made, CHILD)
    assert summary.lineage == (RUN_ID, CHILD)
    results = {row["study_id"]: row for row in made.metrics("study_results", CHILD)}
    a = results[made.tokens.study("a")]
    # 0.9 stays although the later run failed on it; the file that had failed now has two frames
    assert a["score"] == pytest.approx((0.9 + 0.1 + 0.3) / 3, abs=1e-7)
    assert (a["n_images"], a["n_frames_ok"], a["n_frames_failed"]) == (2, 3, 0)
    assert len(results) == 3


def test_a_missing_parent_is_named(made, evaluate):
    made.write_run([MadeStudy("a", [[0.9]], 1)], CHILD, parent=RUN_ID)
    with pytest.raises(UsageError, match=f"run {RUN_ID}, a parent of {CHILD}"):
        evaluate(made, CHILD)


# --- determinism


def test_the_same_run_gives_the_same_bytes(made, evaluate):
    rng = np.random.default_rng(4)
    studies = [
        MadeStudy(f"{i}", [[float(p)] for p in rng.random(rng.integers(1, 4))], int(rng.random() < 0.5), f"{i // 2}")
        for i in range(80)
    ]
    made.write_run(studies)
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": int(rng.random() < 0.5), "score": rng.random()}
        for i in range(80)
        for reader in "abc"
    ]
    readers = made.table("readers", reads)
    evaluate(made, readers=readers)
    first = metrics_bytes(made)
    key = Path(made.output.uri) / output_layout.predictions_file(RUN_ID, 0)
    table = pq.read_table(key, partitioning=None)
    pq.write_table(table.take(rng.permutation(table.num_rows)), key)  # rows may come in any order
    evaluate(made, readers=readers)
    assert metrics_bytes(made) == first


# --- names


def identified(made, evaluate, **config):
    studies = [
        MadeStudy(f"CANARY-study-{i}", [[0.3 + 0.4 * (i % 2)]], i % 2, subject_id=f"CANARY-subject-{i // 2}")
        for i in range(12)
    ]
    studies.append(MadeStudy("CANARY-out", [], 1, exclude_reason="asked Dr CANARY"))
    made.write_run(studies)
    reads = [
        {
            "study_id": study.study_id,
            "reader": f"CANARY-reader-{reader}",
            "session": "CANARY-session",
            "arm": "CANARY-arm",
            "status": "read",
            "call": (i + reader) % 2,
        }
        for i, study in enumerate(studies)
        for reader in range(2)
    ]
    reads.append({**reads[0], "study_id": "CANARY-nobody"})
    reference = [
        {
            "study_id": study.study_id,
            "label": study.label,
            "diagnosis": f"CANARY-lesion-{study.label}",
            "method": "CANARY",
        }
        for study in studies
    ]
    covariates = [
        {
            "study_id": study.study_id,
            "site": f"CANARY-site-{i % 3}",
            "CANARY-name": i,
            "gestational_age": f"2{i % 10}+1",
        }
        for i, study in enumerate(studies)
    ]
    return evaluate(
        made,
        readers=made.table("readers", reads),
        reference=made.table("reference", reference),
        covariates=made.table("covariates", covariates),
        **config,
    )


def test_no_identifier_leaves_the_private_tree(made, evaluate):
    summary = identified(made, evaluate)
    assert "CANARY" not in str(summary)
    for path in Path(made.output.uri).rglob("*"):
        if path.is_file() and output_layout.PRIVATE not in path.relative_to(made.output.uri).parts:
            content = path.read_bytes()
            assert b"CANARY" not in content, path
            if path.suffix == ".parquet":
                assert "CANARY" not in str(pq.read_table(path, partitioning=None).to_pylist()), path
    shown = {row["level"] for row in made.metrics("estimates") if row["covariate"] == "site"}
    assert shown == {"site level 1", "site level 2", "site level 3"}


def test_what_stands_for_what_is_kept_in_the_private_tree(made, evaluate):
    identified(made, evaluate)
    path = Path(made.private.uri) / output_layout.private_evaluation_file(RUN_ID, "names")
    names = {
        (row["kind"], row["own_name"]): row["name_in_tables"]
        for row in pq.read_table(path, partitioning=None).to_pylist()
    }
    assert names["reader", "CANARY-reader-0"] == made.tokens.reader("CANARY-reader-0")
    assert names["site level", "CANARY-site-0"] == "site level 1"
    assert names["reason", "asked Dr CANARY"] == "reason 1"


def test_disclose_shows_own_names_but_never_studies(made, evaluate):
    identified(made, evaluate, disclose=True)
    estimates = made.metrics("estimates")
    assert {row["subject"] for row in estimates if row["subject_kind"] == "reader"} == {
        "CANARY-reader-0",
        "CANARY-reader-1",
    }
    assert {row["level"] for row in estimates if row["covariate"] == "site"} == {f"CANARY-site-{i}" for i in range(3)}
    for name in ("study_results", "reads", "worst_cases"):
        assert "CANARY-study" not in str(made.metrics(name))


# --- reference standard


def test_a_label_that_contradicts_the_manifest_is_refused(made, evaluate):
    made.write_run([MadeStudy("a", [[0.9]], 1)])
    with pytest.raises(InputError, match="contradict"):
        evaluate(made, reference=made.table("reference", [{"study_id": "a", "label": 0}]))


def test_readers_are_not_judged_by_their_own_majority(made, evaluate):
    made.write_run([MadeStudy(f"{i}", [[0.2 + 0.6 * (i % 2)]]) for i in range(8)])
    reference = [
        {"study_id": f"{i}", "label": i % 2, "method": "majority of the readers" if i < 6 else "postnatal echo"}
        for i in range(8)
    ]
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": i % 2} for i in range(8) for reader in "abc"
    ]
    evaluate(made, reference=made.table("reference", reference), readers=made.table("readers", reads))
    rows = [row for row in made.metrics("estimates") if row["endpoint"] == "accuracy" and row["headline"]]
    of_readers = [row for row in rows if row["subject_kind"] in ("reader", "majority")]
    assert of_readers
    assert all((row["n_units"], row["excluded_reasons"]) == (2, "reference_from_readers=6") for row in of_readers)
    assert next(row for row in rows if row["subject_kind"] == "model")["n_units"] == 8


# --- operating points, primary endpoint, subgroups


def two_groups(made, n=60):
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 2, n)
    studies = [
        MadeStudy(f"{i}", [[float(np.clip(rng.normal(0.3 + 0.4 * y, 0.2), 0, 1))]], int(y))
        for i, y in enumerate(labels)
    ]
    made.write_run(studies)
    reads = [
        {"study_id": f"{i}", "reader": reader, "status": "read", "call": int(rng.random() < 0.25 + 0.5 * y)}
        for i, y in enumerate(labels)
        for reader in "abcd"
    ]
    return studies, made.table("readers", reads)


def test_a_threshold_chosen_on_this_cohort_is_optimistic_and_never_the_headline(made, evaluate):
    two_groups(made)
    points = [
        {"name": "youden", "threshold": 0.42, "chosen_on": "evaluated cohort"},
        {"name": "card", "threshold": 0.5, "chosen_on": "model card"},
    ]
    evaluate(made, operating_points=points)
    rows = [row for row in made.metrics("estimates") if row["operating_point"]]
    assert {(row["operating_point"], row["optimistic"]) for row in rows} == {("youden", True), ("card", False)}
    assert {row["operating_point"] for row in rows if row["headline"]} == {"card"}
    evaluate(made, operating_points=points[:1])
    headline = {(row["threshold"], row["optimistic"]) for row in made.metrics("estimates") if row["headline"]}
    assert headline == {(0.5, False)}


def test_the_primary_comparison_is_marked_and_left_out_of_the_adjustment(made, evaluate):
    _, readers = two_groups(made)
    primary = {"endpoint": "sensitivity", "comparator": "readers_mean", "margin": 0.05}
    evaluate(made, readers=readers, primary=primary)
    rows = made.metrics("comparisons")
    row = pick(rows, role="primary")
    assert (row["endpoint"], row["comparator_kind"], row["margin"]) == ("sensitivity", "readers_mean", 0.05)
    assert row["p_adjusted"] is None
    assert row["conclusion"] in ("superior", "non-inferior", "not shown")
    assert (row["conclusion"] == "superior") == (row["ci_low"] > 0)
    family = [
        r for r in rows if r["family"] == "model against readers: specificity" and r["analysis_set"] == "determinate"
    ]
    assert len(family) == 4
    smallest = min(family, key=lambda r: r["p"])
    assert smallest["p_adjusted"] == pytest.approx(min(1.0, 4 * smallest["p"]))


def test_a_primary_comparison_that_cannot_be_made_is_said(made, evaluate):
    two_groups(made)
    summary = evaluate(made, primary={"endpoint": "sensitivity", "comparator": "majority"})
    assert any("primary" in note for note in summary.notes)


def test_levels_partition_the_cohort_and_missing_is_a_level(made, evaluate):
    studies, _ = two_groups(made)
    covariates = [
        {"study_id": study.study_id, "site": "" if i % 5 == 0 else f"site-{i % 2}", "maternal_age": 20 + i % 25}
        for i, study in enumerate(studies)
    ]
    evaluate(made, covariates=made.table("covariates", covariates), cut_points={"maternal_age": [30, 40]})
    rows = [row for row in made.metrics("estimates") if row["endpoint"] == "accuracy" and row["covariate"]]
    by_covariate = {}
    for row in rows:
        by_covariate.setdefault(row["covariate"], {})[row["level"]] = row["n_units"]
    assert by_covariate["site"] == {"site level 1": 24, "site level 2": 24, "missing": 12}
    assert list(by_covariate["maternal_age"]) == ["< 30", "30 to 39", "≥ 40"]
    assert all(sum(levels.values()) == 60 for levels in by_covariate.values())
    assert {"source_resolution", "number_of_images"} <= set(by_covariate)
    tests = [row for row in made.metrics("comparisons") if row["covariate"] == "site"]
    assert {row["endpoint"] for row in tests} == {
        "sensitivity_interaction",
        "specificity_interaction",
        "roc_auc_interaction",
    }


def test_study_score_is_the_mean_the_largest_or_the_median_of_the_frames(made, evaluate):
    made.write_run([MadeStudy("a", [[0.1, 0.2], [0.9]], 1), MadeStudy("b", [[0.4]], 0)])
    for rule, expected in {"mean": 0.4, "max": 0.9, "median": 0.2}.items():
        evaluate(made, study_score=rule)
        row = pick(made.metrics("study_results"), study_id=made.tokens.study("a"))
        assert row["score"] == pytest.approx(expected, abs=1e-7), rule


# --- size


def test_a_hundred_thousand_rows_take_seconds(made, evaluate):
    rng = np.random.default_rng(8)
    n = 40_000
    labels = (rng.random(n) < 0.05).astype(int)
    studies = [
        MadeStudy(
            f"{i}", [[float(p)] for p in np.clip(rng.normal(0.2 + 0.4 * y, 0.2, 1 + i % 4), 0, 1)], int(y), f"{i // 2}"
        )
        for i, y in enumerate(labels)
    ]
    made.write_run(studies)
    began = time.process_time()
    summary = evaluate(made)
    assert time.process_time() - began < 60
    assert summary.n_rows["study_results"] == n
