"""Finds, reads and removes the tables that `evaluate` and `compare` derive from scores.

Outputs of schema version 1 have them in other places. Where a table is in both places, the newer place counts.
"""

import io
import re
from collections.abc import Collection, Iterable, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.results.columns import without_run
from diagchd_batch.results.datasets import RUN_ID
from diagchd_batch.storage import Store

REFERENCE_CALL = "reference_call"
"""A column of `cross_tabulation` that schema version 1 has under another name."""

_METRICS = (output_layout.METRICS_FILE, output_layout.METRICS_FILE_V1)
_COMPARISONS = (output_layout.COMPARISON_FILE, output_layout.COMPARISON_FILE_V1)


def has_metrics(storage: Store, run_id: str, name: str) -> bool:
    """Return whether a run has a metrics table.

    Args:
        storage: The output.
        run_id: The run's id.
        name: The table's name, such as ``estimates``.
    """
    return any(storage.stat(key) is not None for key in _metrics_keys(run_id, name))


def read_metrics(storage: Store, run_id: str, name: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Return a metrics table of a run, or None where there is none.

    Args:
        storage: The output.
        run_id: The run's id.
        name: The table's name, such as ``estimates``.
        columns: The columns to read; None for all.

    Raises:
        RunFault: The file is damaged.
    """
    return _first_there(storage, _metrics_keys(run_id, name), columns)


def read_comparison(storage: Store, run_id: str, other_run_id: str, name: str) -> pa.Table | None:
    """Return a table that compares a run with an earlier one, or None where there is none.

    Args:
        storage: The output.
        run_id: The id of the later run.
        other_run_id: The id of the earlier run.
        name: The table's name, such as ``comparison_flips``.

    Raises:
        RunFault: The file is damaged.
    """
    return _first_there(
        storage,
        (
            output_layout.comparison_file(run_id, other_run_id, name),
            output_layout.comparison_file_v1(run_id, other_run_id, name),
        ),
    )


def compared_runs(storage: Store, run_id: str) -> list[str]:
    """Return the ids of the runs that a run was compared with, in ascending order.

    Args:
        storage: The output.
        run_id: The id of the later run.
    """
    matches = (match for key in _comparison_keys(storage, run_id) for match in _matches(_COMPARISONS, key))
    return sorted({match["other_run_id"] for match in matches if match["run_id"] == run_id})


def remove_other_metrics(storage: Store, run_id: str, written: Collection[str]) -> None:
    """Remove the metrics tables of a run that an earlier evaluation made and the latest did not.

    Tables in the places of schema version 1 are removed, too, so that programs that read Parquet files by a glob find
    no table twice. Call this after the new tables are written.

    Args:
        storage: The output.
        run_id: The run's id.
        written: The names of the tables that the latest evaluation wrote.
    """
    kept = {output_layout.metrics_file(run_id, name) for name in written}
    _remove(storage, [info.key for info in storage.list(output_layout.METRICS_PREFIX)], _METRICS, kept, run_id=run_id)


def remove_other_comparison(storage: Store, run_id: str, other_run_id: str, written: Collection[str]) -> None:
    """Remove the tables of a comparison that an earlier `compare` made and the latest did not.

    Args:
        storage: The output.
        run_id: The id of the later run.
        other_run_id: The id of the earlier run.
        written: The names of the tables that the latest `compare` wrote.
    """
    kept = {output_layout.comparison_file(run_id, other_run_id, name) for name in written}
    keys = _comparison_keys(storage, run_id)
    _remove(storage, keys, _COMPARISONS, kept, run_id=run_id, other_run_id=other_run_id)


def metrics_keys(keys: Iterable[str], table: str) -> list[str]:
    """Return which of `keys` are files of a metrics table, in ascending order, with one file for each run.

    Args:
        keys: Keys of the output.
        table: The table's name.
    """
    return _table_keys(keys, table, _METRICS, ("run_id",))


def comparison_keys(keys: Iterable[str], table: str) -> list[str]:
    """Return which of `keys` are files of a table of comparisons, in ascending order, with one for each two runs.

    Args:
        keys: Keys of the output.
        table: The table's name, such as ``comparison_flips``.
    """
    return _table_keys(keys, table, _COMPARISONS, ("run_id", "other_run_id"))


def _table_keys(
    keys: Iterable[str], table: str, patterns: Iterable[re.Pattern[str]], groups: tuple[str, ...]
) -> list[str]:
    """Return the keys of a table, one for each value of the groups. A key that matches an earlier pattern counts."""
    found: dict[tuple[str, ...], str] = {}
    listed = list(keys)
    for pattern in patterns:
        for match in filter(None, map(pattern.fullmatch, listed)):
            if match["table"] == table:
                found.setdefault(tuple(match[group] for group in groups), match[0])
    return sorted(found.values())


def read_derived(storage: Store, key: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """Return the small table under `key`, or None where there is none.

    Args:
        storage: The output.
        key: The table's key, relative to the root of the output.
        columns: The columns to read; None for all.

    Raises:
        RunFault: The file is damaged.
    """
    if storage.stat(key) is None:
        return None
    try:
        # Not pq.read_table, and without its default pre_buffer: a thread of Arrow would release the bytes late, and
        # abort a process that exits at that moment (exit code 134 of a finished run).
        with pq.ParquetFile(io.BytesIO(storage.read(key)), pre_buffer=False) as file:
            return _with_current_names(without_run(file.read(columns=columns, use_threads=False)))
    except pa.ArrowException as error:
        raise RunFault(f"{key} is damaged: {error}; the command `evaluate` (or `compare`) makes it again") from error


def derived_dataset(storage: Store, keys: Iterable[str], schema: pa.Schema) -> ds.Dataset:
    """Return small tables of several runs, in memory, with the columns that they have today.

    Args:
        storage: The output.
        keys: The keys of the tables, each in the directory of its run.
        schema: The columns. A column that a table does not have is null.

    Returns:
        Schema `schema` and `run_id`.

    Raises:
        RunFault: A file is damaged.
    """
    whole = schema.append(RUN_ID)
    tables = [whole.empty_table()]
    for key in keys:
        rows = read_derived(storage, key)
        if rows is not None:
            (match,) = _matches(_METRICS, key)
            run_ids = pa.repeat(pa.scalar(match["run_id"]), rows.num_rows)
            tables.append(rows.append_column(RUN_ID, run_ids))
    joined = pa.concat_tables(tables, promote_options="default")
    return ds.dataset(joined.select(whole.names))


def _with_current_names(rows: pa.Table) -> pa.Table:
    """Rename the texts that schema version 1 has as `reference_label`, which is a number in all other tables."""
    is_text = [field.name == "reference_label" and pa.types.is_string(field.type) for field in rows.schema]
    names = zip(rows.column_names, is_text, strict=True)
    return rows.rename_columns([REFERENCE_CALL if renamed else name for name, renamed in names])


def _first_there(storage: Store, keys: Iterable[str], columns: Sequence[str] | None = None) -> pa.Table | None:
    found = (read_derived(storage, key, columns) for key in keys)
    return next((table for table in found if table is not None), None)


def _metrics_keys(run_id: str, name: str) -> tuple[str, str]:
    return output_layout.metrics_file(run_id, name), output_layout.metrics_file_v1(run_id, name)


def _comparison_keys(storage: Store, run_id: str) -> list[str]:
    prefixes = (output_layout.COMPARISONS_PREFIX, output_layout.metrics_prefix_v1(run_id))
    return [info.key for prefix in prefixes for info in storage.list(prefix)]


def _matches(patterns: Iterable[re.Pattern[str]], key: str) -> list[re.Match[str]]:
    return [match for pattern in patterns if (match := pattern.fullmatch(key))]


def _remove(
    storage: Store, keys: Iterable[str], patterns: tuple[re.Pattern[str], ...], kept: Collection[str], **groups: str
) -> None:
    """Remove those of `keys` that match a pattern with these groups, except those that are kept."""
    for key in keys:
        for match in _matches(patterns, key):
            if key not in kept and all(match[name] == value for name, value in groups.items()):
                storage.delete(key)
