"""The tables of an output as Arrow datasets, and which runs and shards it has. Imports neither Keras nor Ray."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, RunFault, UsageError
from diagchd_batch.output_layout import PREDICTIONS_FILE, SHARD_FILE
from diagchd_batch.results.columns import PREDICTIONS, SCORES
from diagchd_batch.storage import Store
from diagchd_batch.table_format.declared_columns import DeclaredColumn

RUN_ID = DeclaredColumn("run_id", pa.string(), "id of the run").field
"""The column that a dataset has besides its table's own: the run of a row, from the directory's name."""

COMPARE_TO = DeclaredColumn("compare_to", pa.string(), "id of the first run, which run `run_id` is compared with").field
"""The column that a table of comparisons has besides, from the name of the directory below that of the run."""

_END_BYTES = 64 << 10
"""What is read of the end of a table in the hope that the footer is in it."""

_FOOTER_END_BYTES = 8
"""A Parquet file ends with the length of its footer in four bytes, and four letters."""


@dataclass
class OutputTrees:
    """The two trees of an output: the pseudonymised tables, and the private tree."""

    storage: Store
    private: Store

    def run_ids(self) -> list[str]:
        """Return the ids of all runs of which the output holds a record or a score file, in ascending order."""
        prefixes = (output_layout.RUNS_PREFIX, output_layout.SCORES_PREFIX)
        keys = (info.key for prefix in prefixes for info in self.storage.list(prefix))
        found = (output_layout.RUN_RECORD.fullmatch(key) or SHARD_FILE.fullmatch(key) for key in keys)
        return sorted({match["run_id"] for match in found if match})

    def planned_run_ids(self) -> list[str]:
        """Return the ids of all runs whose frozen plan is in the private tree, in ascending order."""
        keys = (info.key for info in self.private.list(output_layout.RUNS_PREFIX))
        return sorted(match["run_id"] for match in map(output_layout.PLAN_HEAD.fullmatch, keys) if match)


def committed_shards(storage: Store, run_id: str) -> set[int]:
    """Return the numbers of a run's committed shards.

    Args:
        storage: The output.
        run_id: The run's id.
    """
    return {number for number, _ in _numbered(storage, output_layout.scores_prefix(run_id), SHARD_FILE)}


def read_scores(storage: Store, run_id: str | None = None) -> ds.Dataset:
    """Return committed score files, masks included, ordered by shard.

    Args:
        storage: The output.
        run_id: The run; all runs by default.

    Returns:
        Schema SCORES and `run_id`. Columns that an older file does not have are null.
    """
    prefix = output_layout.SCORES_PREFIX if run_id is None else output_layout.scores_prefix(run_id)
    return _dataset(storage, prefix, SHARD_FILE, SCORES)


def read_predictions(storage: Store, run_id: str | None = None) -> ds.Dataset:
    """Return predictions in the order of the scores.

    Args:
        storage: The output.
        run_id: The run; all runs that have predictions by default.

    Returns:
        Schema PREDICTIONS and `run_id`. Columns that an older file does not have are null.
    """
    prefix = output_layout.PREDICTIONS_PREFIX if run_id is None else output_layout.predictions_prefix(run_id)
    return _dataset(storage, prefix, PREDICTIONS_FILE, PREDICTIONS)


@contextmanager
def damage_as_fault(run_id: str) -> Iterator[None]:
    """Return a context manager that raises RunFault in place of pyarrow's errors about a table that cannot be read.

    Args:
        run_id: The id of the run whose table is read, for the message.

    Raises:
        RunFault: A table of the run is missing or damaged.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise RunFault(
            f"a table of run {run_id} cannot be read ({error}); run the command `verify` on this output"
        ) from error


def predictions_keys(storage: Store, run_id: str) -> list[str]:
    """Return the keys of a run's predictions, in their order.

    Args:
        storage: The output.
        run_id: The run's id.
    """
    return [key for _, key in _numbered(storage, output_layout.predictions_prefix(run_id), PREDICTIONS_FILE)]


def foreign_tables(storage: Store, run_id: str) -> list[str]:
    """Return the keys of Parquet files that lie among a run's scores and predictions but do not belong to it.

    This package ignores such files, but a program that reads the archive by a glob takes them for results.

    Args:
        storage: The output.
        run_id: The run's id.

    Returns:
        The keys in ascending order.
    """
    places = (
        (output_layout.scores_prefix(run_id), SHARD_FILE),
        (output_layout.predictions_prefix(run_id), PREDICTIONS_FILE),
    )
    keys = ((info.key, pattern) for prefix, pattern in places for info in storage.list(prefix))
    return sorted(key for key, pattern in keys if key.endswith(".parquet") and not pattern.fullmatch(key))


