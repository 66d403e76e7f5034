"""Random access to the bytes of a file, which lies in memory or is read by ranges."""

import threading
from collections.abc import Callable
from typing import Protocol


class ByteRanges(Protocol):
    """Bytes that can be read in any order. May be used from several threads at once.

    Attributes:
        size_bytes: The number of bytes.
    """

    size_bytes: int

    def read(self, start: int, length: int) -> bytes:
        """Return a range of the bytes; fewer at the end.

        Args:
            start: Offset of the first byte, from 0.
            length: The number of bytes.
        """
        ...


class BytesInMemory:
    """The `ByteRanges` of a file that was read as a whole."""

    def __init__(self, data: bytes) -> None:
        """Wrap `data`. It is not copied."""
        self.size_bytes = len(data)
        self._data = data

    def read(self, start: int, length: int) -> bytes:
        """See `ByteRanges.read`."""
        return self._data[start : start + length]


class RangedFile:
    """The `ByteRanges` of a file in a source, of which only the parts that are asked for are read.

    The last part is kept, so that a header with many small elements costs few requests.
    """

    def __init__(self, size_bytes: int, fetch: Callable[[int, int], bytes], block_bytes: int = 64 << 10) -> None:
        """Prepare the file. Nothing is read yet.

        Args:
            size_bytes: Size of the file.
            fetch: Returns a range of the file, from its offset and its length. It raises ItemError if the file cannot
                be read, or is not the one that was planned.
            block_bytes: The least that is read at once.
        """
        self.size_bytes = size_bytes
        self._fetch = fetch
        self._block_bytes = block_bytes
        self._lock = threading.Lock()
        self._kept_from = 0
        self._kept = b""

    def read(self, start: int, length: int) -> bytes:
        """See `ByteRanges.read`."""
        length = min(length, self.size_bytes - start)
        if start < 0 or length <= 0:
            return b""
        with self._lock:
            skipped = start - self._kept_from
            if not 0 <= skipped <= len(self._kept) - length:
                wanted = min(max(length, self._block_bytes), self.size_bytes - start)
                self._kept_from, self._kept, skipped = start, self._fetch(start, wanted), 0
            return self._kept[skipped : skipped + length]
