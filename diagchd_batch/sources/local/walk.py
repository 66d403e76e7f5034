"""Walking a directory tree of any size in little memory."""

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from diagchd_batch.errors import InputError, StorageFault
from diagchd_batch.sources.source import ObjectInfo

TEMPORARY_NAME = re.compile(r"\.tmp-((?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-)?[0-9a-f]{16}")
"""Name of a file that a store has not finished writing. The pattern is exact, so that no file of a user matches it.

`machine` and `pid` tell the process that writes it; `storage.temporary_files` makes them. Names of earlier versions do
not have them.
"""

# mkfs makes this directory at the top of a disk for root alone. It never holds files of an archive.
_SYSTEM_DIRECTORIES = {"lost+found"}


def walk(root: Path, prefix: str) -> Iterator[ObjectInfo]:
    """Yield every file below a directory, depth first. One directory is held open per level, and no names.

    Links to files and directories are followed, because archives are often gathered by links. A directory that
    contains itself is not entered again. A link whose target does not exist is listed with size 0, so that an image
    that was planned is reported as failed instead of being lost.

    Args:
        root: The directory that keys are relative to.
        prefix: Directory below `root` to walk, with a slash at its end; '' for `root`. Nothing is yielded if it does
            not exist.

    Raises:
        StorageFault: A directory cannot be listed. It is not skipped, because its studies would be lost silently.
        InputError: A name is not valid UTF-8, so no table could hold it.
    """
    try:
        stack = [_Level(root / prefix, prefix)]
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _cannot_list(root, error) from None
    try:
        while stack:
            level = stack[-1]
            try:
                entry = next(level.entries, None)
            except OSError as error:
                raise _cannot_list(root, error) from None
            if entry is None:
                stack.pop().entries.close()
            elif _is_directory(root, entry):
                below = _enter(root, entry, f"{level.prefix}{entry.name}/")
                if below and all(below.identity != above.identity for above in stack):
                    stack.append(below)
                elif below:
                    below.entries.close()
            elif not TEMPORARY_NAME.fullmatch(entry.name):
                info = _describe(root, entry, level.prefix)
                if info:
                    yield info
    finally:
        for level in stack:
            level.entries.close()


class _Level:
    """One open directory between the root and the current entry."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.prefix = prefix
        status = path.stat()
        self.identity = (status.st_dev, status.st_ino)
        self.entries = os.scandir(path)


def _is_directory(root: Path, entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError as error:
        # The entry is a link into a closed directory. If its name has no suffix, it is more likely a study than an
        # image.
        if not Path(entry.name).suffix:
            raise _cannot_list(root, error) from None
    except OSError:  # a circle of links
        pass
    return False


def _enter(root: Path, entry: os.DirEntry[str], prefix: str) -> _Level | None:
    try:
        return _Level(Path(entry.path), prefix)
    except (FileNotFoundError, NotADirectoryError):  # it was removed after its name was read
        return None
    except PermissionError as error:
        if entry.name in _SYSTEM_DIRECTORIES:
            return None
        raise _cannot_list(root, error) from None
    except OSError as error:
        raise _cannot_list(root, error) from None


def _describe(root: Path, entry: os.DirEntry[str], prefix: str) -> ObjectInfo | None:
    key = prefix + entry.name
    if not _is_utf8(key):
        raise InputError(
            f"below {root} are file or directory names that are not valid UTF-8; rename them first "
            "(for example: convmv -r -f latin1 -t utf8 --notest DIRECTORY)"
        )
    try:
        status = entry.stat()
    except OSError:  # a link without a target, a circle of links, or a target in a closed directory
        try:
            return ObjectInfo(key, 0, modified_ns=entry.stat(follow_symlinks=False).st_mtime_ns)
        except FileNotFoundError:  # it was removed after its name was read
            return None
    return ObjectInfo(key, status.st_size, modified_ns=status.st_mtime_ns)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # os.scandir returns undecodable bytes as lone surrogates
        return False
    return True


def _cannot_list(root: Path, error: OSError) -> StorageFault:
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageFault(
            f"{root}: a directory below it cannot be listed; grant read and execute permission or move it elsewhere "
            f"(find it with: find -L {root} -type d ! -executable -o -type d ! -readable)"
        )
    return StorageFault(f"{root} cannot be listed: {os.strerror(error.errno or 0)}; check the disk or the mount")
