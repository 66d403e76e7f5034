"""Reads tables that were derived from scores, telling a damaged file from a mistake of ours."""

import io

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.storage import Store


def read_metrics(storage: Store, run_id: str, name: str) -> pa.Table | None:
    """A metrics table of a run, None where there is none. Raises RunFault where its file is damaged."""
    return read_derived(storage, output_layout.metrics_file(run_id, name))


def read_derived(storage: Store, key: str) -> pa.Table | None:
    """As `read_metrics`, of any small table that `evaluate` or `compare` made."""
    if storage.stat(key) is None:
        return None
    try:
        # Neither pq.read_table nor pre-buffered (the default): a thread of Arrow's would let go of the bytes late, and
        # abort a process that ends just then (exit code 134 of a run that was done).
        with pq.ParquetFile(io.BytesIO(storage.read(key)), pre_buffer=False) as file:
            return file.read(use_threads=False)
    except pa.ArrowException as error:
        raise RunFault(f"{key} is damaged: {error}; `diagchd-batch evaluate` (or `compare`) makes it again") from error
