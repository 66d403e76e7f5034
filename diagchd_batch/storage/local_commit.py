"""Writing files on a local disk so that nobody ever sees half of one, and so that a first writer stays the first.

A file is written under a temporary name in its own directory, flushed to the disk, and put in place by one atomic
step: `link` (or a rename that refuses to replace) to create, a plain rename to replace. The directory is flushed last,
so that the name survives a power cut as the contents do.
"""

import contextlib
import ctypes
import errno
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

# A name of this form is ours and unfinished; listings leave it out. Exact, so that nobody's own file is overlooked.
TEMPORARY_NAME = re.compile(r"\.tmp-[0-9a-f]{16}")

LEFTOVER_AGE_S = 24 * 3600
"""A temporary file not written to for so long belongs to a killed writer."""

# What `link` answers where the file system, or a hardening setting, does not offer it.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
_NO_FLAGS = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class NoExclusiveCreateError(OSError):
    """The file system offers neither links nor a rename that cannot replace: first-writer-wins cannot be had on it."""


@contextlib.contextmanager
def temporary_file(directory: Path, data: bytes | Path, mode: int) -> Iterator[Path]:
    """A new, durable file in `directory` that holds `data`; removed at the end if it still has its first name."""
    temporary = directory / f".tmp-{secrets.token_hex(8)}"
    try:
        # O_EXCL with 0o666 & ~umask, not tempfile's 0600: group-readable archives shall stay so.
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            else:
                file.write(data)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def put_if_absent(temporary: Path, final: Path) -> bool:
    """Give `temporary` the name `final` if nothing has it; False if something has."""
    try:
        os.link(temporary, final, follow_symlinks=False)
        return True
    except FileExistsError:
        # Over NFS a link may succeed, its answer be lost, and the repeated request find its own work.
        return temporary.stat().st_nlink > 1 and temporary.samefile(final)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
    return _rename_no_replace(temporary, final)


def _rename_no_replace(source: Path, target: Path) -> bool:
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        code = errno.ENOSYS
    else:
        if rename(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), _RENAME_NOREPLACE) == 0:
            return True
        code = ctypes.get_errno()
    if code == errno.EEXIST:
        return False
    if code in _NO_FLAGS:
        # A lock file would have to be broken when its owner dies, and breaking it lets two writers through;
        # writing under the final name would show half a file. Neither is a commit, so there is no third way.
        raise NoExclusiveCreateError(code, "neither hard links nor a rename that cannot replace")
    raise OSError(code, os.strerror(code))


def make_directories(directory: Path, mode: int) -> None:
    """`mkdir -p`, durable, every new level with `mode` (which `os.makedirs` applies to the last level alone)."""
    if directory.is_dir():
        return
    parent = directory.parent
    make_directories(parent, mode)
    try:
        directory.mkdir(mode)
    except FileExistsError:  # made by another writer meanwhile, or a file lies there
        if not directory.is_dir():
            raise
    sync_directory(parent)


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not have the operation
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(directory: Path) -> None:
    """Remove what killed writers left in `directory` longer than `LEFTOVER_AGE_S` ago."""
    with os.scandir(directory) as entries:
        for entry in entries:
            if TEMPORARY_NAME.fullmatch(entry.name):
                with contextlib.suppress(OSError):  # another writer may be cleaning up too
                    if time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_AGE_S:
                        Path(entry.path).unlink()
