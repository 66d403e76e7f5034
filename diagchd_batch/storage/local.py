"""A directory on a local disk or a mounted share."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeVar

import pyarrow.fs

from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.failures import FailureCode
from diagchd_batch.retries import Backoff
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage.local_commit import (
    NoExclusiveCreateError,
    make_directories,
    put_if_absent,
    remove_leftovers,
    sync_directory,
    temporary_file,
)
from diagchd_batch.storage.local_listing import walk
from diagchd_batch.uris import check_key, check_prefix

T = TypeVar("T")

PROGRESS_EVERY = 1000

# A file server that is away for a moment, not a bad file.
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
# Of a soft mount whose server was away, or of a bad block: worth a few more tries, not as many as a server.
_DOUBTFUL = {errno.EIO}
DOUBT_S = 5.0
# This process or machine is exhausted; any other file would fail just so.
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}


class LocalStorage:
    """`Store` over the directory `root` (an absolute path). Made by `open_store`.

    Links in the tree are followed wherever they lead: keys cannot leave the root, and who may put links into an
    archive decides what is in it. Permissions are the umask's, or with `owner_only` 700 for directories and 600 for
    files; directories that exist already keep theirs.
    """

    def __init__(self, root: str, *, object_timeout_s: float = 300.0, owner_only: bool = False) -> None:
        self.uri = root
        self._root = Path(root)
        self._object_timeout_s = object_timeout_s
        self._owner_only = owner_only
        self._device: int | None = None
        self._swept: set[Path] = set()

    def __reduce__(self):
        return (_reopen, (self.uri, self._object_timeout_s, self._owner_only))

    @property
    def place(self) -> str:
        """What messages call this storage."""
        return self.uri

    def probe(self) -> None:
        """Raise StorageFault unless the root is there and may be listed and entered."""
        try:
            with os.scandir(self.uri):
                device = self._root.joinpath(".").stat().st_dev
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise StorageFault(f"{self.uri} cannot be used: {reason}; check the path, the mount, its rights") from None
        # An unmounted share leaves an empty directory in its place, in which every file would be `not_found`.
        if self._device not in (None, device):
            raise StorageFault(f"{self.uri} is no longer the file system it was; is it still mounted?")
        self._device = device

    def list(self, prefix: str = "", progress: Callable[[int], None] | None = None) -> Iterator[ObjectInfo]:
        seen = 0
        for seen, info in enumerate(walk(self._root, check_prefix(prefix)), start=1):
            if progress and seen % PROGRESS_EVERY == 0:
                progress(seen)
            yield info
        if progress:
            progress(seen)

    def stat(self, key: str) -> ObjectInfo | None:
        patience = _Patience(self._object_timeout_s)
        while True:
            try:
                status = self._path(key).stat()
                break
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG):
                    return None
                if not patience.wait_after(error):
                    self._refuse_item(key, error)
        return None if stat.S_ISDIR(status.st_mode) else _info(key, status)

    def read(self, key: str, max_bytes: int | None = None) -> bytes:
        return self.read_versioned(key, max_bytes)[0]

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        def read_all(file: BinaryIO) -> tuple[bytes, ObjectInfo]:
            before = os.fstat(file.fileno())
            if max_bytes is not None and before.st_size > max_bytes:
                raise ItemError(FailureCode.TOO_LARGE, f"{key}: {before.st_size} bytes, over the limit of {max_bytes}")
            data = file.read(before.st_size + 1)
            after = os.fstat(file.fileno())
            if len(data) != before.st_size or after.st_mtime_ns != before.st_mtime_ns:
                raise ItemError(FailureCode.SOURCE_CHANGED, f"{key}: written to while it was read")
            return data, _info(key, before)

        return self._with_file(key, read_all)

    def read_range(self, key: str, start: int, length: int) -> bytes:
        def read_part(file: BinaryIO) -> bytes:
            file.seek(start)
            return file.read(length)

        return self._with_file(key, read_part)

    def create(self, key: str, data: bytes | Path) -> bool:
        final = self._path(key)
        if os.path.lexists(final):  # spares writing it only to throw it away
            return False
        try:
            with self._temporary(final, data) as temporary:
                created = put_if_absent(temporary, final)
            # Also after losing: the winner may not have come to it yet, and we shall say the object is there.
            sync_directory(final.parent)
        except OSError as error:
            self._refuse_write(error)
        return created

    def replace(self, key: str, data: bytes | Path) -> None:
        final = self._path(key)
        try:
            with self._temporary(final, data) as temporary:
                temporary.replace(final)
            sync_directory(final.parent)
        except OSError as error:
            self._refuse_write(error)

    def delete(self, key: str) -> None:
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            self._refuse_write(error)

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        return pyarrow.fs.LocalFileSystem(), self.uri

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _temporary(self, final: Path, data: bytes | Path) -> AbstractContextManager[Path]:
        directory = final.parent
        make_directories(self._root.parent, 0o777)  # an output is not closed because its private part was made first
        make_directories(directory, 0o700 if self._owner_only else 0o777)
        if directory not in self._swept:
            remove_leftovers(directory)
            self._swept.add(directory)
        return temporary_file(directory, data, 0o600 if self._owner_only else 0o666)

    def _with_file(self, key: str, use: Callable[[BinaryIO], T]) -> T:
        """`use` on the open file, again while a file server is away for a moment; ItemError or StorageFault else."""
        path = self._path(key)
        patience = _Patience(self._object_timeout_s)
        if self._device is None:
            self.probe()
        while True:
            try:
                # Without O_NONBLOCK, opening a named pipe would wait for a writer for ever.
                with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                        raise ItemError(FailureCode.UNREADABLE, f"{key}: not a regular file")
                    return use(file)
            except OSError as error:
                if not patience.wait_after(error):
                    self._refuse_item(key, error)

    def _refuse_item(self, key: str, error: OSError) -> NoReturn:
        """ItemError for this file alone, unless the whole storage is out of reach."""
        reason = os.strerror(error.errno or 0)
        if error.errno in _EXHAUSTED:
            raise StorageFault(f"{self.uri}: {reason}; raise the limit (ulimit -n) or use fewer workers") from None
        self.probe()
        if error.errno == errno.ENOENT and self._path(key).is_symlink():
            raise ItemError(FailureCode.UNREADABLE, f"{key}: a symbolic link that leads nowhere") from None
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG):
            raise ItemError(FailureCode.NOT_FOUND, f"{key}: {reason}") from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise ItemError(FailureCode.ACCESS_DENIED, f"{key}: {reason}") from None
        raise ItemError(FailureCode.UNREADABLE, f"{key}: {reason}") from None

    def _refuse_write(self, error: OSError) -> NoReturn:
        reason = os.strerror(error.errno or 0)
        if isinstance(error, NoExclusiveCreateError):
            remedy = "this file system cannot create a file only if it is absent; write to a local disk, NFS or S3"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some space or raise the quota, then give the same command again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "grant write permission or choose another place"
        else:
            remedy = "check the disk or the mount, then give the same command again"
        raise StorageFault(f"cannot write below {self.uri}: {reason}; {remedy}") from None


class _Patience:
    """How long one file is tried again: a server as long as it may take, what may be damage for a moment."""

    def __init__(self, timeout_s: float) -> None:
        self._transient = Backoff(timeout_s)
        self._doubtful = Backoff(min(DOUBT_S, timeout_s))

    def wait_after(self, error: OSError) -> bool:
        """False, at once, where the file shall not be tried again."""
        if error.errno in _TRANSIENT:
            return self._transient.wait()
        return error.errno in _DOUBTFUL and self._doubtful.wait()


def _info(key: str, status: os.stat_result) -> ObjectInfo:
    return ObjectInfo(key, status.st_size, modified_ns=status.st_mtime_ns)


def _reopen(root: str, object_timeout_s: float, owner_only: bool) -> LocalStorage:
    return LocalStorage(root, object_timeout_s=object_timeout_s, owner_only=owner_only)
