"""Temporary directories that only their user can enter, and that the next start removes if their process was killed."""

import errno
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from diagchd_batch.errors import RunFault
from diagchd_batch.process.trusted_tmpdir import temporary_base

_PREFIX = "dcb-"  # short, because the path of a socket in the directory has at most 107 bytes
_NAME = re.compile(re.escape(_PREFIX) + r"\d+-\w+")
_LOCK = "lock"
_SETUP_S = 60.0
"""A directory without a lock that is younger than this may belong to a process that is just setting it up."""

_MAX_ATTEMPTS = 10


@contextmanager
def private_directory(base: Path | None = None) -> Iterator[Path]:
    """Make an empty directory below `base` for the block. Only this user can enter it, whatever the umask is.

    It is removed at the end of the block. While the block lasts, this process holds a lock on a file in the directory.
    The kernel drops the lock when the process ends, however it ends. So the next call can tell which directories of
    this user were left by killed processes, and removes them; a process id that is in use again does not mislead it.
    What other users put into `base` is ignored.

    Args:
        base: The directory that it is made in; by default `temporary_base()`.

    Raises:
        RunFault: The directory cannot be made, or another user interferes with it.
    """
    base = base or temporary_base()
    remove_leftovers(base)
    try:
        path, lock = _create(base)
    except OSError as error:
        raise RunFault(
            f"no directory can be made below the temporary directory {base}: {os.strerror(error.errno or 0)}; free "
            "some space or set TMPDIR, then give the same command again"
        ) from error
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_leftovers(base: Path) -> None:
    """Remove what killed processes of this user left below `base`. What cannot be read or removed is left alone."""
    with suppress(OSError), os.scandir(base) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    _remove_if_left(Path(entry.path))


def directories_of_this_user() -> list[Path]:
    """Return the directories that processes of this user made below `temporary_base()` and that are still there.

    Raises:
        RunFault: There is no directory that is safe from other users.
    """
    found = []
    with suppress(OSError), os.scandir(temporary_base()) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name):
                with suppress(OSError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                        found.append(Path(entry.path))
    return sorted(found)


def _remove_if_left(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    try:
        lock = os.open(path / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        if time.time() - status.st_mtime > _SETUP_S:
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its process lives, or there are no locks here
        shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(lock)


def _create(base: Path) -> tuple[Path, int]:
    """Return a new directory, and the descriptor that locks it."""
    for _ in range(_MAX_ATTEMPTS):
        path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir=base))
        # Another process that removes leftovers may come between these steps, and then takes the directory away.
        with suppress(FileNotFoundError, BlockingIOError):
            _refuse_interference(path)
            return path, _locked(path / _LOCK)
    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _locked(path: Path) -> int:
    """Create a file and lock it. Raises FileNotFoundError or BlockingIOError if another process removes it."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            return lock  # this file system has no locks; nobody can remove the directory by mistake, then
        path.lstat()
    except OSError:
        os.close(lock)
        raise
    return lock


def _refuse_interference(path: Path) -> None:
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise RunFault(
            f"the directory {path}, which this program has just made for itself, is not its own; another user, or the "
            "file system, changes what lies there. Set TMPDIR to a directory of your own on a local disk"
        )
