"""Walking a directory tree of any size in little memory."""

import errno
import heapq
import os
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

from diagchd_batch.errors import StorageFault
from diagchd_batch.sources.source import LINKS_NOT_FOLLOWED, NAMES_NOT_UTF8, PATHS_TOO_LONG, Gaps, ObjectInfo

TEMPORARY_NAME = re.compile(r"\.tmp-((?P<machine>[0-9a-f]{8})-(?P<pid>[0-9]{1,10})-)?[0-9a-f]{16}")
"""Name of a file that a store has not finished writing. The pattern is exact, so that no file of a user matches it.

`machine` and `pid` tell the process that writes it; `storage.temporary_files` makes them. Names of earlier versions do
not have them.
"""

# mkfs makes this directory at the top of a disk for root alone. It never holds files of an archive.
_SYSTEM_DIRECTORIES = {"lost+found"}


def walk(root: Path, prefix: str, gaps: Gaps) -> Iterator[ObjectInfo]:
    """Yield every file below a directory, depth first. One directory is held open per level, and no names of files.

    Links to files and directories are followed, because archives are often gathered by links. Links to directories are
    followed last, those of the fewest levels first and then in the order of their keys, so that equal trees give equal
    keys. A directory below the root is listed under its own name alone, and one elsewhere under the first link that
    leads to it. Memory grows with the number of links to directories. A link whose target does not exist is listed with
    size 0, so that an image that was planned is reported as failed instead of being lost.

    Args:
        root: The directory that keys are relative to.
        prefix: Directory below `root` to walk, with a slash at its end; '' for `root`. Nothing is yielded if it does
            not exist.
        gaps: Receives the links that were not followed (`LINKS_NOT_FOLLOWED`), the paths that are too long
            (`PATHS_TOO_LONG`), and the files and directories whose names are not valid UTF-8 (`NAMES_NOT_UTF8`).

    Yields:
        The files with their sizes and times.

    Raises:
        StorageFault: A directory cannot be listed. It is not skipped, because its studies would be lost silently.
    """
    base = os.path.realpath(root / prefix)
    links: list[tuple[int, str]] = []
    visited: set[tuple[int, int]] = set()
    try:
        start = _Level(root / prefix, prefix)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise _cannot_list(root, error) from None
    visited.add(start.identity)
    yield from _walk_without_links(root, start, links, None, gaps)
    while links:
        _, link = heapq.heappop(links)
        path = root / link
        if _is_listed(os.path.realpath(path), base):
            gaps.add(LINKS_NOT_FOLLOWED, link)
            continue
        below = _enter(root, path, link, gaps)
        if below and below.identity in visited:
            below.entries.close()
            gaps.add(LINKS_NOT_FOLLOWED, link)
        elif below:
            visited.add(below.identity)
            yield from _walk_without_links(root, below, links, visited, gaps)


def _walk_without_links(
    root: Path,
    start: "_Level",
    links: list[tuple[int, str]],
    visited: set[tuple[int, int]] | None,
    gaps: Gaps,
) -> Iterator[ObjectInfo]:
    """Yield the files of a tree, and put its links to directories into the heap `links`.

    Directories in `visited` are left out, and the others are added to it. It is None below the root, where no directory
    is met twice.
    """
    stack = [start]
    try:
        while stack:
            level = stack[-1]
            try:
                entry = next(level.entries, None)
            except OSError as error:
                raise _cannot_list(root, error) from None
            if entry is None:
                stack.pop().entries.close()
            elif not _is_utf8(entry.name):
                gaps.add(NAMES_NOT_UTF8, level.prefix + entry.name)
            elif _is_directory(root, entry):
                key = f"{level.prefix}{entry.name}/"
                if entry.is_symlink():
                    heapq.heappush(links, (key.count("/"), key))
                    continue
                below = _enter(root, Path(entry.path), key, gaps)
                if below and visited is not None and below.identity in visited:
                    below.entries.close()
                elif below:
                    if visited is not None:
                        visited.add(below.identity)
                    stack.append(below)
            elif not TEMPORARY_NAME.fullmatch(entry.name):
                info = _describe(root, entry, level.prefix, gaps)
                if info:
                    yield info
    finally:
        for level in stack:
            level.entries.close()


def _is_listed(path: str, base: str) -> bool:
    """Return whether a directory is listed under its own name: it lies below `base`, and not in a hidden directory."""
    if path == base:
        return True
    prefix = base.rstrip("/") + "/"
    return path.startswith(prefix) and not any(part.startswith(".") for part in path.removeprefix(prefix).split("/"))


def modified_ns(status: os.stat_result) -> int:
    """Return a file's modification time in nanoseconds, within the 64 bits that tables have for it.

    Times before 1677 and after 2262 become the first or the last one.
    """
    return max(-(2**63), min(status.st_mtime_ns, 2**63 - 1))


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


def _enter(root: Path, path: Path, prefix: str, gaps: Gaps) -> _Level | None:
    try:
        return _Level(path, prefix)
    except (FileNotFoundError, NotADirectoryError):  # it was removed after its name was read
        return None
    except PermissionError as error:
        if path.name in _SYSTEM_DIRECTORIES:
            return None
        raise _cannot_list(root, error) from None
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            gaps.add(PATHS_TOO_LONG, prefix)
            return None
        raise _cannot_list(root, error) from None


def _describe(root: Path, entry: os.DirEntry[str], prefix: str, gaps: Gaps) -> ObjectInfo | None:
    key = prefix + entry.name
    try:
        status = entry.stat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG and not entry.is_symlink():
            gaps.add(PATHS_TOO_LONG, key)
            return None
        # A link without a target, a circle of links, or a target in a closed directory.
        try:
            return ObjectInfo(key, 0, modified_ns=modified_ns(entry.stat(follow_symlinks=False)))
        except FileNotFoundError:  # it was removed after its name was read
            return None
        except OSError as link_error:
            if link_error.errno != errno.ENAMETOOLONG:
                raise _cannot_list(root, link_error) from None
            gaps.add(PATHS_TOO_LONG, key)
            return None
    return ObjectInfo(key, status.st_size, modified_ns=modified_ns(status))


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
            f"(find it with: find -L {shlex.quote(str(root))} -type d ! -executable -o -type d ! -readable)"
        )
    return StorageFault(f"{root} cannot be listed: {os.strerror(error.errno or 0)}; check the disk or the mount")
