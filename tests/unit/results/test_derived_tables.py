"""The Parquet tables of lineages give the rows that the view `current` gives, to any engine that can join."""

import io
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.results.derived_tables import write_lineage_tables, write_run_table
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import read_run_record, write_run_record
from tests.support.queries.queries_page import file_statements, filled_in, pandas_blocks
from tests.unit.results.made_lineage import MadeLineage
from tests.unit.results.made_run import MadePlan, run_record

KEY = ("run_id", "image_id", "frame")
Current = set[tuple[str, str, int | None]]

# Rows of five runs. Runs 2 and 3 continue run 1, run 4 continues run 3, and the last one stands alone.
PARENTS = {"run-1": None, "run-2": "run-1", "run-3": "run-1", "run-4": "run-3", "alone": None}
ROWS: dict[str, list[tuple[str, int | None, str]]] = {
    "run-1": [("a", 0, "ok"), ("a", 1, "failed"), ("b", None, "failed"), ("c", 0, "ok")],
    "run-2": [("a", 1, "ok"), ("b", None, "failed")],
    "run-3": [("a", 0, "failed"), ("a", 1, "failed"), ("b", 0, "ok"), ("b", 1, "ok"), ("d", None, "failed")],
    "run-4": [("b", None, "failed"), ("c", 0, "ok"), ("d", 0, "failed")],
    "alone": [("a", 0, "ok"), ("e", None, "failed")],
}
# Worked out by hand: (run, image, frame) of the rows that count in the lineage that ends with each run.
COUNTING: dict[str, Current] = {
    "run-1": {("run-1", "a", 0), ("run-1", "a", 1), ("run-1", "b", None), ("run-1", "c", 0)},
    "run-2": {("run-1", "a", 0), ("run-2", "a", 1), ("run-2", "b", None), ("run-1", "c", 0)},
    "run-3": {
        *{("run-1", "a", 0), ("run-3", "a", 1), ("run-3", "b", 0), ("run-3", "b", 1), ("run-1", "c", 0)},
        ("run-3", "d", None),
    },
    "run-4": {
        *{("run-1", "a", 0), ("run-3", "a", 1), ("run-3", "b", 0), ("run-3", "b", 1), ("run-4", "c", 0)},
        *{("run-3", "d", None), ("run-4", "d", 0)},
    },
    "alone": {("alone", "a", 0), ("alone", "e", None)},
}
# Worked out by hand: the rows that stop counting with each run.
SUPERSEDED: dict[str, set[tuple[str, str, int]]] = {
    "run-1": set(),
    "run-2": {("run-1", "a", 1), ("run-1", "b", -1)},
    "run-3": {("run-1", "a", 1), ("run-3", "a", 0), ("run-1", "b", -1)},
    "run-4": {("run-4", "b", -1), ("run-1", "c", 0)},
    "alone": set(),
}


