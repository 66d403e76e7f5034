"""Writes a shard's Parquet file, row group by row group."""

import os
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.results.columns import RUN_COLUMN, SCORE_COLUMNS, SCORES, add_run, parquet_options, with_run
from diagchd_batch.results.mask_codec import MASK_ENCODER_VERSION

MASK_ENCODER_KEY = b"diagchd_batch.mask_encoder"
"""Metadata key of a score file: the version of the encoder of its masks. Files without it have version 1."""

ROWS_PER_GROUP = 40
"""Rows of a row group. A reader of one mask fetches the footer and one group: 0.25 MB of a shard of 512 images at 3.6
kB a mask. With fewer rows the footer, which names the place of every group, would outgrow what is saved."""


class ShardWriter:
    """Collects rows into row groups of `ROWS_PER_GROUP`, whatever the sizes of the calls, and writes them to `file`.

    The bytes depend only on the rows, their order, the metadata and the version of pyarrow. If the block ends with an
    exception, the file is emptied, because it is unfinished. It stays open in either case.

    Args:
        file: The file to write, open and empty.
        metadata: The file's key-value metadata (`columns.shard_metadata`), which names the run.
    """

    def __init__(self, file: BinaryIO, metadata: Mapping[bytes, bytes]) -> None:
        self._file = file
        self._schema = with_run(
            SCORES.with_metadata({**metadata, MASK_ENCODER_KEY: str(MASK_ENCODER_VERSION).encode()})
        )
        self._columns = frozenset(SCORES.names)
        self._rows: list[dict[str, Any]] = []
        self._writer = pq.ParquetWriter(
            file, self._schema, **parquet_options((RUN_COLUMN, *SCORE_COLUMNS), ROWS_PER_GROUP)
        )
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
        """Add rows.

        Args:
            rows: Rows by column name. A missing column is null.

        Raises:
            ValueError: A row has a column that is not declared.
        """
        for row in rows:
            if not self._columns.issuperset(row):
                raise ValueError(f"no such column in the schema: {sorted(set(row) - self._columns)}")
            self._rows.append(dict(row))
            if len(self._rows) == ROWS_PER_GROUP:
                self._write_group(self._rows)
                self._rows = []

    def _write_group(self, rows: list[dict[str, Any]]) -> None:
        table = add_run(pa.Table.from_pylist(rows, schema=SCORES), self._schema)
        self._writer.write_table(table, row_group_size=ROWS_PER_GROUP)
        self.n_rows += len(rows)

    def _abandon(self) -> None:
        try:
            self._writer.close()
        finally:
            os.ftruncate(self._file.fileno(), 0)  # frees a full disk, so that what Python still buffers can be written
            self._file.truncate(0)
