"""One ordinary user's run on a machine where another ordinary user attacks it with everything that file modes allow."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from tests.support.scoring_runs import PROJECT, descendants, kill, write_cohort

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as two ordinary users"),
]

OWNER, OTHER = 23456, 34567
LIBRARIES = Path(np.__file__).parents[1]
COMMAND = "from diagchd_batch.cli.main import run_process; run_process()"

ATTACK = """
import os, sys, time
temporary, target = sys.argv[1:]
done = set()
def attempt(what, action):
    try:
        action()
    except OSError:
        return
    if what not in done:
        done.add(what)
        print(what, flush=True)
while True:
    for name in os.listdir(temporary):
        path = os.path.join(temporary, name)
        try:
            if not name.startswith("dcb-") or os.lstat(path).st_uid == os.getuid():
                continue
        except OSError:
            continue
        attempt("list the run's directory", lambda: os.listdir(path))
        attempt("make a directory in it", lambda: os.mkdir(os.path.join(path, "other")))
        attempt("rename it", lambda: os.rename(path, path + "-moved"))
        try:
            names = os.listdir(path)
        except OSError:
            names = ["ray", "workers", "lock"]
        for inner in names:
            workers = os.path.join(path, inner)
            attempt("rename what is in it", lambda: os.rename(workers, os.path.join(path, "moved-" + inner)))
            attempt("put a link there", lambda: os.symlink(target, os.path.join(workers, "shard.parquet")))
    time.sleep(0.01)
"""


@pytest.fixture(scope="module")
def interpreter() -> str:
    """Return a Python of this version that an ordinary user can run. The tests' own may be in root's home directory."""
    for candidate in (sys.executable, shutil.which(f"python3.{sys.version_info[1]}", path="/usr/bin:/usr/local/bin")):
        if candidate and os.access(LIBRARIES, os.R_OK):
            code = "import diagchd_batch, duckdb, numpy, ray"
            try:
                done = subprocess.run(
                    [candidate, "-c", code], env=environment("/tmp"), user=OWNER, group=OWNER, extra_groups=[], cwd="/"
                )
            except PermissionError:
                continue
            if done.returncode == 0:
                return candidate
    pytest.skip(
        "an ordinary user can run no Python with this project's packages, because they lie below a closed directory"
    )


@pytest.fixture
def directory() -> Iterator[Path]:
    """Yield a directory with a short path that both users can enter."""
    path = Path(tempfile.mkdtemp(prefix="", dir="/tmp"))
    path.chmod(0o755)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def environment(temporary: Path | str) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(temporary),
        "TMPDIR": str(temporary),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(PROJECT), str(LIBRARIES)]),
    }


class OwnersRun:
    """A job of OWNER over a small cohort."""

    def __init__(self, directory: Path, interpreter: str, temporary: Path) -> None:
        self.output = directory / "work" / "out"
        self.temporary = temporary
        self._interpreter = interpreter
        self._work = directory / "work"
        self._work.mkdir()
        cohort = write_cohort(directory / "cohort", 32)
        job = {
            "version": 1,
            "input": {"uri": str(cohort), "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
            "output": {"uri": str(self.output)},
            "shards": {"images_per_shard": 8},
        }
        (self._work / "job.yaml").write_text(yaml.safe_dump(job))
        os.chown(self._work, OWNER, OWNER)

    @contextmanager
    def started(self, umask: int) -> Iterator[subprocess.Popen[bytes]]:
        with (self._work / "messages").open("wb") as messages:
            process = self._popen(["submit", str(self._work / "job.yaml"), "--run-id", "r"], umask, messages.fileno())
            try:
                yield process
            finally:
                self.kill(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Kill the driver and all processes that it started at once."""
        for pid in [process.pid, *descendants(process.pid)]:
            kill(pid)
        process.wait()

    def verify(self) -> int:
        return self._popen(["verify", str(self.output)], 0o022, subprocess.DEVNULL).wait()

    def messages(self) -> str:
        return (self._work / "messages").read_text()

    def committed(self) -> list[Path]:
        return sorted((self.output / "scores").glob("run_id=*/shard-*.parquet"))

    def _popen(self, arguments: list[str], umask: int, messages: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [self._interpreter, "-c", COMMAND, *arguments],
            user=OWNER,
            group=OWNER,
            extra_groups=[],
            umask=umask,
            env=environment(self.temporary),
            cwd=self._work,
            stdout=messages,
            stderr=messages,
        )


