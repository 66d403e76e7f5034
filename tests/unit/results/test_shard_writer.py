"""The contents, the determinism and the Parquet layout of shard files."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.results.columns import MASK_COLUMNS, SCORES, shard_metadata, table_metadata, with_run
from diagchd_batch.results.shard_writer import ROWS_PER_GROUP, ShardWriter
from tests.unit.results.made_run import failed_row, planned_image, scored_row, stored_columns

METADATA = shard_metadata(table_metadata(run_id="r", fingerprint="f", simulated=False), 7)


def many_rows(n_rows: int) -> list[dict[str, Any]]:
    rows = []
    for position in range(n_rows):
        image = planned_image(7, position, mask_uri="m.png" if position % 3 == 0 else None)
        rows.append(failed_row(image) if position % 5 == 0 else scored_row(image, 0, 1, position))
    return rows


ROWS = many_rows(2 * ROWS_PER_GROUP + 10)


def write(path: Path, batches: list[list[dict[str, Any]]]) -> bytes:
    with path.open("w+b") as file, ShardWriter(file, METADATA) as writer:
        for batch in batches:
            writer.write(batch)
    return path.read_bytes()


def test_rows_come_back(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [ROWS])
    table = pq.read_table(tmp_path / "a.parquet")
    assert table.schema.equals(with_run(SCORES))
    assert set(table["run"].to_pylist()) == {"r"}
    assert str(table.select(SCORES.names).to_pylist()) == str(
        stored_columns(ROWS)
    )  # as text, because a distance can be NaN


@settings(max_examples=8, deadline=None)
@given(cuts=st.lists(st.integers(0, len(ROWS)), max_size=12))
def test_bytes_do_not_depend_on_how_rows_arrive(tmp_path_factory: pytest.TempPathFactory, cuts: list[int]) -> None:
    directory = tmp_path_factory.mktemp("cuts")
    bounds = [0, *sorted(cuts), len(ROWS)]
    batches = [ROWS[start:end] for start, end in pairwise(bounds)]
    assert write(directory / "a.parquet", batches) == write(directory / "b.parquet", [ROWS])


def test_parquet_is_as_the_contract_says(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [ROWS])
    file = pq.ParquetFile(tmp_path / "a.parquet")
    assert [file.metadata.row_group(k).num_rows for k in range(3)] == [ROWS_PER_GROUP, ROWS_PER_GROUP, 10]
    assert dict(file.schema_arrow.metadata) == {**METADATA, b"diagchd_batch.mask_encoder": b"2"}
    columns = [file.metadata.row_group(0).column(k) for k in range(file.metadata.num_columns)]
    for column in columns:
        is_mask = column.path_in_schema in MASK_COLUMNS
        assert column.compression == ("UNCOMPRESSED" if is_mask else "ZSTD")
    for name in ("status", "error_code", "reference_status"):
        assert file.schema_arrow.field(name).type == pa.string()
        (stored,) = [column for column in columns if column.path_in_schema == name]
        assert "RLE_DICTIONARY" in stored.encodings


def test_no_rows(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [])
    assert pq.read_table(tmp_path / "a.parquet").num_rows == 0


def test_unknown_columns_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(ValueError, match="probabilty"), path.open("w+b") as file, ShardWriter(file, METADATA) as writer:
        writer.write([{**ROWS[0], "probabilty": 0.5}])


def test_nothing_remains_of_an_unfinished_file(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    with path.open("w+b") as file, pytest.raises(KeyboardInterrupt), ShardWriter(file, METADATA) as writer:
        writer.write(ROWS)
        raise KeyboardInterrupt
    assert path.read_bytes() == b""
    with path.open("w+b") as file, pytest.raises(pa.ArrowInvalid), ShardWriter(file, METADATA) as writer:
        writer.write([{"study_id": "s-1"}])  # no subject, no image
    assert path.read_bytes() == b""
