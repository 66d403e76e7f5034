"""Reads a stored object by ranges as a seekable file, for tables larger than memory and for single row groups."""

import io
from typing import Any

from diagchd_batch.sources import Source


class SeekableFile(io.RawIOBase):
    """A read-only file whose reads are calls of `Source.read_range`, with the source's own retries and errors.

    Args:
        storage: The source that has the object.
        key: The object's key.
        size_bytes: The object's size. If it is None, the whole object is read at once, because ranges cannot find its
            end.
    """

    def __init__(self, storage: Source, key: str, size_bytes: int | None) -> None:
        self._storage = storage
        self._key = key
        self._position = 0
        self._fetched_from = 0
        self._fetched = storage.read(key) if size_bytes is None else b""
        self._size_bytes = len(self._fetched) if size_bytes is None else size_bytes

    def fetch(self, start: int, length: int) -> None:
        """Read a range in one request. Later reads of any part of it are answered from memory.

        Args:
            start: Offset of the first byte, from 0.
            length: The number of bytes.
        """
        self._fetched_from, self._fetched = start, self._storage.read_range(self._key, start, length)

    def readable(self) -> bool:
        """See `io.RawIOBase.readable`."""
        return True

    def seekable(self) -> bool:
        """See `io.RawIOBase.seekable`."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase.tell`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase.seek`."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase.readinto`."""
        length = min(len(buffer), self._size_bytes - self._position)
        if length <= 0:
            return 0
        skipped = self._position - self._fetched_from
        if 0 <= skipped < len(self._fetched):
            data = self._fetched[skipped : skipped + length]
        else:
            data = self._storage.read_range(self._key, self._position, length)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)
