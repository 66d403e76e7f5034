"""Brings the index of headers up to date: lists the archive, and reads the headers that are new or have changed."""

import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.sources import HeaderSource, ObjectInfo, Source
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.header_columns import HEADERS, ObjectKind
from diagchd_batch.studies.header_index.header_row import row_of_attributes
from diagchd_batch.studies.header_index.read_many import OBJECTS_PER_CHUNK, ReadChunks
from diagchd_batch.studies.header_index.stored_index import (
    IndexCounts,
    IndexHead,
    head_numbers,
    newest_head,
    rows_of_part,
)
from diagchd_batch.studies.layouts.names import IS_HIDDEN
from diagchd_batch.studies.scratch_database import ScratchDatabase, scratch_database

DEFAULT_MEMORY_BYTES = 256 << 20
"""The memory that the scratch database may use before it spills to disk."""

COMMIT_ROWS = 2_048
COMMIT_INTERVAL_S = 10.0
"""A part is committed after this many headers or seconds. A killed update loses only the part that it was reading."""

_BATCHES_PER_PART = 4
_OBJECTS_PER_QUERY = 64 * OBJECTS_PER_CHUNK

_SAME_VERSION = """
    stored.size_bytes IS NOT DISTINCT FROM listing.size_bytes AND stored.etag IS NOT DISTINCT FROM listing.etag
    AND stored.modified_ns IS NOT DISTINCT FROM listing.modified_ns
    AND (listing.etag IS NOT NULL OR listing.modified_ns IS NOT NULL)
"""
_COMPARED = f"""
DELETE FROM listing WHERE {IS_HIDDEN};
CREATE TABLE known AS
SELECT min(stored.rowid) AS row, key, bool_or(is_indexed) AS is_indexed
FROM stored JOIN listing USING (key) WHERE {_SAME_VERSION} AND kind <> '{ObjectKind.NOT_READ}' GROUP BY key;
CREATE TABLE headers AS SELECT stored.* EXCLUDE (is_indexed) FROM stored JOIN known ON stored.rowid = known.row;
CREATE TABLE wanted AS
SELECT row_number() OVER (ORDER BY key) - 1 AS number, * FROM listing ANTI JOIN known USING (key);
"""
_NAMES = ", ".join(f'"{name}"' for name in HEADERS.names)
_TOLD = f"""
CREATE TABLE headers AS
SELECT {_NAMES} FROM told QUALIFY row_number() OVER (PARTITION BY key ORDER BY rowid) = 1;
INSERT INTO listing SELECT key, size_bytes, etag, modified_ns FROM headers;
"""
_COUNTS = {
    "n_objects": "SELECT count(*) FROM listing",
    "n_new": "SELECT count(*) FROM listing ANTI JOIN indexed USING (key)",
    "n_changed": f"""
        SELECT count(*) FROM listing SEMI JOIN indexed USING (key)
        WHERE NOT EXISTS (FROM stored WHERE is_indexed AND stored.key = listing.key AND {_SAME_VERSION})
    """,
    "n_vanished": "SELECT count(*) FROM indexed ANTI JOIN listing USING (key)",
    "n_taken_over": "SELECT count(*) FROM known WHERE NOT is_indexed",
}
_COUNTS_OF_TOLD = _COUNTS | {
    "n_changed": f"""
        SELECT count(*) FROM (SELECT {_NAMES} FROM headers EXCEPT SELECT {_NAMES} FROM stored WHERE is_indexed)
        SEMI JOIN indexed USING (key)
    """,
    "n_taken_over": "SELECT 0",
}
_INDEXED = "CREATE TABLE indexed AS SELECT DISTINCT key FROM stored WHERE is_indexed"
_ALL_ROWS = f"SELECT {_NAMES} FROM headers ORDER BY key"


class IndexProgress(Protocol):
    """Receives how far an update is, all from the thread that called it."""

    def listed(self, n_objects: int) -> None:
        """`n_objects` objects of the archive are listed so far."""
        ...

    def reading(self, n_done: int, n_wanted: int) -> None:
        """Receive how many headers are read.

        Args:
            n_done: Headers that are read.
            n_wanted: Headers that have to be read, those included.
        """
        ...


