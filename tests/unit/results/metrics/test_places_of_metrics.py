"""Metrics and comparisons lie in a directory for each table; those of outputs of schema version 1 are read as well."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.report.report_data import read_report_data
from diagchd_batch.results import open_output
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.metrics_tables import compared_runs, has_metrics, read_comparison, read_metrics
from diagchd_batch.results.query.database import open_query
from tests.support.evaluated_runs import MadeOutput, MadeStudy

FIRST, SECOND = "aaaaaaaa-4e5f6071-1", "bbbbbbbb-4e5f6071-1"
N_STUDIES = {FIRST: 4, SECOND: 3}
SETTINGS = EvaluationConfig(resamples=100)
STUDIES = [
    MadeStudy(name, [[probability]], label)
    for name, probability, label in (("a", 0.9, 1), ("b", 0.2, 0), ("c", 0.4, 1), ("d", 0.6, 0))
]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("compared"))
    for run_id, n_studies in N_STUDIES.items():
        made.write_run(STUDIES[:n_studies], run_id)
        evaluate_run(made.output, made.private, run_id, SETTINGS, made.tokens)
    compare(made)
    return made


@pytest.fixture
def made(tmp_path: Path, compared: MadeOutput) -> MadeOutput:
    """Return an output of a test's own, with two evaluated runs and their comparison."""
    shutil.copytree(compared.root, tmp_path, dirs_exist_ok=True)
    return MadeOutput(tmp_path)


def compare(made: MadeOutput) -> None:
    compare_runs(made.output, made.private, FIRST, SECOND, SETTINGS, made.tokens)


def move_to_places_of_version_1(made: MadeOutput) -> None:
    root = Path(made.output.uri)
    moves = [
        (output_layout.metrics_file(run_id, table), output_layout.metrics_file_v1(run_id, table))
        for run_id in N_STUDIES
        for table in TABLES
    ]
    moves += [
        (
            output_layout.comparison_file(SECOND, FIRST, table),
            output_layout.comparison_file_v1(SECOND, FIRST, table),
        )
        for table in COMPARISON_TABLES
    ]
    for key, key_v1 in moves:
        (root / key_v1).parent.mkdir(parents=True, exist_ok=True)
        (root / key).rename(root / key_v1)


def parquet_files(made: MadeOutput, *directories: str) -> list[str]:
    root = Path(made.output.uri)
    paths = (path for name in directories for path in (root / name).rglob("*.parquet"))
    return sorted(path.relative_to(root).as_posix() for path in paths)


def n_studies(made: MadeOutput, run_id: str | None = None) -> dict[str, int]:
    """Count the rows of `study_results` by run, as `query` sees them."""
    database = open_query(open_output(made.output.uri), TABLES, run_id)
    table = database.table("SELECT run_id, count(*) AS n FROM study_results GROUP BY run_id")
    return {row["run_id"]: row["n"] for row in table.to_pylist()}


