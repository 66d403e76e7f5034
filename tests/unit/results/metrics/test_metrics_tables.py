"""Derived tables are read without leaving work to Arrow's threads."""

import io
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch.results.metrics_tables import read_derived
from diagchd_batch.storage import open_store

KEY = "table.parquet"
N_PROCESSES = 60  # If the table were read by scanning a dataset, about one process in twelve would abort.
READ_AND_END = f"""
import sys
from diagchd_batch.results.metrics_tables import read_derived
from diagchd_batch.storage import open_store
read_derived(open_store(sys.argv[1]), {KEY!r})
"""


@pytest.fixture
def table(tmp_path: Path) -> pa.Table:
    table = pa.table({f"column_{number}": np.arange(2000.0) for number in range(40)})
    pq.write_table(table, tmp_path / KEY, row_group_size=500)
    return table


def test_the_whole_table_is_read(tmp_path: Path, table: pa.Table) -> None:
    storage = open_store(str(tmp_path))
    assert read_derived(storage, KEY) == table
    assert read_derived(storage, "none.parquet") is None


def test_no_thread_of_arrow_s_touches_the_bytes(
    tmp_path: Path, table: pa.Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = set()

    class WatchedBytes(io.BytesIO):
        def read(self, *arguments: Any) -> bytes:
            threads.add(threading.get_ident())
            return super().read(*arguments)

    monkeypatch.setattr(io, "BytesIO", WatchedBytes)
    assert read_derived(open_store(str(tmp_path)), KEY) == table
    assert threads == {threading.get_ident()}


@pytest.mark.slow
def test_a_process_may_end_right_after_it(tmp_path: Path, table: pa.Table) -> None:
    def exit_code(_: int) -> int:
        return subprocess.run([sys.executable, "-c", READ_AND_END, tmp_path], capture_output=True).returncode

    with ThreadPoolExecutor(4) as pool:  # Busy cores delay Arrow's threads.
        assert set(pool.map(exit_code, range(N_PROCESSES))) == {0}
