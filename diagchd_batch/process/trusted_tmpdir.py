"""The directory that temporary files lie below: TMPDIR, unless other users can rename what lies there."""

import grp
import os
import pwd
import re
import stat
import warnings
from pathlib import Path

from diagchd_batch.errors import RunFault

SYSTEM_DIRECTORIES = ("/tmp", "/var/tmp", "/usr/tmp")
"""Where temporary files lie if no variable names another place; the same as in Python's `tempfile`."""

_VARIABLES = ("TMPDIR", "TEMP", "TMP")
_GROUP_WRITES, _OTHERS_WRITE = stat.S_IWGRP, stat.S_IWOTH
_ROOT = 0


_MOUNTS = Path("/proc/self/mountinfo")
_EMPTY_DIR = re.compile(r"(?:/[^/]+)*/volumes/kubernetes\.io~empty-dir/.+")
_POD_VARIABLE = "KUBERNETES_SERVICE_HOST"


class TemporaryBaseWarning(UserWarning):
    """Temporary files do not go where TMPDIR says."""


def temporary_base() -> Path:
    """Return the first directory in which this user can write and no other user can rename what lies there.

    Those that the variables TMPDIR, TEMP and TMP name come first, then `/tmp` and the other usual ones. A
    `TemporaryBaseWarning` says, once in a process, if the directory that a variable names is passed over.

    Returns:
        The directory, without symbolic links.

    Raises:
        RunFault: There is no such directory.
    """
    named = [value for name in _VARIABLES if (value := os.environ.get(name))]
    problems: list[str] = []
    for candidate in (*named, *SYSTEM_DIRECTORIES):
        path = Path(os.path.realpath(candidate))
        if problem := problem_of(path):
            problems.append(f"{candidate}: {problem}")
            continue
        if problems and candidate not in named:
            # The same place in the code for all callers, so that Python shows the message once.
            warnings.warn(
                f"temporary files go to {candidate}, because they cannot go to {problems[0]}",
                TemporaryBaseWarning,
                stacklevel=1,
            )
        return path
    raise RunFault(
        "there is no directory in which temporary files are safe from other users: "
        f"{'; '.join(dict.fromkeys(problems))}. Set TMPDIR to a directory of your own (mkdir -m 700). In a container, "
        "mount a volume on /tmp that has the sticky bit (docker run --tmpfs /tmp), or an emptyDir in Kubernetes"
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
        if status.st_mode & _OTHERS_WRITE and level in _empty_dirs_of_this_pod():
            continue  # these always lack the sticky bit, but only the containers of one pod can reach them
        if status.st_mode & _OTHERS_WRITE:
            return f"other users may rename what lies in {level} (it lacks the sticky bit)"
        if status.st_mode & _GROUP_WRITES and not _is_own_group(status.st_gid):
            return f"the group of {level} may rename what lies there (it lacks the sticky bit)"
    return None


def _empty_dirs_of_this_pod() -> set[Path]:
    """Return where volumes of the kind emptyDir are mounted, if this process runs in a pod of Kubernetes.

    The kernel's table of mounts, whose entries only root can make, shows where on the node a volume lies. A volume in
    memory lies on a file system of its own.
    """
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return set()
    found = set()
    for line in lines:
        mount, _, file_system = line.partition(" - ")
        root, mount_point = mount.split()[3:5]
        in_memory = _POD_VARIABLE in os.environ and root == "/" and file_system.startswith("tmpfs ")
        if in_memory or _EMPTY_DIR.fullmatch(root):
            found.add(Path(mount_point))
    return found


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