def _row(image: str, frame: int | None, status: str) -> dict[str, Any]:
    row = {"subject_id": "p-1", "study_id": f"s-{image}", "image_id": image, "frame": frame, "shard": 0}
    return {**row, "status": status, "error_code": None if status == "ok" else "too_large"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeLineage:
    made = MadeLineage(tmp_path_factory.mktemp("lineages"))
    for run_id, parent in PARENTS.items():
        record = run_record(MadePlan([]), run_id=run_id, parent_run_id=parent)
        write_run_record(made.output.storage, made.output.private, record)
        made.write_predictions(run_id, [_row(*row) for row in ROWS[run_id]])
        write_lineage_tables(made.output.storage, run_id)
    return made


def _place(made: MadeLineage, name: str) -> Path:
    return Path(made.output.storage.uri) / name


def with_arrow(root: Path, lineage: str) -> Current:
    runs = pq.read_table(root / "lineages", filters=pc.field("lineage") == lineage)["run_id"]
    rows = pq.read_table(root / "predictions", columns=list(KEY))
    rows = rows.set_column(0, "run_id", rows["run_id"].cast(pa.string())).filter(pc.field("run_id").isin(runs))
    rows = rows.append_column("frame_key", pc.fill_null(rows["frame"], -1))
    gone = pq.read_table(root / "superseded", filters=pc.field("superseded_by").isin(runs))
    kept = rows.join(gone, ["run_id", "image_id", "frame_key"], join_type="left anti")
    return {tuple(row[name] for name in KEY) for row in kept.to_pylist()}


def with_pandas(root: Path, lineage: str) -> Current:
    variables: dict[str, Any] = {}
    exec(filled_in(pandas_blocks()["counting"], OUTPUT=str(root), RUN_A=lineage), variables)
    kept = variables["counting"].itertuples()
    return {(row.run_id, row.image_id, None if pd.isna(row.frame) else int(row.frame)) for row in kept}


def with_duckdb(root: Path, lineage: str) -> Current:
    with duckdb.connect() as connection:
        for table, files in {"predictions": "*/*", "lineages": "*", "superseded": "*"}.items():
            connection.execute(f"CREATE VIEW {table} AS FROM '{root}/{table}/{files}.parquet'")
        rows = connection.sql(filled_in(file_statements()["counting"], RUN_A=lineage))
        return set(rows.select("run_id, image_id, frame").fetchall())


@pytest.mark.parametrize("lineage", PARENTS)
@pytest.mark.parametrize("engine", [with_arrow, with_pandas, with_duckdb])
def test_every_engine_finds_the_rows_that_count(made: MadeLineage, engine: Any, lineage: str) -> None:
    assert engine(Path(made.output.storage.uri), lineage) == COUNTING[lineage]


@pytest.mark.parametrize("lineage", PARENTS)
def test_our_own_reader_finds_them_too(made: MadeLineage, lineage: str) -> None:
    sql = f"SELECT run_id, image_id, frame FROM lineage_predictions WHERE lineage = '{lineage}'"
    for database in (open_query(made.output, {}), open_query(made.output, {}, lineage)):
        assert {tuple(row.values()) for row in database.table(sql).to_pylist()} == COUNTING[lineage]
    current = made.output.current_predictions(lineage)
    assert set(zip(*(current[name].to_pylist() for name in KEY), strict=True)) == COUNTING[lineage]
    newest = set(made.output.current_predictions()["lineage"].to_pylist())
    assert newest == {"run-2", "run-4", "alone"}


def test_each_run_names_what_it_superseded_once(made: MadeLineage) -> None:
    for run_id, expected in SUPERSEDED.items():
        table = pq.read_table(_place(made, output_layout.superseded_file(run_id)))
        assert set(table["superseded_by"].to_pylist()) <= {run_id}
        rows = table.drop_columns("superseded_by").to_pylist()
        assert len(rows) == len(expected) and {tuple(row.values()) for row in rows} == expected


def test_the_table_of_lineages_equals_the_view(made: MadeLineage) -> None:
    order = [("lineage", "ascending"), ("generation", "ascending")]
    stored = pq.read_table(_place(made, "lineages")).sort_by(order)
    assert stored.equals(open_query(made.output, {}).table("FROM lineages").sort_by(order))
    assert stored.filter(pc.field("lineage") == "run-4")["run_id"].to_pylist() == ["run-1", "run-3", "run-4"]


def test_the_table_of_runs_equals_the_view(made: MadeLineage) -> None:
    stored = pq.read_table(_place(made, "run_table")).sort_by("run_id")
    assert stored.equals(open_query(made.output, {}).table("FROM runs").sort_by("run_id"))
    assert dict(zip(stored["run_id"].to_pylist(), stored["parent_run_id"].to_pylist(), strict=True)) == PARENTS
    assert stored["schema_version"].to_pylist() == [1] * 5
    assert stored["versions"].to_pylist()[0][0][0] == "numpy"


def test_a_run_that_changes_brings_the_tables_of_those_that_continue_it_up_to_date(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    for run_id in ("run-1", "run-3", "run-4"):
        record = run_record(MadePlan([]), run_id=run_id, parent_run_id=PARENTS[run_id])
        write_run_record(made.output.storage, made.output.private, record)
        made.write_predictions(run_id, [_row(*row) for row in ROWS[run_id]])
    write_lineage_tables(made.output.storage, "run-4")  # earlier versions left the other runs without tables
    assert with_duckdb(tmp_path / "out", "run-3") == COUNTING["run-3"]
    made.write_predictions("run-3", [_row("c", 0, "failed"), _row("d", 0, "ok")])
    write_lineage_tables(made.output.storage, "run-3")
    expected = {("run-1", "a", 0), ("run-1", "a", 1), ("run-1", "b", None), ("run-1", "c", 0)}
    assert with_duckdb(tmp_path / "out", "run-3") == {*expected, ("run-3", "d", 0)}
    expected = {("run-1", "a", 0), ("run-1", "a", 1), ("run-4", "b", None), ("run-4", "c", 0)}
    assert with_duckdb(tmp_path / "out", "run-4") == {*expected, ("run-3", "d", 0)}


def test_an_unfinished_run_has_a_row_but_ends_no_lineage(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    record = run_record(MadePlan([]), run_id="run-1", status="running", counts=None, exit_code=None, ended_at=None)
    write_run_table(made.output.storage, record)
    (row,) = pq.read_table(tmp_path / "out" / "run_table").to_pylist()
    assert (row["run_id"], row["status"], row["ended_at"], row["n_rows"]) == ("run-1", "running", None, None)
    assert not list(made.output.storage.list(output_layout.LINEAGES_PREFIX))


def test_a_run_without_predictions_is_in_its_lineage(tmp_path: Path) -> None:
    """A correction of labels is a run without images."""
    made = MadeLineage(tmp_path)
    for run_id, parent in (("run-1", None), ("corrected", "run-1")):
        record = run_record(MadePlan([]), run_id=run_id, parent_run_id=parent)
        write_run_record(made.output.storage, made.output.private, record)
    made.write_predictions("run-1", [_row(*row) for row in ROWS["run-1"]])
    write_lineage_tables(made.output.storage, "corrected")
    assert with_duckdb(tmp_path / "out", "corrected") == COUNTING["run-1"]


def test_damaged_predictions_are_a_fault_of_the_run(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    for run_id, parent in (("run-1", None), ("run-2", "run-1")):
        record = run_record(MadePlan([]), run_id=run_id, parent_run_id=parent)
        write_run_record(made.output.storage, made.output.private, record)
        made.write_predictions(run_id, [_row(*row) for row in ROWS[run_id]])
    made.output.storage.replace(output_layout.predictions_file("run-1", 0), b"PAR1 no table PAR1")
    with pytest.raises(RunFault, match="the command `verify`"):
        write_lineage_tables(made.output.storage, "run-2")
    assert made.output.storage.stat(output_layout.lineage_file("run-2")) is None


def test_tables_name_their_run_and_their_schema(made: MadeLineage) -> None:
    record = read_run_record(made.output.storage, "run-2")
    for key in ("run_table/run-2.parquet", "lineages/run-2.parquet", "superseded/run-2.parquet"):
        metadata = pq.read_schema(io.BytesIO(made.output.storage.read(key))).metadata
        assert metadata[b"diagchd_batch.run_id"] == b"run-2"
        assert metadata[b"diagchd_batch.fingerprint"] == record.fingerprint.encode()
        assert metadata[b"diagchd_batch.data"] == b"SIMULATED"
