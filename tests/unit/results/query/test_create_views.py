"""The statements of --print-sql give a DuckDB of one's own the rows that `query` has, view by view."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.results import open_output
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.query.create_views import create_views_sql
from diagchd_batch.results.query.database import describe_views, open_query
from diagchd_batch.results.query.table_files import TableFiles
from diagchd_batch.results.query.views import View
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy

KEPT = Path(__file__).parents[3] / "data" / "output_f4f89d0" / "output"
MASKED = {"chd_probability": 0.75, "quality_flags": ["unsure"], "mask_png": b"\x89PNG\0picture"}
PUBLIC = [
    view.name
    for view, _ in describe_views(TABLES, COMPARISON_TABLES)
    if view.name not in ("columns", "lineage_studies") and not (isinstance(view, View) and view.private)
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    """Return an output with a run, its increment, another run and a comparison. Its path has signs that SQL knows."""
    made = MadeOutput(tmp_path_factory.mktemp("an 'output' [1]"))
    made.write_run(
        [MadeStudy("a", [[MASKED]], 1), MadeStudy("b", [[FAILED]], 0), MadeStudy("c", [[0.2, 0.3]], 0)], "1-a"
    )
    made.write_run([MadeStudy("b", [[0.4]], 0), MadeStudy("d", [[FAILED]], 1)], "1-b", "1-a")
    made.write_run([MadeStudy("a", [[0.1]], 1), MadeStudy("b", [[0.7]], 0)], "2-a")
    config = EvaluationConfig(resamples=100)
    for run_id in ("1-a", "1-b", "2-a"):
        write_lineage_tables(made.output, run_id)
    for run_id in ("1-b", "2-a"):
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, "1-b", "2-a", config, made.tokens)
    return made


def printed(output: str, *options: str) -> str:
    done = diagchd_batch("query", output, "--print-sql", *options)
    assert done.exit_code == 0, done.messages
    return done.printed


@pytest.fixture(scope="module", params=[None, "1-b"], ids=["all runs", "one lineage"])
def attached(made: MadeOutput, request: pytest.FixtureRequest) -> Iterator[tuple[Any, Any]]:
    run_id: str | None = request.param
    options = () if run_id is None else ("--run-id", run_id)
    own = open_query(open_output(made.output.uri), TABLES, run_id, comparisons=COMPARISON_TABLES)
    with duckdb.connect() as connection:
        connection.execute(printed(made.output.uri, *options))
        yield own, connection


def rows(table: Any) -> list[str]:
    return sorted(map(repr, table.to_pylist()))


@pytest.mark.parametrize("view", PUBLIC)
def test_each_view_has_the_same_columns_and_rows(attached: tuple[Any, Any], view: str) -> None:
    own, connection = attached
    expected, found = own.table(f"FROM {view}"), connection.sql(f"FROM {view}").to_arrow_table()
    assert [(field.name, field.type) for field in found.schema] == [(f.name, f.type) for f in expected.schema]
    assert rows(found) == rows(expected)


def test_views_are_filled(made: MadeOutput) -> None:
    own = open_query(open_output(made.output.uri), TABLES, comparisons=COMPARISON_TABLES)
    for view in ("current", "masks", "runs", "lineages", "study_results", "cross_tabulation", "comparison_flips"):
        assert own.table(f"FROM {view}").num_rows > 0, view


def test_an_output_of_schema_version_1_is_attached_too() -> None:
    own = open_query(open_output(str(KEPT)), TABLES, comparisons=COMPARISON_TABLES)
    with duckdb.connect() as connection:
        statements = printed(str(KEPT))
        assert "-- The table of lineages lacks these runs: " in statements
        connection.execute(statements)
        with pytest.raises(duckdb.CatalogException):  # instead of an empty answer
            connection.execute("FROM current")
        for view in ("predictions", "scores", "failures", "cross_tabulation", "study_results", "comparison_flow"):
            assert rows(connection.sql(f"FROM {view}").to_arrow_table()) == rows(own.table(f"FROM {view}")), view


def test_a_later_run_is_found_by_views_that_exist(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.9]], 1)], "1-a")
    write_lineage_tables(made.output, "1-a")
    with duckdb.connect() as connection:
        connection.execute(printed(made.output.uri))
        made.write_run([MadeStudy("a", [[0.8]], 1)], "1-b", "1-a")
        write_lineage_tables(made.output, "1-b")
        assert connection.execute("SELECT lineage, run_id FROM current").fetchall() == [("1-b", "1-b")]


def test_for_s3_the_secret_is_named(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do-not-print-this")
    known = {view.name: view for view, _ in describe_views(TABLES, COMPARISON_TABLES)}
    stored = TableFiles(open_output(made.output.uri), None, lambda *_: None)
    text = "\n".join(create_views_sql("s3://bucket/a prefix", stored, known))
    assert "CREATE SECRET (TYPE s3, PROVIDER credential_chain, SCOPE 's3://bucket/a prefix/')" in text
    assert "read_parquet(['s3://bucket/a prefix/predictions/run_id=*/part-[0-9]*.parquet']" in text
    assert "do-not-print-this" not in text


def test_a_name_that_sql_cannot_have_is_refused(made: MadeOutput) -> None:
    stored = TableFiles(open_output(made.output.uri), None, lambda *_: None)
    with pytest.raises(UsageError, match="rename it"):
        list(create_views_sql("/tmp/a\nb", stored, {}))


@pytest.mark.parametrize("more", [("SELECT 1",), ("--format", "csv"), ("--out", "rows.csv")])
def test_what_print_sql_does_not_take_is_refused(made: MadeOutput, more: tuple[str, ...]) -> None:
    done = diagchd_batch("query", made.output.uri, *more, "--print-sql")
    assert done.exit_code == 2
    assert "--print-sql takes" in done.messages
