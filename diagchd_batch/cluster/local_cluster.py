"""A Ray cluster on this machine for one run. It is private and quiet, and nothing of it remains."""

import logging
import os
import re
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.errors import RunFault
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.process.native_stderr import native_stderr_silenced

OBJECT_STORE_BYTES = 256 << 20
"""Ample: only summaries of a few hundred bytes pass through the object store."""

_TOKEN = secrets.token_hex(32)  # one for each process, because Ray's library keeps the first it sees

_SESSION_PREFIX = "dcb-"  # short, because a socket's path has at most 107 characters, most of which Ray uses
_VITAL_PROCESSES = {"gcs_server", "raylet"}
_MAX_BASE_CHARACTERS = 16
_SESSION_NAME = re.compile(re.escape(_SESSION_PREFIX) + r"(\d+)-\w+")


class LocalCluster:
    """The `Cluster` of a run on this machine alone.

    Args:
        node: The resources that Ray may use.
    """

    elastic = False

    def __init__(self, node: NodeResources) -> None:
        self._node = node

    def nodes(self) -> list[NodeResources]:
        """Return this machine."""
        return [self._node]

    def connected(self) -> AbstractContextManager[None]:
        """Return a block within which Ray runs."""
        return local_ray(self._node)

    def check(self) -> None:
        """Raise RunFault if Ray's own processes ended.

        Otherwise Ray's library waits a minute and then ends this process without a message.
        """
        from ray._private import worker  # there is no public way to ask

        node = worker._global_node
        ended: set[str] = {kind for kind, _ in node.dead_processes()} if node else set()
        if ended & _VITAL_PROCESSES:
            raise RunFault("Ray's processes on this machine were ended from outside; give the same command again")


@contextmanager
def local_ray(node: NodeResources) -> Iterator[None]:
    """Start a Ray with `node`'s resources for the block, and stop it however the block ends.

    Ray listens on this machine's interfaces, so every call must carry a random token, which only exists in the
    environment of its processes. If this process is killed, Ray's processes end by themselves, and the next start
    removes what they left on disk.
    """
    _remove_sessions_of_the_dead()
    session = Path(tempfile.mkdtemp(prefix=f"{_SESSION_PREFIX}{os.getpid()}-", dir=_base_directory()))  # mode 700
    environment = {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": _TOKEN,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_BACKEND_LOG_LEVEL": "fatal",  # keeps notes on Ray's internals off the terminal,
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # and its messages on dead workers, with addresses; ours replace them
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "RAY_ENABLE_AUTO_CONNECT": "0",  # otherwise a late call starts another Ray without these settings
        "RAY_memory_monitor_refresh_ms": "0",  # otherwise workers are killed when other programs fill the memory
        "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",  # workers use this interpreter as it is
        "TMPDIR": str(session),  # workers that are killed leave their temporary files here, where we remove them
    }
    removed = ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH")
    before = {name: os.environ.get(name) for name in (*environment, *removed)}
    os.environ.update(environment)
    for name in removed:
        os.environ.pop(name, None)
    try:
        _start(node, session)
        yield
    finally:
        _stop()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        shutil.rmtree(session, ignore_errors=True)


def _start(node: NodeResources, session: Path) -> None:
    import ray

    on_main_thread = threading.current_thread() is threading.main_thread()
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with native_stderr_silenced():
            ray.init(
                address="local",
                num_cpus=node.cpus,
                num_gpus=node.gpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=str(session),
            )
    except SystemExit:  # Ray raises it for a SIGTERM during its start
        raise RunInterrupted(signal.SIGTERM) from None
    except Exception as error:
        raise RunFault(
            f"Ray could not be started on this machine ({type(error).__name__}); check that it has memory, and "
            f"room below {session.parent}, then give the same command again"
        ) from error
    finally:
        if on_main_thread:
            signal.signal(signal.SIGTERM, sigterm)  # Ray replaces the caller's handler


def _stop() -> None:
    import ray

    ray.shutdown()


def _base_directory() -> str:
    directory = tempfile.gettempdir()
    return directory if len(directory) <= _MAX_BASE_CHARACTERS else "/tmp"


def _remove_sessions_of_the_dead() -> None:
    for path in Path(_base_directory()).glob(f"{_SESSION_PREFIX}*"):
        match = _SESSION_NAME.fullmatch(path.name)
        if match and path.stat().st_uid == os.getuid() and not _is_alive(int(match[1])):
            shutil.rmtree(path, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