def wait_until(condition: Callable[[], object], process: subprocess.Popen[bytes], run: OwnersRun) -> None:
    deadline_s = time.monotonic() + 300
    while not condition():
        assert process.poll() is None, f"ended too early:\n{run.messages()}"
        assert time.monotonic() < deadline_s, f"the condition was not met in time:\n{run.messages()}"
        time.sleep(0.05)


def sessions(directory: Path) -> list[Path]:
    """Return the private directories of OWNER's runs."""
    return [path for path in directory.iterdir() if path.name.startswith("dcb-") and path.lstat().st_uid == OWNER]


def test_another_user_can_neither_swap_nor_stop_anything(interpreter: str, directory: Path) -> None:
    temporary = directory / "t"
    temporary.mkdir()
    temporary.chmod(0o1777)
    run = OwnersRun(directory, interpreter, temporary)
    forge = "import os, sys; os.chdir(sys.argv[1]); os.symlink('dcb-1-x', 'dcb-1-x'); os.mkdir('dcb-2-x', 0)"
    subprocess.run([interpreter, "-c", forge, str(temporary)], user=OTHER, group=OTHER, extra_groups=[], check=True)
    target = run.output / "_private" / "id_key"
    attacker = subprocess.Popen(
        [interpreter, "-c", ATTACK, str(temporary), str(target)],
        user=OTHER,
        group=OTHER,
        extra_groups=[],
        umask=0,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        with run.started(umask=0) as process:
            wait_until(run.committed, process, run)  # Ray and its workers are running now.
            modes = {path: stat.S_IMODE(path.stat().st_mode) for path in sessions(temporary)}
            (ray_directory,) = {path.parents[1] for path in temporary.glob("dcb-*/**/session_*/sockets")}
            places = {
                Path(value)
                for pid in descendants(process.pid)
                if (value := _variable(pid, "TMPDIR")) and value != str(temporary)
            }
            assert process.wait(300) == 0, run.messages()
    finally:
        attacker.kill()
        succeeded, _ = attacker.communicate()
    assert succeeded == ""
    assert set(modes.values()) == {0o700}
    assert places
    for place in places:
        assert any(private in place.parents for private in modes)
        assert ray_directory != place
        assert ray_directory not in place.parents
        assert place not in ray_directory.parents
    key = target.read_bytes()
    assert len(run.committed()) == 4
    assert not any(key in path.read_bytes() for path in run.committed())
    assert run.verify() == 0
    assert sessions(temporary) == []


def test_a_long_private_tmpdir_holds_all_and_what_a_killed_run_left_is_removed(
    interpreter: str, directory: Path
) -> None:
    temporary = directory / ("a-private-directory-whose-path-is-too-long-for-the-sockets" * 2)
    temporary.mkdir(mode=0o700)
    os.chown(temporary, OWNER, OWNER)
    run = OwnersRun(directory, interpreter, temporary)
    with run.started(umask=0o022) as process:
        wait_until(run.committed, process, run)
        left = [*sessions(temporary), *sessions(Path("/tmp"))]
        assert sessions(temporary)  # The run uses TMPDIR although its path is long.
        for path in left:
            assert stat.S_IMODE(path.stat().st_mode) == 0o700
        files = [
            p for path in sessions(Path("/tmp")) for p in path.rglob("*") if not p.is_symlink() and p.stat().st_size
        ]
        assert files == []  # The directory in /tmp holds only a link.
        run.kill(process)
    assert all(path.exists() for path in left)
    with run.started(umask=0o022) as process:
        assert process.wait(300) == 0, run.messages()
    assert [path for path in left if path.exists()] == []
    assert sessions(temporary) == []
    assert run.verify() == 0


def _variable(pid: int, name: str) -> str | None:
    try:
        entries = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((entry.decode().partition("=")[2] for entry in entries if entry.startswith(f"{name}=".encode())), None)
