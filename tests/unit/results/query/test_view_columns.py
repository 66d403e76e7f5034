"""The view `columns` and the command line say of every column of every view what it means."""

from pathlib import Path

import pytest

from diagchd_batch.results import open_output
from diagchd_batch.results.columns import SCORE_COLUMNS
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.query.database import describe_views, open_query
from diagchd_batch.table_format.declared_columns import DESCRIPTION
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import MadeOutput, MadeStudy


def test_every_column_of_every_view_is_described() -> None:
    described = describe_views(TABLES, COMPARISON_TABLES)
    assert len(described) > 26
    for view, columns in described:
        assert view.description
        assert [column.name for column in columns if not column.text(DESCRIPTION)] == [], view.name


@pytest.fixture
def output(tmp_path: Path) -> str:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.9]], 1)])
    return str(made.output.uri)


def test_the_view_columns_has_the_declarations(output: str) -> None:
    rows = open_query(open_output(output), TABLES).table("SELECT * FROM columns").to_pylist()
    declared = {
        row["column_name"]: (row["unit"] or "", row["value_range"] or "", row["null_when"] or "", row["description"])
        for row in rows
        if row["table_name"] in ("scores", "masks")
    }
    for column in SCORE_COLUMNS:
        expected = (column.unit, column.range, column.rows_without_value, column.description)
        assert declared[column.name] == expected, column.name
    of_current = {row["column_name"]: row for row in rows if row["table_name"] == "current"}
    assert of_current["chd_probability"]["value_range"] == "0 to 1"
    assert of_current["chd_probability"]["type"] == "FLOAT"
    assert {row["table_name"] for row in rows} == {view.name for view, _ in describe_views(TABLES)}


def test_the_function_columns_of_duckdb_still_works(output: str) -> None:
    table = open_query(open_output(output), TABLES).table("SELECT COLUMNS('study.*') FROM predictions")
    assert table.column_names == ["study_id"]


def test_the_list_has_one_line_for_each_view() -> None:
    done = diagchd_batch("query", "--list")
    assert done.exit_code == 0
    lines = done.printed.splitlines()
    known = describe_views(TABLES, COMPARISON_TABLES)
    assert [line.split()[0] for line in lines] == [view.name for view, _ in known]
    assert "--columns VIEW" in done.messages


def test_the_columns_of_a_view_are_shown_with_their_meaning() -> None:
    done = diagchd_batch("query", "--columns", "study_results")
    assert done.exit_code == 0
    assert "reference label of the study: 0 normal, 1 congenital heart disease" in done.printed
    refused = diagchd_batch("query", "--columns", "study_result")
    assert refused.exit_code == 2
    assert "there is no view" in refused.messages and "study_results" in refused.messages
