"""The declarations of columns, and everything that is derived from them."""

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from diagchd_batch.results.columns import (
    PREDICTION_COLUMNS,
    SCHEMA_VERSION,
    SCORE_COLUMNS,
    SOURCE_COLUMNS,
    schema_version_of,
    score_columns_of_version,
)
from diagchd_batch.results.columns.declaration import Column, arrow_schema
from diagchd_batch.results.shard_writer import ShardWriter
from tools.column_tables import PAGE, with_tables

KEPT = Path(__file__).parents[2] / "data" / "output_f4f89d0" / "output"
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
    assert with_tables(page) == page, "docs/queries.md is out of date: python -m tools.column_tables"


def test_kept_files_have_the_columns_of_their_version() -> None:
    assert KEPT_SHARDS
    for path in KEPT_SHARDS:
        schema = pq.read_schema(path)
        version = schema_version_of(schema.metadata)
        assert version == 1
        assert schema.equals(arrow_schema(score_columns_of_version(version)))


@pytest.mark.skipif(SCHEMA_VERSION != 1, reason="later versions have more columns")
@pytest.mark.parametrize("kept", KEPT_SHARDS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_score_files_are_byte_identical_to_those_of_an_earlier_version(kept: Path, tmp_path: Path) -> None:
    table = pq.read_table(kept)
    written = tmp_path / "shard.parquet"
    with written.open("w+b") as file, ShardWriter(file, table.schema.metadata) as writer:
        writer.write(table.to_pylist())
    if pq.read_metadata(written).created_by != pq.read_metadata(kept).created_by:
        pytest.skip("another version of pyarrow wrote the kept file")
    assert written.read_bytes() == kept.read_bytes()


@pytest.mark.parametrize("stored", [b"0", b"99", b"01", b"", b"one", None])
def test_an_unknown_schema_version_is_none(stored: bytes | None) -> None:
    assert schema_version_of({} if stored is None else {b"diagchd_batch.schema_version": stored}) is None


def test_another_column_needs_only_its_declaration_and_its_computation(tmp_path: Path) -> None:
    """With one more declaration, older outputs are still read and verified, and new ones hold the column."""
    script = Path(__file__).parent / "with_another_column.py"
    done = subprocess.run([sys.executable, script, KEPT, tmp_path], capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().endswith("done")
