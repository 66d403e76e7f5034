"""A Ray cluster on this machine for one run. It is private and quiet, and nothing of it remains."""

import logging
import os
import secrets
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from diagchd_batch.cluster.local_requirements import (
    MIN_FREE_DURING_RUN_BYTES,
    check_free_space,
    check_local_requirements,
)
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.cluster.worker_import_path import job_config
from diagchd_batch.errors import RunFault
from diagchd_batch.process.import_path import protected_environment
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.process.owner_only_directory import private_directory
from diagchd_batch.process.trusted_tmpdir import SYSTEM_DIRECTORIES, problem_of, temporary_base
from diagchd_batch.wording import shortened

OBJECT_STORE_BYTES = 256 << 20
"""Ample: only summaries of a few hundred bytes pass through the object store."""

_TOKEN = secrets.token_hex(32)  # one for each process

_MAX_CAUSE_CHARACTERS = 200

_VITAL_PROCESSES = {"gcs_server", "raylet"}

_MAX_SOCKET_BYTES = 107
"""The longest path of a socket in Linux."""

_RAY_SOCKET_BYTES = len("/session_2000-01-01_00-00-00_000000_4194304/sockets/plasma_store")
"""The longest path of a socket below Ray's directory. The last number is a process id."""


class LocalCluster:
    """The `Cluster` of a run on this machine alone.

    Args:
        node: The resources that Ray may use.
    """

    elastic = False

    def __init__(self, node: NodeResources) -> None:
        self._node = node
        self._base: Path | None = None

    def nodes(self) -> list[NodeResources]:
        """Return this machine."""
        return [self._node]

    def connected(self) -> AbstractContextManager[None]:
        """Return a block within which Ray runs."""
        self._base = temporary_base()  # within the block TMPDIR names a directory of the workers
        return local_ray(self._node)

    def check(self) -> None:
        """Check that Ray's own processes live, and that they can write.

        Without this check Ray's library would wait a minute for its processes and then end this process without a
        message, and with a full disk it would wait for ever for a worker that cannot be started.

        Raises:
            RunFault: One of them ended, or the disk is full.
        """
        from ray._private import worker  # there is no public way to ask

        node = worker._global_node
        ended: set[str] = {kind for kind, _ in node.dead_processes()} if node else set()
        if ended & _VITAL_PROCESSES:
            raise RunFault("Ray's processes on this machine were ended from outside; give the same command again")
        check_free_space(self._base or temporary_base(), MIN_FREE_DURING_RUN_BYTES)


@contextmanager
def local_ray(node: NodeResources) -> Iterator[None]:
    """Start a Ray with `node`'s resources for the block, and stop it however the block ends.

    Ray opens its own directory to all users of the machine. That directory and the temporary files of the workers
    therefore lie in a directory that only this user can enter, and which Ray does not know. Ray listens on this
    machine's interfaces, so every call must carry a random token, which only exists in the environment of its
    processes. If this process is killed, Ray's processes end by themselves, and the next start removes what they left
    on disk.

    Args:
        node: The resources that Ray may use.

    Yields:
        Nothing; Ray runs while the block does.

    Raises:
        ConfigError: Python runs without docstrings, which Ray needs.
        RunFault: Ray cannot be started, or there is no directory that is safe from other users.
    """
    base = temporary_base()
    check_local_requirements(base)
    with private_directory(base) as private:
        ray_directory, workers_directory = private / "ray", private / "workers"
        for directory in (ray_directory, workers_directory):
            directory.mkdir(mode=0o700)
        with _short_path(ray_directory) as short_ray_directory, _environment(workers_directory):
            try:
                _start(node, short_ray_directory, base)
                yield
            finally:
                _stop()


@contextmanager
def _short_path(ray_directory: Path) -> Iterator[Path]:
    """Return a path of Ray's directory that is short enough for the sockets in it.

    If its own path is too long, it is a link in a private directory below `/tmp`. Everything else stays where it is.
    """
    if _fits(ray_directory):
        yield ray_directory
        return
    for base in map(Path, SYSTEM_DIRECTORIES):
        if problem_of(base) is None:
            with private_directory(base) as private:
                link = private / "ray"
                link.symlink_to(ray_directory)
                yield link
            return
    longest = (
        _MAX_SOCKET_BYTES
        - _RAY_SOCKET_BYTES
        - len(os.fsencode(ray_directory))
        + len(os.fsencode(ray_directory.parents[1]))
    )
    raise RunFault(
        f"the path of the temporary directory {ray_directory.parents[1]} is too long for Ray's sockets, and "
        f"{SYSTEM_DIRECTORIES[0]} cannot hold a link to it; set TMPDIR to a directory whose path has at most "
        f"{longest} bytes"
    )


def _fits(ray_directory: Path) -> bool:
    return len(os.fsencode(ray_directory)) + _RAY_SOCKET_BYTES <= _MAX_SOCKET_BYTES


@contextmanager
def _environment(workers_directory: Path) -> Iterator[None]:
    """Set the environment variables of Ray's processes for the block."""
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
        "TMPDIR": str(workers_directory),  # workers that are killed leave their files here, where we remove them
    } | protected_environment(os.environ)
    removed = ("RAY_ADDRESS", "RAY_AUTH_TOKEN_PATH")
    before = {name: os.environ.get(name) for name in (*environment, *removed)}
    os.environ.update(environment)
    for name in removed:
        os.environ.pop(name, None)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _start(node: NodeResources, ray_directory: Path, base: Path) -> None:
    import ray

    on_main_thread = threading.current_thread() is threading.main_thread()
    sigterm = signal.getsignal(signal.SIGTERM)
    try:
        with native_stderr_silenced():
            _read_environment_again()
            ray.init(
                address="local",
                num_cpus=node.cpus,
                num_gpus=node.gpus,
                object_store_memory=OBJECT_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                job_config=job_config(),
                _temp_dir=str(ray_directory),
            )
    except SystemExit:  # Ray raises it for a SIGTERM during its start
        raise RunInterrupted(signal.SIGTERM) from None
    except Exception as error:
        raise RunFault(
            f"Ray could not be started on this machine ({type(error).__name__}: {_last_line(error)}); check that it "
            f"has memory, and room below {base}, then give the same command again"
        ) from error
    finally:
        if on_main_thread:
            signal.signal(signal.SIGTERM, sigterm)  # Ray replaces the caller's handler


def _read_environment_again() -> None:
    """Let Ray read its environment variables. It does that when it is imported, which may have been earlier.

    Ray has no public function for it; this is what its own `ray.init` does when it turns tokens on.
    """
    from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def _last_line(error: Exception) -> str:
    """Return the last line of Ray's message, which holds the cause below a traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return shortened(lines[-1], _MAX_CAUSE_CHARACTERS) if lines else "no message"


def _stop() -> None:
    import ray

    ray.shutdown()
