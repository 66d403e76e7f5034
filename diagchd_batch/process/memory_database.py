"""The one place that opens DuckDB: in memory, with nothing of the machine in reach."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import duckdb

from diagchd_batch.process.cores import available_cores
from diagchd_batch.process.scratch_files import scratch_directory

MEMORY_PER_THREAD_BYTES = 128 * 1024 * 1024
"""Under a limit, a database has at most one thread for this much memory.

Each thread holds blocks of its own that it cannot spill, so the threads of many cores would fill a small limit alone.
"""


@contextmanager
def memory_database(*, spills: bool, max_memory_bytes: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
    """Yield an empty database in memory, and close it after the block.

    Statements see only what is registered or created in it: no file, network address, extension or Python variable.
    No statement can change a setting. A result has no order unless its statement asks for one.

    Args:
        spills: Whether data that does not fit in memory goes to a private directory below TMPDIR, which is removed
            after the block.
        max_memory_bytes: The memory that the database may use; DuckDB's default, four fifths of the machine's, if None.

    Raises:
        RunFault: The private directory cannot be made.
    """
    with ExitStack() as opened:
        # Without a directory, DuckDB would write to `.tmp` in the working directory.
        spill_directory = str(opened.enter_context(scratch_directory())) if spills else ""
        threads = available_cores()
        if max_memory_bytes is not None:
            threads = max(1, min(threads, max_memory_bytes // MEMORY_PER_THREAD_BYTES))
        config: dict[str, str | bool | int | float | list[str]] = {
            "temp_directory": spill_directory,
            "threads": threads,
            "preserve_insertion_order": False,
            "python_enable_replacements": False,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
        }
        if max_memory_bytes is not None:
            config["memory_limit"] = f"{max_memory_bytes // 1024}KiB"
        connection = opened.enter_context(duckdb.connect(":memory:", config=config))
        connection.execute("SET enable_progress_bar = false")  # DuckDB refuses it in `config`
        connection.execute("SET enable_external_access = false")  # in `config` it would forbid the spill directory
        connection.execute("SET lock_configuration = true")
        yield connection