@dataclass(frozen=True)
class IndexUpdate:
    """What an update did. `is_changed`: the index has other rows than before."""

    head: IndexHead
    is_changed: bool


def update_index(
    source: Source,
    private: Store,
    read_chunks: ReadChunks,
    progress: IndexProgress,
    *,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> IndexUpdate:
    """Make the index, or bring it up to date.

    What has been read is committed from time to time. The same call after a kill reads only the rest. If two updates
    work at once, both end with a whole index, and the later one counts.

    A source that tells the headers by itself is asked for all of them each time, because it knows no versions.

    Args:
        source: The archive.
        private: The private tree of the output.
        read_chunks: Reads headers, such as `read_many.threaded_reader(source)` does.
        progress: Receives how far the update is.
        max_memory_bytes: The memory that the scratch database may use before it spills to disk.

    Returns:
        The head of the index as it is now, and what was done.

    Raises:
        StorageFault: The archive or the private tree cannot be used.
        RunFault: Disk space or memory runs out.
        DamagedRecordError: The index that is there cannot be read.
    """
    with scratch_database(max_memory_bytes) as database:
        update = _Update(private, database)
        update.load()
        updated_at = datetime.now(UTC)
        if isinstance(source, HeaderSource):
            update.receive(source, progress)
        else:
            database.insert_listing(source.list(progress=progress.listed))
            database.execute(_COMPARED)
            update.read(read_chunks, progress)
        return update.commit(updated_at)


class _Update:
    """One update: the tables that it found, and those that it has written."""

    def __init__(self, private: Store, database: ScratchDatabase) -> None:
        self._private = private
        self._database = database
        self._began_s = time.monotonic()
        self._build = secrets.token_hex(8)
        self._n_parts = 0
        self._n_read = 0
        self._is_told = False  # whether the source told the headers
        self._removable: set[str] = set()  # the tables that this update has taken over, and its own that no head names

    def load(self) -> None:
        """Load the rows of the index and of interrupted updates."""
        found = newest_head(self._private)
        indexed = set(found[1].parts) if found else set()
        self._database.create_table("stored", HEADERS.append(pa.field("is_indexed", pa.bool_())))
        keys = [info.key for info in self._private.list(output_layout.HEADER_INDEX_PREFIX)]
        for key in sorted(filter(output_layout.HEADER_INDEX_PART.fullmatch, keys)):
            for batch in rows_of_part(self._private, key):
                flags = pa.repeat(pa.scalar(key in indexed), batch.num_rows)
                self._database.insert("stored", batch.append_column("is_indexed", flags))
            self._removable.add(key)
        self._database.execute(_INDEXED)

    def receive(self, source: HeaderSource, progress: IndexProgress) -> None:
        """Take the headers that the source tells."""
        self._is_told = True
        self._database.create_table("told", HEADERS)
        told = source.list_headers(progress.listed)
        rows = (row_of_attributes(attributes, info, syntax) for info, attributes, syntax in told)
        while some := list(islice(rows, COMMIT_ROWS)):
            self._database.insert("told", pa.RecordBatch.from_pylist(some, HEADERS))
            self._n_read += len(some)
        self._database.execute(_TOLD)

    def read(self, read_chunks: ReadChunks, progress: IndexProgress) -> None:
        """Read the headers that are wanted, and commit them from time to time."""
        n_wanted = self._count("SELECT count(*) FROM wanted")
        progress.reading(0, n_wanted)
        waiting: list[pa.Table] = []
        n_done, committed_s = 0, time.monotonic()
        try:
            for table in read_chunks(self._wanted(n_wanted)):
                n_done += table.num_rows
                self._n_read += table.num_rows
                waiting.append(table)
                n_waiting = sum(table.num_rows for table in waiting)
                if n_waiting >= COMMIT_ROWS or time.monotonic() - committed_s > COMMIT_INTERVAL_S:
                    self._keep(waiting)
                    waiting, committed_s = [], time.monotonic()
                progress.reading(n_done, n_wanted)
        except KeyboardInterrupt:
            self._keep(waiting)
            raise
        self._keep(waiting)
        progress.reading(n_wanted, n_wanted)

    def _wanted(self, n_wanted: int) -> Iterator[Sequence[ObjectInfo]]:
        for first in range(0, n_wanted, _OBJECTS_PER_QUERY):
            sql = f"FROM wanted WHERE number BETWEEN {first} AND {first + _OBJECTS_PER_QUERY - 1} ORDER BY number"
            batches = list(self._database.stream(f"SELECT key, size_bytes, etag, modified_ns {sql}"))
            objects = [ObjectInfo(**row) for batch in batches for row in batch.to_pylist()]
            for start in range(0, len(objects), OBJECTS_PER_CHUNK):
                yield objects[start : start + OBJECTS_PER_CHUNK]

    def _keep(self, tables: list[pa.Table]) -> None:
        rows = pa.concat_tables(tables) if tables else HEADERS.empty_table()
        if not rows.num_rows:
            return
        for batch in rows.to_batches():
            self._database.insert("headers", batch)
        self._removable.add(self._write(rows))

    def _write(self, rows: pa.Table) -> str:
        """Write one table of the index, and return its key."""
        key = output_layout.header_index_part(self._build, self._n_parts)
        self._n_parts += 1
        with scratch_file() as file:
            with scratch_faults():
                pq.write_table(rows.select(HEADERS.names).cast(HEADERS), file, compression="zstd")
            self._private.create(key, file)
        return key

    def commit(self, updated_at: datetime) -> IndexUpdate:
        """Create the next head, and remove the tables that neither it nor the one before names.

        Tables of the head before stay, because somebody may be reading them. A build removes only tables that it saw
        before it created its head, and a head names only tables of the one before it or newer ones, so no head ever
        names a table that is gone.
        """
        counts = self._counts()
        while True:
            found = newest_head(self._private)
            number, base = found if found else (-1, None)
            is_changed = base is None or self._differs(base)
            parts = self._write_all() if base is None or is_changed else base.parts
            seconds = round(time.monotonic() - self._began_s, 3)
            head = IndexHead(updated_at=updated_at, seconds=seconds, parts=parts, counts=counts)
            created = head.create(self._private, output_layout.header_index_head(number + 1))
            if created and head_numbers(self._private)[-1] == number + 1:
                self._remove_old(number, {*parts, *(base.parts if base else ())})
                return IndexUpdate(head, is_changed)
            self._removable |= set(parts) if is_changed else set()

    def _differs(self, base: IndexHead) -> bool:
        """Return whether the rows are others than those of the newest head, which another update may have made."""
        counts = self._counts()
        if counts.n_new or counts.n_changed or counts.n_vanished or counts.n_taken_over:
            return True
        if counts.n_read and not self._is_told:
            return True
        return not set(base.parts) <= self._removable

    def _write_all(self) -> tuple[str, ...]:
        batches = self._database.stream(_ALL_ROWS)
        parts = []
        while some := list(islice(batches, _BATCHES_PER_PART)):
            parts.append(self._write(pa.Table.from_batches(some)))
        return tuple(parts)

    def _remove_old(self, number: int, named: set[str]) -> None:
        for key in sorted(self._removable - named):
            self._private.delete(key)
        for old in head_numbers(self._private):
            if old < number:
                self._private.delete(output_layout.header_index_head(old))

    def _counts(self) -> IndexCounts:
        counts = _COUNTS_OF_TOLD if self._is_told else _COUNTS
        numbers = {name: self._count(sql) for name, sql in counts.items()}
        kinds: dict[str, int] = {}
        for batch in self._database.stream("SELECT kind, count(*) AS n FROM headers GROUP BY kind ORDER BY kind"):
            kinds |= {row["kind"]: row["n"] for row in batch.to_pylist()}
        return IndexCounts(**numbers, n_read=self._n_read, kinds=kinds)

    def _count(self, sql: str) -> int:
        row = self._database.row(sql)
        return row[0] if row else 0
