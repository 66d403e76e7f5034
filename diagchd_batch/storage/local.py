"""Writing to a directory on a local disk or a mounted share."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pyarrow.fs

from diagchd_batch.errors import StorageFault
from diagchd_batch.sources.local.source import LocalSource
from diagchd_batch.storage.atomic_files import (
    NoExclusiveCreateError,
    make_directories,
    put_if_absent,
    sync_directory,
)
from diagchd_batch.storage.registry import StoreOptions
from diagchd_batch.storage.store import Contents
from diagchd_batch.storage.temporary_files import (
    TEMPORARY_DIRECTORY,
    find_leftovers,
    remove_leftovers,
    temporary_file,
)

_WRITE_BESIDE = {errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS}
"""Errors after which a file is written beside its final name: that directory is another file system, or a mount of its
own, or the tree's root is closed to this user."""


class LocalStore(LocalSource):
    """The `Store` for a directory. `open_store` makes it.

    New files have mode 664 and new directories 775, less the umask; with `owner_only` 600 and 700. Other users cannot
    change what it writes, whatever the umask is. Directories that exist already keep their mode.
    """

    def __init__(self, uri: str, options: StoreOptions | None = None) -> None:
        super().__init__(uri, options)
        self._owner_only = options is not None and options.owner_only
        self._cleaned: set[Path] = set()
        self._written_beside: set[Path] = set()

    def create(self, key: str, data: Contents) -> bool:
        """See `Store.create`."""
        final = self._path(key)
        if os.path.lexists(final):  # saves writing a file only to discard it
            return False
        try:
            created = self._write(final, data, put_if_absent)
            # The directory is flushed after a lost race, too. The winner may not have done so yet, and the caller is
            # going to rely on the object's existence.
            sync_directory(final.parent)
        except OSError as error:
            self._raise_write_error(error)
        return created

    def replace(self, key: str, data: Contents) -> None:
        """See `Store.replace`."""
        final = self._path(key)
        try:
            self._write(final, data, _replace)
            sync_directory(final.parent)
        except OSError as error:
            self._raise_write_error(error)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            self._path(key).unlink(missing_ok=True)
        except OSError as error:
            self._raise_write_error(error)

    def arrow(self) -> tuple[pyarrow.fs.FileSystem, str]:
        """See `Store.arrow`."""
        return pyarrow.fs.LocalFileSystem(), self.uri

    def leftovers(self) -> list[str]:
        """See `Store.leftovers`."""
        return [path.relative_to(self._root).as_posix() for path in find_leftovers(self._root)]

    def _write(self, final: Path, data: Contents, put: Callable[[Path, Path], bool]) -> bool:
        """Write a temporary file, put it in place, and return what `put` returns."""
        directory = final.parent
        # The directories above the root stay open to others: a private tree may be created before its public output.
        make_directories(self._root.parent, 0o775)
        make_directories(directory, 0o700 if self._owner_only else 0o775)
        mode = 0o600 if self._owner_only else 0o664
        for place in (self._root / TEMPORARY_DIRECTORY, directory):
            if place not in self._cleaned:
                remove_leftovers(place)
                self._cleaned.add(place)
        if directory not in self._written_beside:
            try:
                with temporary_file(self._root / TEMPORARY_DIRECTORY, data, mode) as temporary:
                    return put(temporary, final)
            except OSError as error:
                if error.errno not in _WRITE_BESIDE:
                    raise
            self._written_beside.add(directory)
        with temporary_file(directory, data, mode) as temporary:
            return put(temporary, final)

    def _raise_write_error(self, error: OSError) -> NoReturn:
        reason = os.strerror(error.errno or 0)
        if isinstance(error, NoExclusiveCreateError):
            remedy = "this file system cannot create a file only if it is absent; write to a local disk, NFS or S3"
        elif error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "free some space or raise the quota, then give the same command again"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            remedy = "grant write permission or choose another place"
        elif error.errno in (errno.ENOTDIR, errno.EEXIST):
            remedy = "a part of this path is a file; choose another place"
        else:
            remedy = "check the disk or the mount, then give the same command again"
        raise StorageFault(f"cannot write below {self.uri}: {reason}; {remedy}") from None


def _replace(temporary: Path, final: Path) -> bool:
    temporary.replace(final)
    return True
