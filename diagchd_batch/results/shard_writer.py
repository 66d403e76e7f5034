"""Writes a shard's Parquet file, row group by row group, on the local disk."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.results.columns import MASK_COLUMNS, SCORES

ROWS_PER_GROUP = 256
"""Rows of a row group: what is held in memory (some kB a mask), and what a reader of one mask fetches."""

SHARD_METADATA_KEY = b"diagchd_batch.shard"


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Settings shared by all tables of an output; page checksums let a reader notice damaged bytes."""
    paths = {field.name: _leaf_path(field) for field in schema}
    masks = [path for name, path in paths.items() if name in MASK_COLUMNS]
    return {
        "compression": {path: "none" if path in masks else "zstd" for path in paths.values()},
        "use_dictionary": [paths[field.name] for field in schema if _repeats(field)],
        "write_statistics": [path for path in paths.values() if path not in masks],
        "write_page_checksum": True,
    }


class ShardWriter:
    """Collects rows into row groups of `ROWS_PER_GROUP`, whatever the sizes of the calls, and writes them to `path`.

    The bytes depend on the rows, their order, the metadata and the version of pyarrow alone. If the block is left by
    an exception the unfinished file is removed.
    """

    def __init__(self, path: Path, metadata: Mapping[bytes, bytes], schema: pa.Schema = SCORES) -> None:
        self._path = path
        self._schema = schema.with_metadata(dict(metadata))
        self._columns = frozenset(schema.names)
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(path, self._schema, **parquet_options(schema))
        self.n_rows = 0

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if kind is None and self._rows:
                self._write_group(self._rows)
        except BaseException:
            self._abandon()
            raise
        if kind is None:
            self._writer.close()
        else:
            self._abandon()

    def write(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Adds rows: columns left out are null; a column that the schema does not have is a ValueError."""
        for row in rows:
            if not self._columns.issuperset(row):
                raise ValueError(f"no such column in the schema: {sorted(set(row) - self._columns)}")
            self._rows.append(dict(row))
            if len(self._rows) == ROWS_PER_GROUP:
                self._write_group(self._rows)
                self._rows = []

    def _write_group(self, rows: list[dict[str, Any]]) -> None:
        self._writer.write_table(pa.Table.from_pylist(rows, schema=self._schema), row_group_size=ROWS_PER_GROUP)
        self.n_rows += len(rows)

    def _abandon(self) -> None:
        self._writer.close()
        self._path.unlink(missing_ok=True)


def shard_metadata(table_metadata: Mapping[bytes, bytes], shard: int) -> dict[bytes, bytes]:
    """A shard file's key-value metadata: its table's, and which shard it is."""
    return {**table_metadata, SHARD_METADATA_KEY: str(shard).encode()}


def _leaf_path(field: pa.Field) -> str:
    return f"{field.name}.list.element" if pa.types.is_list(field.type) else field.name


def _repeats(field: pa.Field) -> bool:
    """Whether a column holds few distinct values: enums, flags, and the subject and study of consecutive rows."""
    return (
        pa.types.is_dictionary(field.type)
        or pa.types.is_list(field.type)
        or field.name in ("subject_id", "study_id", "source_frames", "source_height", "source_width")
    )
