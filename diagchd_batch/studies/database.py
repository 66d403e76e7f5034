"""A scratch database, in which an inventory is joined and ordered without being held in memory."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

from diagchd_batch.errors import RunFault

OUTPUT_BATCH_ROWS = 16_384

_TABLES = """
CREATE TABLE listing (key VARCHAR, size_bytes BIGINT, etag VARCHAR, modified_ns BIGINT);
CREATE TABLE entries (
    row BIGINT,               -- where it stands in the manifest; counted where there is none
    study VARCHAR, subject VARCHAR, fetus VARCHAR, uri VARCHAR, frame INTEGER, mask_uri VARCHAR, label TINYINT,
    excluded_because VARCHAR  -- null: included
);
"""


class ScratchDatabase:
    """Tables `listing` (what storage holds) and `entries` (what the inventory names), and what is derived from them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.execute(_TABLES)

    def execute(self, sql: str, parameters: list[object] | None = None) -> None:
        self._connection.execute(sql, parameters)

    def row(self, sql: str) -> tuple | None:
        """The only row of the answer, None where it is empty."""
        rows = self._connection.execute(sql).fetchall()
        return rows[0] if rows else None

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """The answer in batches. Nothing else may be executed until it is read to its end."""
        yield from self._connection.sql(sql).to_arrow_reader(OUTPUT_BATCH_ROWS)

    def insert(self, table: str, rows: pa.RecordBatch, select: str = "SELECT *", where: str = "") -> None:
        """Append what `select` and `where` make of the rows, column by column's name."""
        self._connection.register("rows_to_insert", rows)
        try:
            self._connection.execute(f"INSERT INTO {table} BY NAME {select} FROM rows_to_insert {where}")
        finally:
            self._connection.unregister("rows_to_insert")

    def add_text_function(self, name: str, function: Callable[[str], str]) -> None:
        """Makes the Python function (text to text, null to null) callable from SQL."""

        def on_column(column: pa.ChunkedArray) -> pa.Array:
            return pa.array([None if value is None else function(value) for value in column.to_pylist()], pa.string())

        self._connection.create_function(name, on_column, ["VARCHAR"], "VARCHAR", type=ARROW, null_handling=SPECIAL)


@contextmanager
def scratch_database(max_memory_bytes: int) -> Iterator[ScratchDatabase]:
    """A database in memory that spills to a temporary directory of the owner's own, removed at the end.

    Raises RunFault where the disk is full, or `max_memory_bytes` too little for what cannot be spilled.
    """
    with tempfile.TemporaryDirectory(prefix="diagchd-batch-spilled-") as directory:
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": f"{max_memory_bytes // 1024}KiB",
                "temp_directory": directory,
                "preserve_insertion_order": "false",
                "autoinstall_known_extensions": "false",  # nothing is fetched from the network
                "autoload_known_extensions": "false",
            },
        )
        try:
            yield ScratchDatabase(connection)
        except (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.FatalException) as error:
            raise RunFault(
                "planning ran out of memory or of temporary disk space; point TMPDIR at a larger disk, or make the "
                f"inventory smaller ({type(error).__name__})"
            ) from error
        finally:
            connection.close()
