"""What every storage can do. The rest of the package knows storages by this protocol alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pyarrow.fs


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object as a listing or a stat shows it.

    `key` is relative to the storage's root, with ``/`` between parts. `etag` is None on a local disk, where
    `modified_ns` (nanoseconds since the epoch) stands in for it; on S3 `modified_ns` is None.
    """

    key: str
    size_bytes: int
    etag: str | None = None
    modified_ns: int | None = None


class Storage(Protocol):
    """A tree of objects under one root, on a local disk or in an S3 bucket.

    Keys are relative, never absolute and never with ``..`` parts (ValueError). Faults of one object raise `ItemError`
    (`not_found`, `access_denied`, `archived`, `unreadable`); faults of the storage as a whole raise `StorageFault`
    (refused credentials, missing bucket, full disk, endpoint gone) once `object_timeout_s` of retries has passed.
    An instance is safe to use from many threads; it pickles as its URI and options, without connections or credentials.
    """

    uri: str

    @property
    def place(self) -> str:
        """What messages call this storage: its URI and, on S3, the endpoint."""
        ...

    def probe(self) -> None:
        """Raise StorageFault unless the root is there and may be listed."""
        ...

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        """All objects below the directory `prefix`, streamed in no particular order.

        `progress` gets the number seen so far. Nothing, not an error, where there is no such directory. A directory
        that may not be listed is a StorageFault, since leaving it out would lose studies silently.
        """
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """The object, or None where there is none."""
        ...

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """The whole object. An object of more than `max_bytes` raises ItemError(`too_large`) before it is read."""
        ...

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        """As `read`, together with the size and version (ETag, or modification time) of what was read."""
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """`length` bytes from offset `start` (fewer at the end of the object)."""
        ...

    def create(self, key: str, data: bytes | Path) -> bool:
        """Create-if-absent, durable on return. False, with nothing changed, where the key exists already."""
        ...

    def replace(self, key: str, data: bytes | Path) -> None:
        """Write atomically over whatever is there: readers see the old object or the new one."""
        ...

    def delete(self, key: str) -> None:
        """Remove the object; no error where there is none."""
        ...

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """pyarrow's file system for this storage and the root's path in it, for scanning Parquet."""
        ...
