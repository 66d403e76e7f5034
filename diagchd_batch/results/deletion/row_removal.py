"""Writes a Parquet file again without some of its rows, in the same schema and with the same settings."""

import io
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.results.columns import (
    PREDICTION_COLUMNS,
    RUN_COLUMN,
    SCORE_COLUMNS,
    SOURCE_COLUMNS,
    parquet_options,
)
from diagchd_batch.results.columns.declaration import arrow_schema
from diagchd_batch.sources.seekable_file import SeekableFile
from diagchd_batch.storage import Store

_READ_AHEAD_BYTES = 1 << 20
_DECLARED = (
    (RUN_COLUMN, *SCORE_COLUMNS),
    (RUN_COLUMN, *PREDICTION_COLUMNS),
    SOURCE_COLUMNS,
)


@contextmanager
def opened_table(store: Store, key: str) -> Iterator[pq.ParquetFile]:
    """Open a Parquet file of a store for as long as the block lasts.

    Args:
        store: The store.
        key: The file's key.

    Yields:
        The open file.

    Raises:
        RunFault: The file cannot be read.
    """
    info = store.stat(key)
    try:
        stored = SeekableFile(store, key, info.size_bytes if info else None)
        with pq.ParquetFile(io.BufferedReader(stored, _READ_AHEAD_BYTES), pre_buffer=False) as file:
            yield file
    except (pa.ArrowException, ItemError) as error:
        raise RunFault(
            f"{key} cannot be read ({error}), so it cannot be searched; the command `verify` says what to do"
        ) from error


def row_groups(file: pq.ParquetFile, columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Yield the row groups of a file, one at a time.

    Args:
        file: The file.
        columns: The names of the columns to read; all by default.
    """
    for number in range(file.num_row_groups):
        yield file.read_row_group(number, columns=columns, use_threads=False)


def write_without(
    file: pq.ParquetFile,
    removed: Callable[[pa.Table], pa.ChunkedArray],
    out: BinaryIO,
    *,
    metadata: Mapping[bytes, bytes] | None = None,
    change: Callable[[pa.Table], pa.Table] = lambda rows: rows,
    keep_empty_groups: bool = False,
) -> Iterator[pa.Table]:
    """Write a table without some rows, and yield the rows that each row group loses.

    The result depends only on the file and on the rows that are removed.

    Args:
        file: The table.
        removed: Returns for the rows of a row group which of them are removed, without nulls.
        out: The new file, open and empty.
        metadata: The key-value metadata of the new file; that of the old one by default.
        change: Changes the rows that stay.
        keep_empty_groups: Whether a row group that loses all rows stays as an empty one.
    """
    schema = file.schema_arrow if metadata is None else file.schema_arrow.with_metadata(dict(metadata))
    with pq.ParquetWriter(out, schema, **_options(file)) as writer:
        for rows in row_groups(file):
            is_removed = removed(rows)
            kept = change(rows.filter(pc.invert(is_removed)))
            if kept.num_rows or keep_empty_groups:
                writer.write_table(kept.cast(schema), row_group_size=max(1, kept.num_rows))
            yield rows.filter(is_removed)


def _options(file: pq.ParquetFile) -> dict[str, Any]:
    """Return the settings that a table is declared with, or those that its columns show."""
    for columns in _DECLARED:
        if file.schema_arrow.equals(arrow_schema(columns)):
            rows_per_group = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            return parquet_options(columns, max(rows_per_group, default=1))
    chunks = [
        file.metadata.row_group(group).column(number)
        for group in range(file.num_row_groups)
        for number in range(file.metadata.num_columns)
    ]
    codecs = {chunk.path_in_schema: chunk.compression.lower().replace("uncompressed", "none") for chunk in chunks}
    return {
        "compression": codecs or "zstd",
        "use_dictionary": sorted({chunk.path_in_schema for chunk in chunks if chunk.has_dictionary_page}),
        "write_statistics": sorted({chunk.path_in_schema for chunk in chunks if chunk.is_stats_set}),
        "write_page_checksum": True,
    }
