"""Writing to a directory on a local disk or a mounted share."""

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NoReturn

import pyarrow.fs

from diagchd_batch.errors import StorageFault
from diagchd_batch.sources.local.source import LocalSource
from diagchd_batch.storage.atomic_files import (
    NoExclusiveCreateError,
    make_directories,
    put_if_absent,
    remove_leftovers,
    sync_directory,
    temporary_file,
)
from diagchd_batch.storage.registry import StoreOptions
from diagchd_batch.storage.store import Contents


class LocalStore(LocalSource):
    """The `Store` for a directory. `open_store` makes it.

    New files have mode 666 and new directories 777, less the umask; with `owner_only` 600 and 700. Directories that
    exist already keep their mode.
    """

    def __init__(self, uri: str, options: StoreOptions | None = None) -> None:
        super().__init__(uri, options)
        self._owner_only = options is not None and options.owner_only
        self._cleaned: set[Path] = set()

    def create(self, key: str, data: Contents) -> bool:
        """See `Store.create`."""
        final = self._path(key)
        if os.path.lexists(final):  # saves writing a file only to discard it
            return False
        try:
            with self._temporary(final, data) as temporary:
                created = put_if_absent(temporary, final)
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
            with self._temporary(final, data) as temporary:
                temporary.replace(final)
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

    def _temporary(self, final: Path, data: Contents) -> AbstractContextManager[Path]:
        directory = final.parent
        # The directories above the root stay open to others: a private tree may be created before its public output.
        make_directories(self._root.parent, 0o777)
        make_directories(directory, 0o700 if self._owner_only else 0o777)
        if directory not in self._cleaned:
            remove_leftovers(directory)
            self._cleaned.add(directory)
        return temporary_file(directory, data, 0o600 if self._owner_only else 0o666)

    def _raise_write_error(self, error: OSError) -> NoReturn:
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
