"""The declarations of columns, and everything that is derived from them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from diagchd_batch.results.columns import (
    PREDICTION_COLUMNS,
    SCORE_COLUMNS,
    SOURCE_COLUMNS,
    schema_version_of,
    score_columns_of_version,
)
from diagchd_batch.results.columns.declaration import Column, arrow_schema
from diagchd_batch.results.output import open_output
from diagchd_batch.results.shard_writer import ShardWriter
from tests.unit.results.made_run import make_run
from tools.column_tables import PAGE, with_tables

KEPT = Path(__file__).parents[3] / "data" / "output_f4f89d0" / "output"
KEPT_SHARDS = sorted((KEPT / "scores").rglob("*.parquet"))


@pytest.mark.parametrize("columns", [SCORE_COLUMNS, PREDICTION_COLUMNS, SOURCE_COLUMNS])
def test_declarations_are_complete(columns: tuple[Column, ...]) -> None:
    names = [column.name for column in columns]
    assert len(set(names)) == len(names)
    for column in columns:
        assert column.description and not column.description.endswith("."), column.name
        assert column.nullable or column.since == 1, f"{column.name}: older tables are read as if it were null"


def test_the_page_has_the_declared_columns() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "docs/tables.md is out of date: python -m tools.column_tables"


def test_kept_files_have_the_columns_of_their_version() -> None:
    assert KEPT_SHARDS
    for path in KEPT_SHARDS:
        schema = pq.read_schema(path)
        version = schema_version_of(schema.metadata)
        assert version == 1
        assert schema.equals(arrow_schema(score_columns_of_version(version)))


@pytest.mark.parametrize("kept", KEPT_SHARDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_rows_of_version_1_stay_equal_when_they_are_written_anew(kept: Path, tmp_path: Path) -> None:
    rows = pq.read_table(kept, partitioning=None)
    written = tmp_path / "shard.parquet"
    with written.open("w+b") as file, ShardWriter(file, rows.schema.metadata) as writer:
        writer.write(rows.to_pylist())
    again = pq.read_table(written).select(rows.column_names)
    plain = pa.schema([field.with_type(_plain_type(field.type)) for field in rows.schema])
    assert again.cast(plain).equals(rows.cast(plain))


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if isinstance(kind, pa.DictionaryType) else kind


def test_a_mix_of_versions_can_be_grouped_sorted_and_joined(tmp_path: Path) -> None:
    """Runs of schema version 1 and of today lie in one output, with failed files of several codes in both."""
    shutil.copytree(KEPT, tmp_path / "output", ignore=shutil.ignore_patterns("private"))
    make_run(tmp_path)
    output = open_output(str(tmp_path / "output"))
    for rows in (output.predictions().to_table(), output.scores().to_table()):
        assert not [field for field in rows.schema if pa.types.is_dictionary(field.type)]
        groups = rows.group_by(["run_id", "status", "error_code"]).aggregate([([], "count_all")])
        assert len(set(groups["run_id"].to_pylist())) == 4
        assert {"decode_error", "frame_not_found", None} <= set(groups["error_code"].to_pylist())
        ordered = rows.sort_by([("status", "ascending"), ("error_code", "ascending")])["error_code"].to_pylist()
        n_failed = rows.filter(pc.equal(rows["status"], "failed")).num_rows
        assert n_failed and ordered[:n_failed] == sorted(ordered[:n_failed])
        failed = rows.filter(pc.equal(rows["status"], "failed")).select(["run_id", "image_id", "error_code"])
        assert failed.join(rows.select(["run_id", "image_id", "status"]), ["run_id", "image_id"]).num_rows >= n_failed
        assert output.predictions().to_table(filter=ds.field("error_code") == "decode_error").num_rows > 2


@pytest.mark.parametrize("stored", [b"0", b"99", b"01", b"", b"one", None])
def test_an_unknown_schema_version_is_none(stored: bytes | None) -> None:
    assert schema_version_of({} if stored is None else {b"diagchd_batch.schema_version": stored}) is None


def test_another_column_needs_only_its_declaration_and_its_computation(tmp_path: Path) -> None:
    """With one more declaration, older outputs are still read and verified, and new ones hold the column."""
    script = Path(__file__).parent / "with_another_column.py"
    done = subprocess.run([sys.executable, script, KEPT, tmp_path], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")
