"""A result keeps what is known of its columns and its data, and claims nothing about columns that are computed."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch.results import open_output
from diagchd_batch.results.columns import PREDICTIONS, SCHEMA_VERSION
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.query.database import QueryDatabase, open_query
from diagchd_batch.table_format.declared_columns import DESCRIPTION, NULL_WHEN
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

MARK = b"diagchd_batch.data"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    made.write_run([MadeStudy("a", [[0.9]], 1)])
    made.write_run([MadeStudy("a", [[0.8]], 1)], "real", simulated=False)
    return made


@pytest.fixture(scope="module")
def database(made: MadeOutput) -> QueryDatabase:
    return open_query(open_output(made.output.uri), TABLES)


def described(schema: pa.Schema) -> set[str]:
    return {field.name for field in schema if (field.metadata or {}).get(DESCRIPTION)}


@pytest.mark.parametrize("sql", ["FROM predictions", "SELECT p.* FROM Predictions AS p WHERE status = 'ok' LIMIT 1"])
def test_a_view_that_is_passed_on_keeps_all_descriptions(database: QueryDatabase, sql: str) -> None:
    schema = database.table(sql).schema
    assert described(schema) == {*PREDICTIONS.names, "run_id"}
    for field in PREDICTIONS:
        assert schema.field(field.name).metadata == field.metadata


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("status AS state, study_id FROM current", {"state", "study_id"}),
        ("P.study_id, image_id FROM predictions AS p JOIN runs USING (run_id)", {"study_id", "image_id"}),
        ("status, count(*) AS frame FROM predictions GROUP BY status", {"status"}),
        ("max(chd_probability) AS chd_probability FROM predictions", set()),
        ("chd_probability * 2 AS chd_probability FROM predictions", set()),
        ("frame::VARCHAR AS frame, 0::INTEGER AS shard FROM predictions", set()),
        ("status FROM predictions JOIN runs USING (run_id, status)", set()),  # a frame's or a run's?
        ("* EXCLUDE (frame) REPLACE (upper(study_id) AS study_id) FROM lineages JOIN predictions USING (run_id)", None),
        ("* FROM (SELECT reverse(study_id) AS study_id FROM predictions)", set()),
        ("study_id FROM predictions UNION ALL SELECT 'total'", set()),
        ("a AS study_id FROM predictions AS predictions (a, b, c)", set()),
        ("* RENAME (study_id AS image_id, image_id AS study_id) FROM predictions", set()),
        ("COLUMNS('.*_id') FROM predictions", set()),
        ("x AS study_id FROM predictions, unnest([1]) AS numbers (x)", set()),
    ],
)
def test_only_columns_that_are_passed_on_are_described(
    database: QueryDatabase, select: str, expected: set[str] | None
) -> None:
    found = described(database.table(f"SELECT {select}").schema)
    if expected is None:
        assert "study_id" not in found and {"image_id", "lineage", "chd_probability"} <= found
    else:
        assert found == expected


@pytest.mark.parametrize(
    "sql",
    [
        "WITH predictions AS (SELECT reverse(study_id) AS study_id FROM scores) SELECT study_id FROM predictions",
        "PIVOT predictions ON status USING count(*) GROUP BY study_id",
        "DESCRIBE predictions",
        "EXPLAIN SELECT study_id FROM predictions",
    ],
)
def test_other_statements_have_no_descriptions(database: QueryDatabase, sql: str) -> None:
    assert described(database.table(sql).schema) == set()


def test_rows_without_a_value_are_not_claimed_after_a_join(database: QueryDatabase) -> None:
    alone = database.table("SELECT error_code FROM predictions").schema.field("error_code")
    joined = database.table("SELECT error_code FROM runs LEFT JOIN predictions USING (run_id)").schema
    assert NULL_WHEN in alone.metadata
    assert NULL_WHEN not in joined.field("error_code").metadata and described(joined) == {"error_code"}


def test_a_parquet_result_says_that_data_are_simulated(made: MadeOutput, tmp_path: Path) -> None:
    def metadata(name: str, sql: str, *options: str) -> pa.Schema:
        done = diagchd_batch("query", made.output.uri, sql, "--out", str(tmp_path / name), *options)
        assert done.exit_code == 0, done.messages
        return pq.read_schema(tmp_path / name)

    whole = metadata("whole.parquet", "FROM predictions")
    assert whole.metadata[MARK] == b"SIMULATED"
    assert whole.metadata[b"diagchd_batch.schema_version"] == str(SCHEMA_VERSION).encode()
    assert described(whole) == {*PREDICTIONS.names, "run_id"}
    assert metadata("one.parquet", "SELECT 1 AS n FROM current", "--run-id", RUN_ID).metadata[MARK] == b"SIMULATED"
    assert MARK not in metadata("real.parquet", "FROM predictions", "--run-id", "real").metadata
    assert MARK not in (metadata("codes.parquet", "FROM failure_codes").metadata or {})