def shard_of(path: str) -> int:
    """Return the number of the shard whose score file has this path or key.

    Raises:
        ValueError: It is not the path of a score file.
    """
    match = SHARD_FILE.search(path)
    if match is None:
        raise ValueError(f"{path} is not a score file")
    return int(match["shard"])


def holds_no_run(uri: str) -> UsageError:
    """Return the error for an output that has nothing of any run, mostly because it was misnamed."""
    return UsageError(f"{uri} holds no run; name the directory or prefix that is output.uri in the job file")


def parquet_files(
    storage: Store, keys: list[str], schema: pa.Schema, from_path: Sequence[pa.Field] = (RUN_ID,)
) -> ds.Dataset:
    """Return files in ``run_id=…`` directories as one dataset.

    Args:
        storage: The tree that has the files.
        keys: The keys of the files.
        schema: The columns to read. A file may have more; a column that it does not have is null.
        from_path: The columns whose values are in the names of directories.

    Returns:
        Schema `schema` and the columns of `from_path`.
    """
    filesystem, root = storage.arrow()
    return ds.dataset(
        [f"{root}/{key}" for key in keys],
        schema=pa.schema([*schema, *from_path]),
        format="parquet",
        filesystem=filesystem,
        partitioning=ds.partitioning(pa.schema(from_path), flavor="hive"),
        partition_base_dir=root,
    )


def rows_of_study(storage: Store, key: str, study_id: str, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Return the rows of one study in a score file, and read only what is needed for that.

    pyarrow reads the last 64 KiB of a file for the footer, and the whole footer again if it is longer. Here the footer
    is read once, and then the row groups that can have rows of the study.

    Args:
        storage: The tree that has the file.
        key: The key of the file.
        study_id: The token of the study.
        columns: The columns to read, `study_id` among them.
    """
    filesystem, root = storage.arrow()
    with filesystem.open_input_file(f"{root}/{key}") as source:
        file = pq.ParquetFile(source, metadata=_footer(source))
        groups = [group for group in range(file.num_row_groups) if _may_have(file.metadata.row_group(group), study_id)]
        rows: list[dict[str, Any]] = file.read_row_groups(groups, columns=list(columns)).to_pylist()
    return [row for row in rows if row["study_id"] == study_id]


def read_footer(storage: Store, key: str, size_bytes: int) -> pq.FileMetaData | None:
    """Return the footer of a Parquet file, or None if the file does not end with one, as when it was cut off.

    Args:
        storage: The tree that has the file.
        key: The key of the file.
        size_bytes: The size of the file.

    Raises:
        RunFault: The storage does not let the file be read.
    """
    try:
        end = storage.read_range(key, max(0, size_bytes - _END_BYTES), min(size_bytes, _END_BYTES))
        length = int.from_bytes(end[-_FOOTER_END_BYTES:-4], "little") + _FOOTER_END_BYTES
        if len(end) < _FOOTER_END_BYTES or length > size_bytes:
            return None
        if length > len(end):
            end = storage.read_range(key, size_bytes - length, length)
    except ItemError as error:
        raise RunFault(f"{key} cannot be read ({error}); find out why, then give the same command again") from error
    try:
        return pq.read_metadata(pa.BufferReader(end[-length:]))
    except (OSError, pa.ArrowException):
        return None


def _footer(source: pa.NativeFile) -> pq.FileMetaData:
    """Read a Parquet file's footer, whose length is in the eight bytes at the end of the file."""
    size = source.size()
    source.seek(max(0, size - _FOOTER_END_BYTES))
    length = int.from_bytes(source.read(4), "little") + _FOOTER_END_BYTES
    source.seek(max(0, size - length))
    return pq.read_metadata(pa.BufferReader(source.read()))


def _may_have(group: pq.RowGroupMetaData, study_id: str) -> bool:
    names = [group.column(place).path_in_schema for place in range(group.num_columns)]
    statistics = group.column(names.index("study_id")).statistics
    return statistics is None or not statistics.has_min_max or statistics.min <= study_id <= statistics.max


def _numbered(storage: Store, prefix: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    """Return (number, key) of the files that match, ordered by run and number."""

    def matches() -> Iterator[tuple[str, int, str]]:
        for info in storage.list(prefix):
            if match := pattern.fullmatch(info.key):
                yield match["run_id"], int(match[2]), info.key

    return [(number, key) for _, number, key in sorted(matches())]


def _dataset(storage: Store, prefix: str, pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
    return parquet_files(storage, [key for _, key in _numbered(storage, prefix, pattern)], schema)
