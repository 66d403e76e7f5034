"""Files that are being written: their names, where they lie, and which of them killed writers left.

No name is skipped by every engine: polars refuses a directory of tables that has a file with another ending, and DuckDB
and ClickHouse read every file below a glob `/**`. Temporary files therefore lie in a directory of their own at the root
of the tree, which exists only while it has a file. The name says which process writes the file, so that the next writer
on the same machine can remove what a killed one left. Files of other machines are removed when they are a day old.
"""

import contextlib
import functools
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from diagchd_batch.sources.local.walk import TEMPORARY_NAME

TEMPORARY_DIRECTORY = "_tmp"
"""Name of the directory, below a tree's root, in which files are written."""

LEFTOVER_AGE_S = 24 * 3600
"""Age after which a temporary file must belong to a killed writer, on whatever machine."""

_UNKNOWN_MACHINE = "0" * 8
_ATTEMPTS = 100
"""How often the directory is made anew when other writers remove it at the same moment because it is empty."""


def temporary_name() -> str:
    """Return a new name for a file that this process is about to write."""
    return f".tmp-{_machine()}-{os.getpid()}-{secrets.token_hex(8)}"


@contextlib.contextmanager
def temporary_file(directory: Path, data: bytes | Path | BinaryIO, mode: int) -> Iterator[Path]:
    """Write a new file and yield its path; delete it at the end unless it was renamed.

    Args:
        directory: Where the file is created. A `TEMPORARY_DIRECTORY` is made, and removed when it is empty.
        data: Its contents, the path of a file that holds them, or an open file. They are flushed to disk.
        mode: Permission bits of the file before the umask is applied, 600 or 664. The directory gets 700 or 775.
    """
    temporary = directory / temporary_name()
    is_own = directory.name == TEMPORARY_DIRECTORY
    try:
        # `tempfile` would always create mode 600, and then the group could not read an archive that is open to it.
        with os.fdopen(_create(temporary, mode, make_directory=is_own), "wb") as file:
            if isinstance(data, Path):
                with data.open("rb") as source:
                    shutil.copyfileobj(source, file, 1 << 20)
            elif isinstance(data, bytes):
                file.write(data)
            else:
                data.seek(0)
                shutil.copyfileobj(data, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        if is_own:
            _remove_if_empty(directory)


def remove_leftovers(directory: Path) -> None:
    """Delete the temporary files in `directory` that killed writers left. The directory need not exist."""
    for path in _leftovers_in(directory):
        with contextlib.suppress(OSError):  # another writer may be cleaning up too
            path.unlink()


def find_leftovers(root: Path) -> list[Path]:
    """Return the temporary files below `root` that killed writers left, in ascending order."""
    return sorted(path for directory, _, _ in os.walk(root) for path in _leftovers_in(Path(directory)))


def has_foreign_temporary_files(root: Path, *, may_be_written: bool) -> bool:
    """Return whether files below `root` have names of temporary files and are not from killed writers of this program.

    A listing leaves out every such name, so whoever must know all files of a directory asks this, too. The names of
    earlier versions, which do not tell the writer, count as foreign.

    Args:
        root: The directory, which need not exist.
        may_be_written: Whether files that another process is writing are no foreign ones.
    """
    left = set(find_leftovers(root))
    return any(
        match["machine"] is None or (not may_be_written and path not in left)
        for directory, _, names in os.walk(root)
        for name in names
        if (match := TEMPORARY_NAME.fullmatch(name)) and (path := Path(directory, name))
    )


def _leftovers_in(directory: Path) -> list[Path]:
    try:
        with os.scandir(directory) as entries:
            return [Path(entry.path) for entry in entries if _is_leftover(entry)]
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []


def _is_leftover(entry: os.DirEntry[str]) -> bool:
    match = TEMPORARY_NAME.fullmatch(entry.name)
    if match is None:
        return False
    is_of_this_machine = match["machine"] == _machine() != _UNKNOWN_MACHINE
    if is_of_this_machine and not _lives(int(match["pid"])):
        return True
    try:
        return time.time() - entry.stat(follow_symlinks=False).st_mtime > LEFTOVER_AGE_S
    except OSError:  # its writer finished meanwhile
        return False


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it belongs to another user
        return True
    return True


@functools.cache
def _machine() -> str:
    """Return 8 hex digits for what process ids are unique in: this boot of the machine and, in it, this container.

    The host's name is part of it, because copies of a virtual machine that is running share the id of the boot.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        container = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return _UNKNOWN_MACHINE
    return hashlib.sha256(f"{os.uname().nodename}\0{boot}\0{container}".encode()).hexdigest()[:8]


def _create(path: Path, mode: int, *, make_directory: bool) -> int:
    """Create a file and return its descriptor."""
    for attempt in range(_ATTEMPTS):
        if make_directory:
            with contextlib.suppress(FileExistsError):
                path.parent.mkdir(0o700 if mode == 0o600 else 0o775)
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        except FileNotFoundError:
            if not make_directory or attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("the loop returns or raises")


def _remove_if_empty(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()
