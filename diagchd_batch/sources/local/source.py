"""Reading a directory on a local disk or a mounted share."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.retries import call_with_retries
from diagchd_batch.sources.local.walk import modified_ns, walk
from diagchd_batch.sources.registry import SourceOptions
from diagchd_batch.sources.source import Gaps, ObjectInfo
from diagchd_batch.uris import check_key, check_prefix

T = TypeVar("T")

PROGRESS_EVERY = 1000

# A file server that is briefly away answers with one of these. They say nothing about the file.
_TRANSIENT = {
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.ENOTCONN,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
}
# EIO comes from a soft mount whose server is away, but also from a bad block, so it is retried for a shorter time.
_POSSIBLY_DAMAGED = {errno.EIO}
POSSIBLY_DAMAGED_TIMEOUT_S = 5.0
# This process or machine is out of a resource. Every other file would fail in the same way.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}

_ABSENT = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


class LocalSource:
    """The `Source` for a directory. `open_source` makes it.

    Symbolic links are followed wherever they lead. Whoever may put links into an archive decides what is in it; keys
    cannot leave the root otherwise.
    """

    def __init__(self, uri: str, options: SourceOptions | None = None) -> None:
        self.uri = uri
        self.options = SourceOptions() if options is None else options
        self._root = Path(uri)
        self._device: int | None = None
        self._gaps = Gaps()

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.uri, self.options))

    @property
    def place(self) -> str:
        """See `Source.place`."""
        return self.uri

    def probe(self) -> None:
        """See `Source.probe`."""
        try:
            with os.scandir(self.uri):
                device = self._root.joinpath(".").stat().st_dev
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise StorageFault(
                f"{self.uri} cannot be used: {reason}; check input.uri, the mount and the permissions"
            ) from None
        # An unmounted share leaves an empty directory behind, in which every file would be `not_found`.
        if self._device not in (None, device):
            raise StorageFault(f"{self.uri} is no longer on the same file system as before; check that it is mounted")
        self._device = device

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        """See `Source.list`."""
        gaps = Gaps()
        if not prefix:
            self._gaps = gaps
        seen = 0
        for seen, info in enumerate(walk(self._root, check_prefix(prefix), gaps), start=1):
            if progress and seen % PROGRESS_EVERY == 0:
                progress(seen)
            yield info
        if progress:
            progress(seen)

    def listing_gaps(self) -> dict[str, int]:
        """See `ListingGaps.listing_gaps`."""
        return dict(self._gaps.counts)

    def named_gaps(self) -> dict[str, tuple[str, ...]]:
        """See `ListingGaps.named_gaps`."""
        return {kind: tuple(names) for kind, names in self._gaps.names.items()}

    def stat(self, key: str) -> ObjectInfo | None:
        """See `Source.stat`."""
        path = self._path(key)
        try:
            status = call_with_retries(path.stat, self._retry_limit_s)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            self._raise_read_error(key, error)
        return None if stat.S_ISDIR(status.st_mode) else _info(key, status)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        """See `Source.read`."""
        return self.read_versioned(key, max_bytes)[0]

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        """See `Source.read_versioned`."""

        def read_all(file: BinaryIO) -> tuple[bytes, ObjectInfo]:
            before = os.fstat(file.fileno())
            if max_bytes is not None and before.st_size > max_bytes:
                raise ItemError(FailureCode.TOO_LARGE, f"{key}: {before.st_size} bytes, over the limit of {max_bytes}")
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
            if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
                raise ItemError(FailureCode.SOURCE_CHANGED, f"{key}: it was written to while it was read")
            return data, _info(key, before)

        return self._with_file(key, read_all)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        """See `Source.read_range`."""

        def read_part(file: BinaryIO) -> bytes:
            file.seek(start)
            return file.read(length)

        return self._with_file(key, read_part)

    def read_range_versioned(self, key: str, start: int, length: int) -> tuple[bytes, ObjectInfo]:
        """See `VersionedRanges.read_range_versioned`."""

        def read_part(file: BinaryIO) -> tuple[bytes, ObjectInfo]:
            before = os.fstat(file.fileno())
            file.seek(start)
            data = file.read(min(length, max(0, before.st_size - start)))
            after = os.fstat(file.fileno())
            if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
                raise ItemError(FailureCode.SOURCE_CHANGED, f"{key}: it was written to while it was read")
            return data, _info(key, before)

        return self._with_file(key, read_part)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _with_file(self, key: str, use: Callable[[BinaryIO], T]) -> T:
        """Return `use(file)` for the open file, and repeat it while a file server is briefly away."""
        path = self._path(key)
        if self._device is None:
            self.probe()

        def open_and_use() -> T:
            # Without O_NONBLOCK, opening a named pipe would wait for a writer without end.
            with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise ItemError(FailureCode.UNREADABLE, f"{key}: not a regular file")
                return use(file)

        try:
            return call_with_retries(open_and_use, self._retry_limit_s)
        except OSError as error:
            self._raise_read_error(key, error)

    def _retry_limit_s(self, error: BaseException) -> float:
        code = error.errno if isinstance(error, OSError) else None
        if code in _TRANSIENT:
            return self.options.object_timeout_s
        if code in _POSSIBLY_DAMAGED:
            return min(POSSIBLY_DAMAGED_TIMEOUT_S, self.options.object_timeout_s)
        return 0.0

    def _raise_read_error(self, key: str, error: OSError) -> NoReturn:
        """Raise ItemError for this file, or StorageFault if the whole source is out of reach."""
        reason = os.strerror(error.errno or 0)
        if error.errno in _EXHAUSTED:
            raise StorageFault(f"{self.uri}: {reason}; raise the limit (ulimit -n) or use fewer workers") from None
        self.probe()
        if error.errno == errno.ENOENT and self._path(key).is_symlink():
            raise ItemError(FailureCode.UNREADABLE, f"{key}: a symbolic link whose target does not exist") from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: {reason}") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ItemError(FailureCode.ACCESS_DENIED, f"{key}: {reason}") from None
        raise ItemError(FailureCode.UNREADABLE, f"{key}: {reason}") from None


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, modified_ns=modified_ns(status))
