"""What Ray needs of this machine and of this Python before it can be started here. Without it Ray would hang."""

import errno
import os
import shutil
import socket
import sys
from pathlib import Path

from diagchd_batch.errors import ConfigError, RunFault

MIN_FREE_AT_START_BYTES = 32 << 20
"""Room for the logs and sockets of Ray's processes, which are a few megabytes."""

MIN_FREE_DURING_RUN_BYTES = 1 << 20

_LOOPBACK = "127.0.0.1"
_LOOPBACK_TIMEOUT_S = 10.0
_WITHOUT_DOCSTRINGS = 2


def check_local_requirements(base: Path) -> None:
    """Check what Ray needs in order to start on this machine.

    Args:
        base: The directory below which Ray's directory is made.

    Raises:
        ConfigError: Python runs without docstrings.
        RunFault: The disk is full, or the loopback interface does not answer.
    """
    if sys.flags.optimize >= _WITHOUT_DOCSTRINGS:
        raise ConfigError(
            "Python removes docstrings (PYTHONOPTIMIZE=2 or -OO), and Ray does not start without them; unset "
            "PYTHONOPTIMIZE, then give the same command again"
        )
    check_free_space(base, MIN_FREE_AT_START_BYTES)
    _check_loopback()


def check_free_space(base: Path, min_bytes: int) -> None:
    """Check that Ray's processes can write their logs and start further processes.

    Args:
        base: The directory below which Ray's directory lies.
        min_bytes: The free space that is needed, in bytes.

    Raises:
        RunFault: There is less.
    """
    free_bytes = shutil.disk_usage(base).free
    if free_bytes < min_bytes:
        raise RunFault(
            f"the temporary directory {base} has {free_bytes / 2**20:.1f} MiB of free space, and Ray needs "
            f"{min_bytes / 2**20:.0f} MiB there; free some space or set TMPDIR, then give the same command again"
        )


def _check_loopback() -> None:
    try:
        with socket.create_server((_LOOPBACK, 0)) as server:
            socket.create_connection(server.getsockname(), _LOOPBACK_TIMEOUT_S).close()
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE):
            raise
        raise RunFault(
            f"the loopback interface does not answer ({_LOOPBACK}: {os.strerror(error.errno or errno.ETIMEDOUT)}), and "
            "Ray's processes talk to each other through it; bring it up (ip link set lo up), then give the same "
            "command again"
        ) from error
