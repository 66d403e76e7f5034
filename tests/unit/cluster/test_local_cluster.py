"""The paths of the sockets in Ray's directory are short enough, and a start that fails names Ray's cause."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.cluster import local_cluster
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.errors import RunFault
from tests.support.servers_and_hosts.ordinary_user import reachable_directory

MAX_SOCKET_BYTES = 107  # the limit that Ray checks
SOCKETS = ("plasma_store", "raylet")


@pytest.fixture
def directory() -> Iterator[Path]:
    with reachable_directory() as directory:
        yield directory


def ray_directory(base: Path, length: int) -> Path:
    """Make Ray's directory in a private directory below a directory whose path has `length` bytes."""
    named = base / ("x" * (length - len(os.fsencode(base)) - 1))
    path = named / "dcb-4194304-abcdefgh" / "ray"
    path.mkdir(parents=True)
    return path


def sockets(path: Path) -> list[Path]:
    return [path / "session_2026-11-27_15-53-03_123456_4194304" / "sockets" / name for name in SOCKETS]


@pytest.mark.parametrize("length", [20, 21, 60, 104, 200])
def test_the_sockets_fit_and_lie_below_tmpdir(directory: Path, length: int) -> None:
    path = ray_directory(directory, length)
    with local_cluster._short_path(path) as short:
        assert max(len(os.fsencode(socket)) for socket in sockets(short)) <= MAX_SOCKET_BYTES
        assert short.resolve() == path.resolve()
        if short == path:
            assert length <= 20
            return
        link_directory = short.parent
        assert short.is_symlink()
        assert stat.S_IMODE(link_directory.lstat().st_mode) == 0o700
        assert {entry.name for entry in link_directory.iterdir()} == {"lock", "ray"}
    assert not link_directory.exists()
    assert path.is_dir()


def test_without_a_place_for_the_link_the_run_is_refused_with_the_length_that_fits(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.chmod(0o777)  # without the sticky bit
    monkeypatch.setattr(local_cluster, "SYSTEM_DIRECTORIES", (str(directory),))
    with (
        pytest.raises(RunFault, match=r"set TMPDIR .* at most \d+ bytes") as refused,
        local_cluster._short_path(ray_directory(directory, 90)),
    ):
        pass
    longest = int(str(refused.value).split("at most ")[1].split()[0])
    assert len(os.fsencode(ray_directory(directory, longest))) <= MAX_SOCKET_BYTES - len(
        "/session_2026-11-27_15-53-03_123456_4194304/sockets/plasma_store"
    )


@pytest.mark.parametrize(
    "message, cause",
    [("it failed. Details:\n  Traceback\nRpcError: no route\n", "RpcError: no route"), ("", "no message")],
)
def test_a_start_that_fails_names_the_cause_below_ray_s_traceback(
    directory: Path, monkeypatch: pytest.MonkeyPatch, message: str, cause: str
) -> None:
    def fail(**settings: object) -> None:
        raise RuntimeError(message)

    monkeypatch.setattr("ray.init", fail)
    with pytest.raises(RunFault, match=rf"RuntimeError: {cause}\); check that it has memory"):
        local_cluster._start(NodeResources(cpus=1, gpus=0, memory_bytes=1 << 30), directory, directory)
