"""The directory that temporary files lie below: TMPDIR, unless other users can rename what lies there."""

import grp
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from diagchd_batch.errors import RunFault

SYSTEM_DIRECTORIES = ("/tmp", "/var/tmp", "/usr/tmp")
"""Where temporary files lie if no variable names another place; the same as in Python's `tempfile`."""

_VARIABLES = ("TMPDIR", "TEMP", "TMP")
_GROUP_WRITES, _OTHERS_WRITE = stat.S_IWGRP, stat.S_IWOTH
_ROOT = 0


@dataclass(frozen=True)
class TemporaryBase:
    """A directory for temporary files.

    Attributes:
        path: The directory, without symbolic links.
        passed_over: A message about the directory that a variable names, if it is not this one; otherwise None.
    """

    path: Path
    passed_over: str | None = None


def temporary_base() -> TemporaryBase:
    """Return the first directory in which this user can write and no other user can rename what lies there.

    Those that the variables TMPDIR, TEMP and TMP name come first, then `/tmp` and the other usual ones.

    Raises:
        RunFault: There is no such directory.
    """
    named = [value for name in _VARIABLES if (value := os.environ.get(name))]
    problems: list[str] = []
    for candidate in (*named, *SYSTEM_DIRECTORIES):
        path = Path(os.path.realpath(candidate))
        if problem := problem_of(path):
            problems.append(f"{candidate}: {problem}")
        elif problems and candidate not in named:
            return TemporaryBase(path, f"temporary files go to {candidate}, because they cannot go to {problems[0]}")
        else:
            return TemporaryBase(path)
    raise RunFault(
        "there is no directory in which temporary files are safe from other users: "
        f"{'; '.join(dict.fromkeys(problems))}. Set TMPDIR to a directory of your own (mkdir -m 700)"
    )


def problem_of(directory: Path) -> str | None:
    """Return why temporary files cannot lie in a directory, or None if they can.

    Args:
        directory: A path without symbolic links.
    """
    if not directory.is_dir():
        return "it is no directory, or it cannot be entered"
    if not os.access(directory, os.W_OK | os.X_OK):
        return "it cannot be written"
    for level in (directory, *directory.parents):
        status = level.stat()
        if status.st_uid not in _trusted_owners():
            return f"{level} belongs to another user, who may rename what lies there"
        if status.st_mode & stat.S_ISVTX:
            continue  # the sticky bit: only the owner of a file may rename it
        if status.st_mode & _OTHERS_WRITE:
            return f"other users may rename what lies in {level} (it lacks the sticky bit)"
        if status.st_mode & _GROUP_WRITES and not _is_own_group(status.st_gid):
            return f"the group of {level} may rename what lies there (it lacks the sticky bit)"
    return None


def _trusted_owners() -> set[int]:
    owners = {_ROOT, os.geteuid()}
    overflow = _unmapped_owner()
    return owners if overflow is None else owners | {overflow}


def _unmapped_owner() -> int | None:
    """Return the number that stands for root of the machine in a container without privileges, or None.

    Such a container (Apptainer, for example) maps few users, and shows the owners of all other files as one number.
    """
    try:
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
        ranges = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
    except (OSError, ValueError):
        return None
    mapped = any(int(first) <= overflow < int(first) + int(count) for first, _, count in ranges)
    return None if mapped else overflow


def _is_own_group(group: int) -> bool:
    """Return whether the group is the one that many systems make for each user, with the user as its only member."""
    try:
        user, entry = pwd.getpwuid(os.geteuid()), grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and entry.gr_name == user.pw_name and set(entry.gr_mem) <= {user.pw_name}