def comparisons(made: MadeOutput, table: str, run_id: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of a table of comparisons, as `query` sees them."""
    database = open_query(open_output(made.output.uri), TABLES, run_id, comparisons=COMPARISON_TABLES)
    return database.table(f"FROM {table}").to_pylist()


def assert_all_is_read(made: MadeOutput) -> None:
    for table in COMPARISON_TABLES:
        stored = read_comparison(made.output, SECOND, FIRST, table)
        expected = [row | {"run_id": SECOND, "compare_to": FIRST} for row in stored.to_pylist()]
        assert comparisons(made, table) == comparisons(made, table, SECOND) == expected, table
        assert comparisons(made, table, FIRST) == []
    assert len(comparisons(made, "comparison_flow")) >= 6
    assert n_studies(made) == N_STUDIES
    assert n_studies(made, SECOND) == {SECOND: N_STUDIES[SECOND]}
    for run_id in N_STUDIES:
        assert has_metrics(made.output, run_id, "estimates")
        assert all(read_metrics(made.output, run_id, table) is not None for table in TABLES)
    assert compared_runs(made.output, SECOND) == [FIRST]
    assert compared_runs(made.output, FIRST) == []
    assert all(read_comparison(made.output, SECOND, FIRST, table) is not None for table in COMPARISON_TABLES)
    report = read_report_data(made.output, SECOND)
    assert report.tables["estimates"]
    assert report.comparisons[FIRST]["comparison_tests"]


def test_each_table_has_a_directory_of_its_own(made: MadeOutput) -> None:
    metrics = [output_layout.metrics_file(run_id, table) for run_id in N_STUDIES for table in TABLES]
    comparisons = [output_layout.comparison_file(SECOND, FIRST, table) for table in COMPARISON_TABLES]
    assert parquet_files(made, "metrics", "comparisons") == sorted(metrics + comparisons)
    assert_all_is_read(made)


def test_the_places_of_version_1_are_read(made: MadeOutput) -> None:
    move_to_places_of_version_1(made)
    assert parquet_files(made, "comparisons") == []
    assert_all_is_read(made)


def test_writing_again_empties_the_places_of_version_1_and_leaves_other_runs(made: MadeOutput) -> None:
    move_to_places_of_version_1(made)
    evaluate_run(made.output, made.private, FIRST, SETTINGS, made.tokens)
    expected = [output_layout.metrics_file(FIRST, table) for table in TABLES]
    expected += [output_layout.metrics_file_v1(SECOND, table) for table in TABLES]
    expected += [output_layout.comparison_file_v1(SECOND, FIRST, table) for table in COMPARISON_TABLES]
    assert parquet_files(made, "metrics", "comparisons") == sorted(expected)
    assert_all_is_read(made)
    compare(made)
    moved_back = [output_layout.comparison_file(SECOND, FIRST, table) for table in COMPARISON_TABLES]
    assert parquet_files(made, "metrics", "comparisons") == sorted(expected[: -len(moved_back)] + moved_back)
    assert_all_is_read(made)


def test_a_table_in_both_places_is_read_once_and_the_newer_place_counts(made: MadeOutput) -> None:
    """A kill between the last write and the removal leaves both."""
    root = Path(made.output.uri)
    for run_id, other in ((FIRST, SECOND), (SECOND, FIRST)):
        key = root / output_layout.metrics_file_v1(run_id, "study_results")
        key.parent.mkdir(parents=True)
        key.write_bytes((root / output_layout.metrics_file(other, "study_results")).read_bytes())
    assert_all_is_read(made)
    table = read_metrics(made.output, FIRST, "study_results")
    assert table is not None
    assert table.num_rows == N_STUDIES[FIRST]


def test_tables_that_the_latest_evaluation_did_not_make_are_removed(made: MadeOutput) -> None:
    root = Path(made.output.uri)
    stale = [
        output_layout.metrics_file(FIRST, "table_of_another_version"),
        output_layout.metrics_file_v1(FIRST, "table_of_another_version"),
        output_layout.comparison_file(SECOND, FIRST, "table_of_another_version"),
    ]
    kept = [
        output_layout.metrics_file(SECOND, "table_of_another_version"),
        output_layout.comparison_file(SECOND, SECOND, "table_of_another_version"),
        "metrics/notes of the owner.parquet",
    ]
    for key in (*stale, *kept):
        (root / key).parent.mkdir(parents=True, exist_ok=True)
        (root / key).write_bytes(b"")
    evaluate_run(made.output, made.private, FIRST, SETTINGS, made.tokens)
    compare(made)
    assert [key for key in stale if (root / key).exists()] == []
    assert [key for key in kept if not (root / key).exists()] == []


def rows_by_pandas(directory: str) -> dict[str, int]:
    return {str(run_id): n for run_id, n in pd.read_parquet(directory)["run_id"].value_counts().items()}


def rows_by_duckdb(directory: str) -> dict[str, int]:
    files = f"read_parquet('{directory}/**/*.parquet', hive_partitioning=true)"
    return dict(duckdb.sql(f"SELECT run_id, count(*) FROM {files} GROUP BY run_id").fetchall())


@pytest.mark.parametrize("rows_by", [rows_by_pandas, rows_by_duckdb])
def test_a_directory_is_one_table_for_programs_that_read_data_sets(
    made: MadeOutput, rows_by: Callable[[str], dict[str, int]]
) -> None:
    assert rows_by(f"{made.output.uri}/metrics/study_results") == N_STUDIES
    for table in TABLES:
        assert set(rows_by(f"{made.output.uri}/metrics/{table}")) <= set(N_STUDIES)
    for table in COMPARISON_TABLES:
        assert set(rows_by(f"{made.output.uri}/comparisons/{table}")) <= {SECOND}
