"""Writing files on a local disk so that no reader sees half of one and a second writer cannot replace the first.

A file is written under a temporary name, flushed to disk, and put in place by one atomic step: `link` (or a rename that
refuses to replace) to create it, a plain rename to replace it. The directory is flushed last, so that the name survives
a power cut as well as the contents.
"""

import ctypes
import errno
import os
from pathlib import Path

# `link` fails with one of these if the file system, or a hardening setting, does not offer it.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
_NO_FLAGS = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1


class NoExclusiveCreateError(OSError):
    """The file system offers neither hard links nor a rename that cannot replace, so the first writer may not win."""


def put_if_absent(temporary: Path, final: Path) -> bool:
    """Give a temporary file its final name, unless that name is taken.

    Args:
        temporary: The temporary file, on the same file system as `final`.
        final: The name that it gets.

    Returns:
        Whether the file got the name. False means that another file has it.

    Raises:
        OSError: The file system refuses the operation.
    """
    try:
        os.link(temporary, final, follow_symlinks=False)
        return True
    except FileExistsError:
        # NFS repeats a request whose answer was lost. The repeated link then finds the one that it made itself.
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
        # There is no third way. A lock file would have to be broken when its owner dies, which lets two writers
        # through. Writing under the final name would show half a file.
        raise NoExclusiveCreateError(code, "neither hard links nor a rename that cannot replace")
    raise OSError(code, os.strerror(code))


def make_directories(directory: Path, mode: int) -> None:
    """Create a directory and its parents, and flush them to disk.

    Args:
        directory: The directory.
        mode: Permission bits of every new level before the umask is applied. `os.makedirs` would apply them to the last
            level only.

    Raises:
        OSError: A directory cannot be created, or a file has its name.
    """
    if directory.is_dir():
        return
    parent = directory.parent
    make_directories(parent, mode)
    try:
        directory.mkdir(mode)
    except FileExistsError:  # another writer made it meanwhile, or a file has this name
        if not directory.is_dir():
            raise
    sync_directory(parent)


def sync_directory(directory: Path) -> None:
    """Flush the names in a directory to disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems do not offer it
            raise
    finally:
        os.close(descriptor)
