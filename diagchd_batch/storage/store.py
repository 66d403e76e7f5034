"""The protocol of stores: places that results are written to."""

from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow.fs

from diagchd_batch.sources.source import Source

Contents = bytes | Path | BinaryIO
"""The contents of an object to write: bytes, the path of a file, or an open file, which is read from its beginning."""


class Store(Source, Protocol):
    """A source whose objects can also be created, replaced and deleted.

    A problem with a write (a full disk, missing permission, an unreachable server) raises `StorageFault`.
    """

    def create(self, key: str, data: Contents) -> bool:
        """Create an object unless its key exists. The object is durable when this returns.

        Args:
            key: Key of the new object.
            data: Its contents.

        Returns:
            False, with nothing changed, if the key already existed.
        """
        ...

    def replace(self, key: str, data: Contents) -> None:
        """Write an object atomically over whatever is there. A reader sees the old object or the new one.

        Args:
            key: The object's key.
            data: Its contents.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove an object. It is no error if there is none."""
        ...

    def leftovers(self) -> list[str]:
        """Return the keys of unfinished files that killed writers left, in ascending order. They are in no listing."""
        ...

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """Return pyarrow's file system for this store, and the path of the root in it, for scanning Parquet."""
        ...
