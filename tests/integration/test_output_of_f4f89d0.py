"""This version verifies, queries, evaluates, compares and continues an output that an earlier version wrote."""

import json
import math
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.results import open_output
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from tests.support.command_line import Ended, diagchd_batch

KEPT = Path(__file__).parents[1] / "data" / "output_f4f89d0"
KEY = "output-f4f89d0-key-for-tests-only"
PLACE = Path("/var/tmp/diagchd-batch-output-f4f89d0")
MODIFIED_S = 1_700_000_000
"""The archive's path and its files' modification times are part of the identity of runs. The README.md explains it."""


def copied(directory: Path) -> Path:
    """Copy the kept job, archive and output to `directory`, and restore the modes of the private tree."""
    shutil.copytree(KEPT, directory, dirs_exist_ok=True)
    for path in (directory / "output" / "private", *(directory / "output" / "private").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    for path in (directory / "archive").rglob("*"):
        os.utime(path, (MODIFIED_S, MODIFIED_S))
    return directory


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGCHD_ID_KEY", KEY)


@pytest.fixture
def earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = copied(tmp_path / "earlier")
    monkeypatch.chdir(directory)
    return directory


def succeeded(*arguments: str) -> Ended:
    ended = diagchd_batch(*arguments)
    assert ended.exit_code == 0, ended.messages
    return ended


def queried(sql: str, *options: str) -> list[dict[str, Any]]:
    return json.loads(succeeded("query", "output", sql, *options, "--format", "json").printed)


def test_it_is_verified(earlier: Path) -> None:
    printed = succeeded("verify", "output").printed
    assert "first → second" in printed
    assert "19 planned images, 19 rows" in printed


def test_every_view_is_queried(earlier: Path) -> None:
    n_rows = {"runs": 3, "lineages": 4, "predictions": 36, "scores": 36, "masks": 36, "plan": 36, "studies": 20}
    for view, expected in n_rows.items():
        assert queried(f"SELECT count(*) AS n FROM {view}") == [{"n": expected}], view
    counted = "SELECT lineage, status, count(*) AS n FROM current GROUP BY ALL ORDER BY ALL"
    assert [tuple(row.values()) for row in queried(counted)] == [
        ("other", "failed", 1),
        ("other", "ok", 16),
        ("second", "failed", 1),
        ("second", "ok", 18),
    ]
    failed = "SELECT run_id, error_code, remedy IS NOT NULL AS has_remedy FROM failures ORDER BY ALL"
    assert queried(failed) == [
        {"run_id": run, "error_code": "decode_error", "has_remedy": True} for run in ("first", "other")
    ]
    for view in ("estimates", "comparisons", "study_results", "reads", "flow", "curves"):
        assert queried(f"SELECT count(*) AS n FROM {view}")[0]["n"] > 0, view


def test_a_subject_is_deleted(earlier: Path) -> None:
    (study,) = queried(
        "SELECT subject_id, study_id, source_study_id FROM studies ORDER BY ALL LIMIT 1", "--run-id", "first"
    )
    succeeded("delete", "output", "--subject", study["subject_id"], "--yes")
    for view in ("predictions", "scores", "studies", "plan"):
        counted = f"SELECT count(*) AS n FROM {view} WHERE subject_id = '{study['subject_id']}'"
        assert queried(counted) == [{"n": 0}], view
    for path in (earlier / "output").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not [value for value in study.values() if value.encode() in content], path
    succeeded("verify", "output")


def test_a_notebook_reads_its_masks(earlier: Path) -> None:
    output = open_output("output")
    row = output.predictions("second").to_table().to_pylist()[0]
    assert output.mask(row["image_id"], row["frame"], "second").shape == (128, 160)
    assert output.current_predictions("second").num_rows == 19


def comparable(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a table without the minima and maxima that only the earlier version wrote.

    The numbers of levels are removed, because the earlier version numbered levels in alphabetical order. Sizes have the
    width first, as they are written today.
    """
    rows = [row for row in pq.read_table(path).to_pylist() if row.get("statistic") not in ("minimum", "maximum")]
    for row in rows:
        if row.get("level"):
            row["level"] = re.sub(r" level \d+$", " level", row["level"])
            row["level"] = re.sub(r"^(\d+)×(\d+)$", r"\2 × \1", row["level"])
    return rows


def in_order(rows: list[dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    def cell(value: object) -> str:
        return f"{value:.6g}" if isinstance(value, float) else str(value)

    return sorted(rows, key=lambda row: [cell(row[name]) for name in columns])


OF_METHOD = {
    *("se", "ci_low", "ci_high", "ci_method", "test", "statistic", "df1", "df2", "p", "p_adjusted", "null_reason"),
    *("resamples", "degenerate_resamples", "seed"),
}
"""Columns that say how sure a figure is."""

COMBINED = {"combined_wilson", "combined_wilson_effective_n"}
BETTER_METHODS = {
    "roc_auc": {"newcombe_delong", "newcombe_delong_clustered", "identical_ranks", "delong_student"}
    | {"delong_clustered_student"},
    "balanced_accuracy": COMBINED,
    "lr_positive": COMBINED,
    "lr_negative": COMBINED,
    "ppv_at_prevalence": COMBINED,
    "npv_at_prevalence": COMBINED,
    "npv": {"wilson"},
    "positive_agreement": {"wilson"},
    "negative_agreement": {"wilson"},
    "ppv": {"wilson", "weighted_generalised_score"},
    "sensitivity": {"wilson", "newcombe_paired", "mcnemar_exact"},
}
"""Endpoint → methods and reasons that replaced those of the earlier version (docs/statistics.md says why)."""

CORRECTED = {"krippendorff_alpha": {"se"}, "calibration_intercept": {"ci_low", "ci_high"}}
"""Endpoint → columns that were corrected under the name that their method had."""

NEW_ANALYSIS_SETS = ("not_read_wrong", "not_read_right", "read_in_both_arms")
"""Analyses that the earlier version did not make."""

NEW_CURVES = (
    *("decision_at_prevalence", "calibration_at_prevalence"),
    *("ppv_by_prevalence", "npv_by_prevalence"),
)
"""Curves that the earlier version did not draw."""

NEW_WORDS = "not evaluable, "
"""What a definition got since: studies that are no four-chamber view."""


def replaced_methods(row: dict[str, Any], old: dict[str, Any]) -> set[str]:
    """Return the methods and reasons of a row that the earlier version did not have there."""
    names = [name for name in ("ci_method", "test", "null_reason") if name in old and row[name] != old[name]]
    return {row[name] for name in names} - {None}


def is_new(row: dict[str, Any], before: list[dict[str, Any]]) -> bool:
    """Return whether the earlier version did not make such a figure at all."""
    new_endpoint = bool(before) and row.get("endpoint") not in {old.get("endpoint") for old in before}
    return new_endpoint or row.get("analysis_set") in NEW_ANALYSIS_SETS or row.get("curve") in NEW_CURVES


def assert_equal_tables(ours: Path, theirs: Path) -> None:
    """Assert equal rows in the columns that the earlier version had. Numbers may differ in the last digits.

    Where a better method replaced the row's, its figure, its counts and its definition must be equal all the same.
    """
    rows, before = comparable(ours), comparable(theirs)
    rows = [row for row in rows if not is_new(row, before)]
    if theirs.name == "cross_tabulation.parquet":
        for row in before:
            row["reference_call"] = row.pop("reference_label")
    assert len(rows) == len(before), ours.name
    columns = list(before[0]) if before else []
    for row in rows:
        if row.get("definition"):
            row["definition"] = row["definition"].replace(NEW_WORDS, "")
    kept = [name for name in columns if name not in OF_METHOD]
    rows, before = in_order(rows, kept), in_order(before, kept)
    for row, old in zip(rows, before, strict=True):
        endpoint = old.get("endpoint")
        replaced = replaced_methods(row, old)
        assert replaced <= BETTER_METHODS.get(endpoint, set()), (ours.name, endpoint)
        passed_over = (OF_METHOD if replaced else set()) | CORRECTED.get(endpoint, set())
        for name, value in old.items():
            if name in passed_over:
                continue
            if isinstance(value, float) and isinstance(row[name], float):
                assert math.isclose(row[name], value, rel_tol=1e-9, abs_tol=1e-12), (ours.name, name)
            else:
                assert row[name] == value, (ours.name, name)


@pytest.mark.parametrize("run_id", ["first", "other"])
def test_it_is_evaluated_with_equal_tables(earlier: Path, run_id: str) -> None:
    succeeded("evaluate", "output", "--run-id", run_id)
    kept = sorted((KEPT / "output" / "metrics" / f"run_id={run_id}").glob("*.parquet"))
    assert kept
    for path in kept:
        assert_equal_tables(earlier / "output" / output_layout.metrics_file(run_id, path.stem), path)
        assert not (earlier / "output" / output_layout.metrics_file_v1(run_id, path.stem)).exists()


def test_a_correction_in_its_second_run_counts_when_its_lineage_is_evaluated(earlier: Path) -> None:
    succeeded("evaluate", "output", "--run-id", "second")
    studies = "SELECT DISTINCT source_study_id, study_id FROM studies"
    found = queried(
        f"SELECT source_study_id AS study, status, reference_label AS label FROM study_results JOIN ({studies}) "
        "USING (study_id) WHERE run_id = 'second' AND operating_point = 'default' ORDER BY study"
    )
    by_study = {row["study"]: (row["status"], row["label"]) for row in found}
    assert len(by_study) == 9
    assert by_study["study-00001"] == ("analysed", 0)
    assert by_study["study-00002"][1] is None
    assert by_study["study-00003"][0] == "excluded"
    # The evaluation also writes the Parquet tables that this output does not have, and `verify` checks them.
    for table in ("run_table", "lineages", "superseded"):
        assert sorted(path.stem for path in (earlier / "output" / table).iterdir()) == ["first", "second"]
    succeeded("verify", "output", "--run-id", "second")
    pq.write_table(pq.read_table("output/lineages/second.parquet").slice(1), "output/lineages/second.parquet")
    refused = diagchd_batch("verify", "output", "--run-id", "second")
    assert refused.exit_code == 1 and "derived_table_differs: lineages/second.parquet" in refused.printed


def test_its_runs_are_compared(earlier: Path) -> None:
    succeeded("compare", "output", "other", "second")
    kept = sorted((KEPT / "output" / "metrics" / "run_id=second" / "compare_to=other").glob("*.parquet"))
    assert len(kept) == len(COMPARISON_TABLES)
    for path in kept:
        ours = earlier / "output" / output_layout.comparison_file("second", "other", path.stem)
        assert set(pq.read_schema(path).names) <= set(pq.read_schema(ours).names)
        assert not (earlier / "output" / output_layout.comparison_file_v1("second", "other", path.stem)).exists()


def test_it_is_reported_with_its_comparison(earlier: Path) -> None:
    succeeded("report", "output", "--run-id", "second")
    page = (earlier / "output" / output_layout.report_file("second")).read_text(encoding="utf-8")
    assert "this run was not compared with another one" not in page


@pytest.fixture
def in_its_place() -> Iterator[Path]:
    """Copy the kept files to the path that the earlier version used. Only one test at a time may use it."""
    shutil.rmtree(PLACE, ignore_errors=True)
    yield copied(PLACE)
    shutil.rmtree(PLACE, ignore_errors=True)


def submitted(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Submit with the weights that were bundled then, because scores of today's are another lineage."""
    weights = ["--set", f"model.weights={KEPT / 'weights.h5'}"]
    return subprocess.run(
        [sys.executable, "-m", "diagchd_batch", "submit", "job.yaml", *weights, *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_finished_run_is_recognised_and_continued(in_its_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repeated = submitted(in_its_place, "--run-id", "first")
    assert repeated.returncode == 3, repeated.stderr
    archive = in_its_place / "archive"
    shutil.copy(archive / "images" / "study-00001-1.png", archive / "images" / "study-00099-1.png")
    manifest = (archive / "studies-2.csv").read_text(encoding="utf-8")
    added = "study-00099,images/study-00099-1.png,subject-00099,1,,0,1,\n"
    (archive / "studies-3.csv").write_text(manifest + added, encoding="utf-8")
    continued = submitted(
        in_its_place, "--only", "new", "--run-id", "third", "--set", "input.manifest=archive/studies-3.csv"
    )
    assert continued.returncode == 0, continued.stderr
    monkeypatch.chdir(in_its_place)
    runs = queried("SELECT parent_run_id, n_planned_images, n_ok FROM runs WHERE run_id = 'third'")
    assert runs == [{"parent_run_id": "second", "n_planned_images": 1, "n_ok": 1}]
    assert "first → second → third together: 20 planned images, 20 rows" in succeeded("verify", "output").printed
    lineage = queried("SELECT count(DISTINCT study_id) AS n FROM study_results WHERE run_id = 'third'")
    assert lineage == [{"n": 10}]
    for table in ("lineages", "superseded"):
        assert sorted(path.stem for path in Path("output", table).iterdir()) == ["first", "second", "third"]
    assert sorted(pq.read_table("output/run_table")["status"].to_pylist()) == ["finished"] * 3


@pytest.mark.slow
def test_an_unfinished_run_is_resumed(in_its_place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(in_its_place)
    scores = in_its_place / "output" / "scores" / "run_id=first"
    (scores / "shard-00003.parquet").unlink()
    (in_its_place / "output" / "runs" / "run_id=first" / "_SUCCESS").unlink()
    resumed = submitted(in_its_place, "--run-id", "first")
    assert resumed.returncode == 3, resumed.stderr
    succeeded("verify", "output", "--run-id", "first")
    for shard in range(3):
        name = f"shard-{shard:05d}.parquet"
        kept = KEPT / "output" / "scores" / "run_id=first" / name
        assert (scores / name).read_bytes() == kept.read_bytes()
