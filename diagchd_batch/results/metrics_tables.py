"""Reads the small tables that `evaluate` and `compare` derive from scores."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.storage import Store


def read_metrics(storage: Store, run_id: str, name: str) -> pa.Table | None:
    """Return a metrics table of a run, or None where there is none.

    Args:
        storage: The output.
        run_id: The run's id.
        name: The table's name, such as ``classification``.

    Raises:
        RunFault: The file is damaged.
    """
    return read_derived(storage, output_layout.metrics_file(run_id, name))


def read_derived(storage: Store, key: str) -> pa.Table | None:
    """Return the small table under `key`, or None where there is none.

    Args:
        storage: The output.
        key: The table's key, relative to the root of the output.

    Raises:
        RunFault: The file is damaged.
    """
    if storage.stat(key) is None:
        return None
    try:
        # Not pq.read_table, and without its default pre_buffer: a thread of Arrow would release the bytes late, and
        # abort a process that exits at that moment (exit code 134 of a finished run).
        with pq.ParquetFile(io.BytesIO(storage.read(key)), pre_buffer=False) as file:
            return file.read(use_threads=False)
    except pa.ArrowException as error:
        raise RunFault(f"{key} is damaged: {error}; `diagchd-batch evaluate` (or `compare`) makes it again") from error
