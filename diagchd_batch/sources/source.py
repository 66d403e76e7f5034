"""The protocol of sources: places that images, masks and tables are read from."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from pydicom import Dataset


LINKS_NOT_FOLLOWED = "links_not_followed"
"""Links to directories that are listed under their own names, or under another link."""

PATHS_TOO_LONG = "paths_too_long"
"""Files and directories whose paths the system does not open."""

NAMES_NOT_UTF8 = "names_not_utf8"
"""Files and directories whose names no table can hold, because they are not valid UTF-8."""

KEYS_NOT_ADDRESSABLE = "keys_not_addressable"
"""Objects whose keys begin with a slash below the prefix, or have a ``.`` or ``..`` part."""


MAX_NAMED_GAPS = 20
"""How many links, paths or keys of each kind are named. Further ones are only counted."""


class Gaps:
    """What a listing left out.

    Attributes:
        counts: `LINKS_NOT_FOLLOWED` and the like → how many were left out.
        names: The same kinds → the first `MAX_NAMED_GAPS` of them, relative to the root.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.names: dict[str, list[str]] = {}

    def add(self, kind: str, name: str) -> None:
        """Note that one link, path or key was left out.

        Args:
            kind: `LINKS_NOT_FOLLOWED` or the like.
            name: What was left out, relative to the root.
        """
        self.counts[kind] += 1
        names = self.names.setdefault(kind, [])
        if len(names) < MAX_NAMED_GAPS:
            names.append(name.encode(errors="surrogateescape").decode(errors="replace"))


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object and its version, as a listing, a `stat` or a read shows them.

    The object has changed if two values differ. A source that knows no versions leaves them None; then only the digest
    of what was read tells whether two reads returned the same. A store always knows the size.

    Attributes:
        key: Path relative to the root, with ``/`` between its parts.
        size_bytes: Size of the object.
        etag: Entity tag on S3; None on a local disk.
        modified_ns: Modification time on a local disk, in nanoseconds since the epoch; None on S3.
    """

    key: str
    size_bytes: int | None = None
    etag: str | None = None
    modified_ns: int | None = None


class Source(Protocol):
    """A tree of objects below one root, which can be listed and read.

    Keys are relative to the root. An absolute key, or one with a ``..`` part, raises ValueError.

    A problem with one object raises `ItemError` (`not_found`, `access_denied`, `archived`, `unreadable`). A problem
    with the source as a whole (refused credentials, a missing bucket, an unreachable server) raises `StorageFault`.
    Transient failures are retried for `object_timeout_s` before either is raised.

    One instance can be used from many threads. It pickles as its URI and options, without connections or credentials.
    """

    uri: str

    @property
    def place(self) -> str:
        """Name of the source for messages: its URI and, on S3, the endpoint."""
        ...

    def probe(self) -> None:
        """Raise StorageFault unless the root exists and can be listed."""
        ...

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        """Yield every object below the directory `prefix`, in no particular order.

        A prefix that does not exist yields nothing. Memory does not depend on the number of objects.

        Args:
            prefix: Directory relative to the root; the root itself by default.
            progress: Called from time to time with the number of objects seen so far.

        Yields:
            The objects with their sizes and versions.

        Raises:
            StorageFault: A directory cannot be listed. It is not skipped, because its studies would be lost silently.
        """
        ...

    def stat(self, key: str) -> ObjectInfo | None:
        """Return the object's size and version, or None if there is no such object."""
        ...

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """Return the whole object.

        Args:
            key: The object's key.
            max_bytes: The largest size that is read; None for no limit.

        Raises:
            ItemError: The object cannot be read. The code is `too_large`, and nothing is read, if it has more than
                `max_bytes`.
        """
        ...

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        """Return the whole object, with the size and version of what was read.

        Args:
            key: The object's key.
            max_bytes: The largest size that is read; None for no limit.

        Raises:
            ItemError: The object cannot be read. The code is `too_large`, and nothing is read, if it has more than
                `max_bytes`. The code is `source_changed` if it was written to during the read.
        """
        ...

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Return a range of an object's bytes; fewer if the object ends before.

        Args:
            key: The object's key.
            start: Offset of the first byte, from 0.
            length: The number of bytes.

        Raises:
            ItemError: The object cannot be read.
        """
        ...


@runtime_checkable
class ListingGaps(Protocol):
    """A source that tells what its last whole listing left out."""

    def listing_gaps(self) -> dict[str, int]:
        """Return `LINKS_NOT_FOLLOWED` and the like → how many were left out. Kinds without any are absent."""
        ...

    def named_gaps(self) -> dict[str, tuple[str, ...]]:
        """Return the same kinds → the first `MAX_NAMED_GAPS` that were left out. The names are not stored anywhere."""
        ...


@runtime_checkable
class HeaderSource(Protocol):
    """A source that tells the headers of its DICOM objects without their being read one by one, such as a PACS."""

    def list_headers(
        self, progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[ObjectInfo, "Dataset", str | None]]:
        """Yield the header of every object, in no particular order.

        Args:
            progress: Called from time to time with the number of objects seen so far.

        Yields:
            The object, its attributes without pixels, and its transfer syntax if the source tells it.

        Raises:
            StorageFault: The source as a whole cannot be used.
        """
        ...


@runtime_checkable
class VersionedRanges(Protocol):
    """A `Source` that tells with each range which version of the object the bytes are from.

    From such a source, a part of an object can be read and still be known to be from the version that was planned.
    """

    def read_range_versioned(self, key: str, start: int, length: int) -> tuple[bytes, ObjectInfo]:
        """Return a range of an object's bytes, with the size and version of the object that they are from.

        Args:
            key: The object's key.
            start: Offset of the first byte, from 0.
            length: The number of bytes, at least 1.

        Raises:
            ItemError: The object cannot be read. The code is `source_changed` if it was written to during the read.
        """
        ...


@runtime_checkable
class FrameSource(Protocol):
    """A `Source` that sends single frames of its DICOM objects, such as a PACS."""

    def read_until(
        self, key: str, is_enough: Callable[[bytes, int | None], bool | None], max_bytes: int | None = None
    ) -> tuple[bytes, bool]:
        """Return the first bytes of an object, or all of it.

        Args:
            key: The object's key.
            is_enough: Called from time to time with the bytes read so far and the size of the object, None if that is
                not known. True ends the read, False reads all of the object, and None means that more bytes are needed
                to tell. Bytes that do not belong to the object may follow its end.
            max_bytes: The largest size that is read; None for no limit.

        Returns:
            The bytes, and whether they are the whole object.

        Raises:
            ItemError: The object cannot be read. See `Source.read`.
        """
        ...

    def can_send_frames(self, transfer_syntax: str) -> bool:
        """Return whether `read_frames` is worth a request. False after the source has often refused the encoding.

        Args:
            transfer_syntax: UID of the encoding of an object.
        """
        ...

    def read_frames(
        self, key: str, frames: Sequence[int], transfer_syntax: str, max_bytes: int | None = None
    ) -> dict[int, bytes] | None:
        """Return frames of a DICOM object as it has them, compressed or not.

        Args:
            key: The object's key.
            frames: Numbers of the frames, from 0, in ascending order.
            transfer_syntax: UID of the encoding of the object.
            max_bytes: The largest size of all frames together; None for no limit.

        Returns:
            The bytes of each frame by its number. None if the source does not send them, or not in that encoding; the
            object may still be readable as a whole.

        Raises:
            StorageFault: The source as a whole cannot be reached.
        """
        ...
