"""Only its user can enter a private directory, forged names do no harm, and leftovers are removed."""

import fcntl
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import pytest

from diagchd_batch.errors import RunFault
from diagchd_batch.process.owner_only_directory import private_directory, remove_leftovers
from tests.support.servers_and_hosts.ordinary_user import NOBODY, as_ordinary_user, reachable_directory

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two users")

HOLD = """
import sys
from pathlib import Path
from diagchd_batch.process.owner_only_directory import private_directory
with private_directory(Path(sys.argv[1])) as directory:
    (directory / "names.txt").write_text("Erika Mustermann")
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def base() -> Iterator[Path]:
    with reachable_directory() as directory:
        directory.chmod(0o1777)
        yield directory


@contextmanager
def held(base: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    """Yield a private directory of another process of this user, and the process."""
    command = [sys.executable, "-c", HOLD, str(base)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        printed: IO[str] | None = process.stdout
        assert printed
        try:
            yield Path(printed.readline().strip()), process
        finally:
            process.kill()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_its_user_can_enter_it(base: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with private_directory(base) as directory:
            assert stat.S_IMODE(directory.lstat().st_mode) == 0o700
            assert directory.lstat().st_uid == os.geteuid()
            assert {stat.S_IMODE(path.lstat().st_mode) & 0o077 for path in directory.iterdir()} == {0}
            (directory / "file").touch()
    finally:
        os.umask(before)
    assert list(base.iterdir()) == []


@needs_root
@pytest.mark.parametrize(
    "attack",
    [
        lambda path: list(path.iterdir()),
        lambda path: (path / "file").read_bytes(),
        lambda path: (path / "other").touch(),
        lambda path: path.rename(path.with_name("moved")),
        lambda path: (path / "workers").rename(path / "moved"),
        lambda path: path.chmod(0o777),
    ],
    ids=["list", "read", "write", "rename", "rename what is in it", "open"],
)
def test_another_user_can_do_nothing_with_it(base: Path, attack: Callable[[Path], object]) -> None:
    with private_directory(base) as directory:
        (directory / "file").write_text("names")
        (directory / "file").chmod(0o666)
        (directory / "workers").mkdir(0o777)
        with pytest.raises(PermissionError):
            as_ordinary_user(lambda: attack(directory))
        assert (directory / "file").read_text() == "names"


@needs_root
def test_names_that_another_user_forges_stop_nothing_and_are_left_alone(base: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").touch()

    def forge() -> None:
        (base / "dcb-1-file").touch()
        (base / "dcb-2-gone").symlink_to("nowhere")
        (base / "dcb-3-link").symlink_to(victim)
        (base / "dcb-4-loop").symlink_to("dcb-4-loop")
        os.mkfifo(base / "dcb-5-pipe")
        (base / "dcb-6-closed").mkdir(0o000)
        (base / "dcb-7-open").mkdir(0o777)
        (base / "dcb-99999999999999999999-x").mkdir()
        (base / "dcb-8-fifo").mkdir()
        os.mkfifo(base / "dcb-8-fifo" / "lock")
        (base / "dcb-9-lock").mkdir()
        (base / "dcb-9-lock" / "lock").symlink_to(victim / "kept")

    as_ordinary_user(forge)
    forged = set(base.iterdir())
    for path in forged:
        if path.is_dir() and not path.is_symlink():
            os.utime(path, (0, 0))
    with private_directory(base) as directory:
        assert set(base.iterdir()) == {*forged, directory}
    assert set(base.iterdir()) == forged
    assert (victim / "kept").exists()


def test_a_link_of_this_user_is_not_followed(base: Path, tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    (base / "dcb-1-x").symlink_to(tmp_path)
    (base / "dcb-2-x").mkdir()
    (base / "dcb-2-x" / "lock").symlink_to(tmp_path / "kept")
    with private_directory(base):
        pass
    assert (tmp_path / "kept").exists()
    assert len(list(base.iterdir())) == 2


@needs_root
def test_a_base_that_cannot_be_listed_is_no_obstacle(base: Path) -> None:
    base.chmod(0o1733)

    def made() -> bool:
        with private_directory(base) as directory:
            return directory.is_dir()

    assert as_ordinary_user(made)


def test_what_a_killed_process_left_is_removed_and_that_of_a_live_one_is_not(base: Path) -> None:
    with held(base) as (left, killed), held(base) as (in_use, _):
        remove_leftovers(base)
        assert (left / "names.txt").exists()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        assert (left / "names.txt").exists()
        with private_directory(base):
            assert not left.exists()
            assert (in_use / "names.txt").exists()


def test_a_process_id_that_is_in_use_again_does_not_mislead(base: Path) -> None:
    with held(base) as (left, killed), held(base) as (in_use, _):
        killed.kill()
        killed.wait()
        of_a_live_process = left.rename(left.with_name(f"dcb-{os.getpid()}-left"))
        of_a_dead_process = in_use.rename(in_use.with_name(f"dcb-{killed.pid}-used"))
        remove_leftovers(base)
        assert not of_a_live_process.exists()
        assert of_a_dead_process.exists()


def test_a_directory_without_a_lock_is_removed_unless_it_is_being_set_up(base: Path) -> None:
    young, old = base / "dcb-1-young", base / "dcb-1-old"
    for path in (young, old):
        path.mkdir()
    os.utime(old, (time.time() - 3600, time.time() - 3600))
    remove_leftovers(base)
    assert list(base.iterdir()) == [young]


def test_a_directory_that_is_removed_while_it_is_set_up_is_made_again(
    base: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[Path] = []
    mkdtemp = tempfile.mkdtemp

    def removed_at_first(**arguments: Any) -> str:
        made.append(Path(mkdtemp(**arguments)))
        if len(made) == 1:
            made[0].rmdir()
        return str(made[-1])

    monkeypatch.setattr(tempfile, "mkdtemp", removed_at_first)
    with private_directory(base) as directory:
        assert directory == made[1]


@needs_root
@pytest.mark.parametrize("change", ["owner", "mode", "link"])
def test_a_directory_that_is_not_ours_after_it_was_made_is_refused(
    base: Path,
    change: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def swapped(**arguments: Any) -> str:
        path = base / "dcb-1-swapped"
        target = base / "target"
        target.mkdir(mode=0o700)
        if change == "link":
            path.symlink_to(target)
        else:
            target.rename(path)
        if change == "owner":
            os.chown(path, NOBODY, NOBODY)
        if change == "mode":
            path.chmod(0o770)
        return str(path)

    monkeypatch.setattr(tempfile, "mkdtemp", swapped)
    with pytest.raises(RunFault, match="TMPDIR"), private_directory(base):
        pass


def test_a_file_system_without_locks_loses_nothing(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(descriptor: int, operation: int) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refused)
    with private_directory(base) as first, private_directory(base):
        assert first.exists()


def test_a_base_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match="TMPDIR"), private_directory(tmp_path / "none"):
        pass
