"""A scratch database that joins and sorts an inventory without holding it in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import ARROW, SPECIAL

from diagchd_batch.errors import RunFault
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.process.trusted_tmpdir import temporary_base
from diagchd_batch.sources import ObjectInfo

INSERT_ROWS = 16_384
OUTPUT_BATCH_ROWS = 16_384

_TABLES = """
CREATE TABLE listing (key VARCHAR, size_bytes BIGINT, etag VARCHAR, modified_ns BIGINT);
CREATE TABLE entries (
    row BIGINT,               -- the line or row of the manifest; a number if there is no manifest
    study VARCHAR, subject VARCHAR, fetus VARCHAR, uri VARCHAR, frame INTEGER, mask_uri VARCHAR, label TINYINT,
    excluded_because VARCHAR, -- null: included
    has_study_uid BOOLEAN,    -- whether study is a Study Instance UID
    sop_uid VARCHAR,          -- null: the image is told by its key
    subject_from VARCHAR, accession_number VARCHAR
);
"""


class ScratchDatabase:
    """Tables `listing` (the objects in storage), `entries` (the rows of the inventory), and tables made from them."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection
        self.execute(_TABLES)

    def execute(self, sql: str, parameters: list[object] | None = None) -> None:
        """Run one or more statements and discard their results.

        Args:
            sql: The statements.
            parameters: Values of the placeholders ``?``.
        """
        self._connection.execute(sql, parameters)

    def row(self, sql: str) -> tuple[Any, ...] | None:
        """Return the first row of the result, or None if it has no rows."""
        rows = self._connection.execute(sql).fetchall()
        return rows[0] if rows else None

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Return all rows of a small result."""
        return self._connection.execute(sql).fetchall()

    def count(self, table: str) -> int:
        """Return the number of rows of a table."""
        row = self.row(f"SELECT count(*) FROM {table}")
        return row[0] if row else 0

    def stream(self, sql: str) -> Iterator[pa.RecordBatch]:
        """Yield the result in batches. Execute nothing else before it has been read to the end."""
        yield from self._connection.sql(sql).to_arrow_reader(OUTPUT_BATCH_ROWS)

    def insert(self, table: str, rows: pa.RecordBatch, select: str = "SELECT *", where: str = "") -> None:
        """Append rows to a table. Columns are matched by name.

        Args:
            table: The table's name.
            rows: The rows to append.
            select: The SELECT clause that is applied to `rows` first.
            where: The WHERE clause that is applied to `rows` first.
        """
        self._connection.register("rows_to_insert", rows)
        try:
            self._connection.execute(f"INSERT INTO {table} BY NAME {select} FROM rows_to_insert {where}")
        finally:
            self._connection.unregister("rows_to_insert")

    def create_table(self, name: str, schema: pa.Schema) -> None:
        """Create an empty table.

        Args:
            name: The table's name.
            schema: Its columns.
        """
        self._connection.register("rows_to_insert", schema.empty_table())
        try:
            self._connection.execute(f"CREATE TABLE {name} AS FROM rows_to_insert")
        finally:
            self._connection.unregister("rows_to_insert")

    def insert_listing(self, objects: Iterator[ObjectInfo]) -> None:
        """Append objects to table `listing`.

        Args:
            objects: The objects of a source. They are not held in memory.
        """
        while batch := list(islice(objects, INSERT_ROWS)):
            columns = {
                "key": pa.array([item.key for item in batch], pa.string()),
                "size_bytes": pa.array([item.size_bytes for item in batch], pa.int64()),
                "etag": pa.array([item.etag for item in batch], pa.string()),
                "modified_ns": pa.array([item.modified_ns for item in batch], pa.int64()),
            }
            self.insert("listing", pa.record_batch(columns))

    def add_text_function(self, name: str, function: Callable[[str], str]) -> None:
        """Make a Python function callable from SQL.

        Args:
            name: The function's name in SQL.
            function: A function from text to text. It is not called for a null, which gives a null.
        """

        def on_column(column: pa.ChunkedArray) -> pa.Array:
            return pa.array([None if value is None else function(value) for value in column.to_pylist()], pa.string())

        self._connection.create_function(name, on_column, ["VARCHAR"], "VARCHAR", type=ARROW, null_handling=SPECIAL)


@contextmanager
def scratch_database(max_memory_bytes: int) -> Iterator[ScratchDatabase]:
    """Open a database in memory that spills to a temporary directory, which only the owner can read.

    The directory is removed at the end.

    Args:
        max_memory_bytes: The memory that the database may use before it spills.

    Raises:
        RunFault: The disk is full, or the memory is too small for data that cannot be spilled. The message says which.
    """
    with memory_database(spills=True, max_memory_bytes=max_memory_bytes) as connection:
        try:
            yield ScratchDatabase(connection)
        except (duckdb.OutOfMemoryException, duckdb.IOException, duckdb.FatalException) as error:
            raise RunFault(_out_of_space(error, max_memory_bytes)) from error


def _out_of_space(error: Exception, max_memory_bytes: int) -> str:
    """Return what ran out, memory or disk, and what helps. DuckDB's own text may name paths, so it is not shown."""
    if isinstance(error, duckdb.OutOfMemoryException) and "temp_directory_size" not in str(error):
        return (
            f"the inventory did not fit into the {max_memory_bytes / 2**20:.0f} MiB of memory that the program allows "
            "for it; a larger TMPDIR does not help. Plan the archive in parts, with one input.uri or input.manifest "
            "for each, and report this with the number of images"
        )
    return (
        f"the inventory does not fit on the disk of the temporary directory {temporary_base()} "
        f"({type(error).__name__}); free some space or point TMPDIR at a larger disk, then give the same command again"
    )
