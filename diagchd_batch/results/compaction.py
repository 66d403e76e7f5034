"""Derives a run's predictions from its score files: the same rows without the masks, in a few large files."""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.output_layout import predictions_file
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import (
    PREDICTION_COLUMNS,
    PREDICTIONS,
    RUN_COLUMN,
    add_run,
    parquet_options,
    with_run,
)
from diagchd_batch.results.counts import RowCounter, RunCounts
from diagchd_batch.results.datasets import damage_as_fault, predictions_keys, read_scores, shard_of
from diagchd_batch.storage import Store

ROWS_PER_GROUP = 65_536
ROWS_PER_PART = 16 * ROWS_PER_GROUP

_SHARDS_READ_AHEAD = 16


def compact_predictions(
    storage: Store, run_id: str, metadata: Mapping[bytes, bytes], *, rows_per_part: int = ROWS_PER_PART
) -> RunCounts:
    """Replace a run's predictions by those of the shards that are committed now, and count their rows.

    Each part is replaced atomically. Then parts that an earlier, longer derivation left are deleted. Memory holds one
    row group and a few shards that are read ahead.

    Args:
        storage: The output.
        run_id: The run.
        metadata: The metadata of the run's tables (`columns.table_metadata`).
        rows_per_part: Rows of each file but the last.

    Returns:
        The counts over all rows.

    Raises:
        RunFault: A score file cannot be read.
    """
    counter = RowCounter()
    with scratch_file() as file, _Parts(storage, run_id, metadata, rows_per_part, file) as parts:
        for group in _row_groups(_rows(storage, run_id, counter)):
            parts.write(group)
    for key in predictions_keys(storage, run_id):
        if key not in parts.written:
            storage.delete(key)
    return counter.result()


class _Parts:
    """Writes row groups to one part after the other, each first to `file`. A part is stored when it is full."""

    def __init__(
        self, storage: Store, run_id: str, metadata: Mapping[bytes, bytes], rows_per_part: int, file: BinaryIO
    ) -> None:
        self._storage = storage
        self._run_id = run_id
        self._schema = with_run(PREDICTIONS.with_metadata(dict(metadata)))
        self._rows_per_part = rows_per_part
        self._file = file
        self._writer: pq.ParquetWriter | None = None
        self._n_rows = 0
        self.written: list[str] = []

    def __enter__(self) -> "_Parts":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and self._writer is not None:
            self._store()

    def write(self, group: pa.Table) -> None:
        with scratch_faults():
            if self._writer is None:
                options = parquet_options((RUN_COLUMN, *PREDICTION_COLUMNS), ROWS_PER_GROUP)
                self._writer = pq.ParquetWriter(self._file, self._schema, **options)
            self._writer.write_table(add_run(group, self._schema), row_group_size=ROWS_PER_GROUP)
        self._n_rows += group.num_rows
        if self._n_rows >= self._rows_per_part:
            self._store()

    def _store(self) -> None:
        assert self._writer is not None
        with scratch_faults():
            self._writer.close()
        self._writer, self._n_rows = None, 0
        key = predictions_file(self._run_id, len(self.written))
        self._storage.replace(key, self._file)
        self._file.truncate(0)
        self._file.seek(0)
        self.written.append(key)


def _rows(storage: Store, run_id: str, counter: RowCounter) -> Iterator[pa.Table]:
    """Read the rows, in schema PREDICTIONS, shard by shard."""
    columns = [name for name in PREDICTIONS.names if name != "shard"]
    scanner = read_scores(storage, run_id).scanner(
        columns=columns, fragment_readahead=_SHARDS_READ_AHEAD, batch_readahead=_SHARDS_READ_AHEAD
    )
    with damage_as_fault(run_id):
        for batch in scanner.scan_batches():
            shard = shard_of(batch.fragment.path)
            rows = batch.record_batch
            counter.add(rows, shard)
            yield pa.table([*rows.columns, pa.repeat(pa.scalar(shard, pa.int32()), rows.num_rows)], schema=PREDICTIONS)


def _row_groups(tables: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Return the same rows in tables of ROWS_PER_GROUP, so that files do not depend on the timing of reads."""
    held: list[pa.Table] = []
    n_held = 0
    for table in tables:
        held.append(table)
        n_held += table.num_rows
        if n_held >= ROWS_PER_GROUP:
            joined = pa.concat_tables(held).combine_chunks()
            while joined.num_rows >= ROWS_PER_GROUP:
                yield joined.slice(0, ROWS_PER_GROUP)
                joined = joined.slice(ROWS_PER_GROUP)
            held, n_held = [joined], joined.num_rows
    if n_held:
        yield pa.concat_tables(held).combine_chunks()
