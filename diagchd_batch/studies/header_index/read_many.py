"""Reads many headers at once: the rows of a chunk of objects, and chunks in several threads."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeAlias

import pyarrow as pa

from diagchd_batch.sources import ObjectInfo, Source
from diagchd_batch.studies.header_index.header_columns import HEADERS
from diagchd_batch.studies.header_index.read_header import row_of_object

OBJECTS_PER_CHUNK = 64
READER_THREADS = 16
"""Threads of one process. More would not help: parsing holds the interpreter's lock, and only waiting is parallel."""

ReadChunks: TypeAlias = Callable[[Iterable[Sequence[ObjectInfo]]], Iterator[pa.Table]]
"""Reads the headers of chunks of objects, and yields their rows in any order, with schema `HEADERS`."""


def read_chunk(source: Source, objects: Sequence[ObjectInfo]) -> pa.Table:
    """Return the rows of some objects, with schema `HEADERS`. Objects that are gone have none.

    Args:
        source: The archive.
        objects: The objects, as the listing has them.

    Raises:
        StorageFault: The source as a whole cannot be read.
    """
    rows = (row_of_object(source, info) for info in objects)
    return pa.Table.from_pylist([row for row in rows if row is not None], HEADERS)


def threaded_reader(source: Source, n_threads: int = READER_THREADS) -> ReadChunks:
    """Return a function that reads headers in threads of this process.

    Args:
        source: The archive.
        n_threads: The number of threads.
    """

    def read(chunks: Iterable[Sequence[ObjectInfo]]) -> Iterator[pa.Table]:
        waiting: deque[Future[pa.Table]] = deque()
        with ThreadPoolExecutor(n_threads, "headers") as pool:
            try:
                for chunk in chunks:
                    waiting.append(pool.submit(read_chunk, source, chunk))
                    if len(waiting) > 2 * n_threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    return read
