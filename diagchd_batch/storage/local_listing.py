"""Walking a directory tree of any size with little memory."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from diagchd_batch.errors import InputError, StorageFault
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.storage.local_commit import TEMPORARY_NAME

# Made by mkfs for root alone at the top of a disk; never holds an archive's files.
_SYSTEM_DIRECTORIES = {"lost+found"}


def walk(root: Path, prefix: str) -> Iterator[ObjectInfo]:
    """Every file below `root`/`prefix`, keys relative to `root`; nothing where there is no such directory.

    Depth first, holding one open directory per level and no names. Links to files and directories are followed, since
    archives are often gathered by links; a directory that contains itself is not entered again. A link that leads
    nowhere is listed (with size 0), so that whoever planned on it hears of it.

    Raises StorageFault for a directory that may not be listed, since leaving it out would lose studies silently, and
    InputError for names that are not UTF-8, which no table could hold.
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
    """One open directory on the way down."""

    def __init__(self, path: Path, prefix: str) -> None:
        self.prefix = prefix
        status = path.stat()
        self.identity = (status.st_dev, status.st_ino)
        self.entries = os.scandir(path)


def _is_directory(root: Path, entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except PermissionError as error:
        # A link into a place closed to us. Without a suffix it stands for a study rather than an image.
        if not Path(entry.name).suffix:
            raise _cannot_list(root, error) from None
    except OSError:  # a circle of links
        pass
    return False


def _enter(root: Path, entry: os.DirEntry[str], prefix: str) -> _Level | None:
    try:
        return _Level(Path(entry.path), prefix)
    except (FileNotFoundError, NotADirectoryError):  # removed since its name was read
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
    except OSError:  # a broken link, a circle of links, or one that leads where we may not look
        try:
            return ObjectInfo(key, 0, modified_ns=entry.stat(follow_symlinks=False).st_mtime_ns)
        except FileNotFoundError:  # removed since its name was read
            return None
    return ObjectInfo(key, status.st_size, modified_ns=status.st_mtime_ns)


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # os.scandir hands undecodable bytes over as lone surrogates
        return False
    return True


def _cannot_list(root: Path, error: OSError) -> StorageFault:
    if error.errno in (errno.EACCES, errno.EPERM):
        return StorageFault(
            f"{root}: a directory in it may not be listed; grant read and execute permission or move it elsewhere "
            f"(find it with: find -L {root} -type d ! -executable -o -type d ! -readable)"
        )
    return StorageFault(f"{root} cannot be listed: {os.strerror(error.errno or 0)}; check the disk or the mount")
