"""Small cohorts on disk, and runs over them in separate processes that a test can kill."""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any
from unittest import mock

import numpy as np
import yaml
from PIL import Image

from diagchd_batch.results.output import open_output
from tests.support.command_line import diagchd_batch

PROJECT = Path(__file__).resolve().parents[2]
RUN_ID = "test-run"
ID_KEY = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
TIMEOUT_S = 600.0  # long enough for a busy machine; an idle one needs a tenth

_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 24, 1, 2  # from linux/prctl.h and linux/capability.h


def write_cohort(directory: Path, n_images: int, *, seed: int = 0, size: tuple[int, int] = (48, 64)) -> Path:
    """Write studies of two images each in layout `tree`. The images are smooth and random, and fast to decode."""
    generator = np.random.default_rng(seed)
    for number in range(n_images):
        study = directory / f"study-{number // 2:04d}"
        study.mkdir(parents=True, exist_ok=True)
        coarse = generator.integers(0, 256, (6, 8), np.uint8)
        picture = Image.fromarray(coarse).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        picture.save(study / f"image-{number:04d}.png")
    return directory


@dataclass
class ScoringRun:
    """A job file and the command that runs it. Each call of `started` or `finish` runs the same command again."""

    directory: Path
    cohort: Path | str
    overrides: dict[str, object] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    run_id: str | None = RUN_ID
    unprivileged: bool = False
    output_uri: str | None = None
    output_directory: Path | None = None

    @property
    def output(self) -> Path:
        return self.output_directory or self.directory / "out"

    @property
    def private_run(self) -> Path:
        return self.output / "_private" / "runs" / f"run_id={self.run_id}"

    def committed(self) -> list[Path]:
        return sorted((self.output / "scores").glob("run_id=*/shard-*.parquet"))

    def score_bytes(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.committed()}

    def rows(self) -> list[dict[str, Any]]:
        """Return the predictions, sorted by image id and frame."""
        rows = open_output(self.output_uri or str(self.output)).predictions().to_table().to_pylist()
        return sorted(rows, key=lambda row: (row["image_id"], row["frame"] or 0))

    @contextmanager
    def started(self, *options: str) -> Iterator["Driver"]:
        """Start the command in the background. Kill it at the end of the block if it still runs."""
        self.directory.mkdir(parents=True, exist_ok=True)
        job = {
            "version": 1,
            "input": {"uri": str(self.cohort), "layout": "tree"},
            "model": {"name": "diagchd-compact", "weights": "seed:0", "batch_size": 4},
            "output": {"uri": self.output_uri or str(self.output)},
            "shards": {"images_per_shard": 8},
        }
        (self.directory / "job.yaml").write_text(yaml.safe_dump(job))
        named = ["--run-id", self.run_id] if self.run_id else []
        settings = [word for key, value in self.overrides.items() for word in ("--set", f"{key}={value}")]
        paths = os.pathsep.join(filter(None, [self.environment.get("PYTHONPATH"), str(PROJECT)]))
        environment = os.environ | {"DIAGCHD_ID_KEY": ID_KEY} | self.environment | {"PYTHONPATH": paths}
        arguments = ["submit", str(self.directory / "job.yaml"), "--json", *named, *settings, *options]
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            process = subprocess.Popen(
                [sys.executable, "-c", "from diagchd_batch.cli.main import run_process; run_process()", *arguments],
                stdout=stdout,
                stderr=stderr,
                env=environment,
                cwd=self.directory,
                start_new_session=True,
                preexec_fn=_drop_privileges if self.unprivileged else None,
            )
            driver = Driver(self, process, stdout, stderr)
            try:
                yield driver
            finally:
                driver.kill_all()

    def finish(self, *options: str) -> "Ending":
        """Run the command to its end."""
        with self.started(*options) as driver:
            return driver.ending()


@dataclass(frozen=True)
class Ending:
    """The result of a command. `summary` is what --json printed, and `messages` is all of stderr."""

    exit_code: int
    summary: dict[str, Any]
    messages: str


@dataclass
class Driver:
    """A running command."""

    run: ScoringRun
    process: subprocess.Popen[bytes]
    stdout: IO[bytes]
    stderr: IO[bytes]

    def ending(self, timeout_s: float = TIMEOUT_S) -> Ending:
        try:
            exit_code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end within {timeout_s:g} s:\n{self.messages()}") from None
        self.stdout.seek(0)
        printed = self.stdout.read().decode()
        return Ending(exit_code, json.loads(printed) if printed else {}, self.messages())

    def messages(self) -> str:
        self.stderr.seek(0)
        return self.stderr.read().decode()

    def wait_until(self, condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> None:
        """Wait for the condition, and fail if the command ends first."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"ended too early:\n{self.messages()}"
            assert time.monotonic() < deadline_s, f"the condition was not met in time:\n{self.messages()}"
            time.sleep(0.02)

    def workers(self) -> set[int]:
        """Return the process ids of live workers, taken from the attempt markers that they opened."""
        opened = self.run.private_run.glob("attempts/*/*.open.json")
        pids = {json.loads(text)["worker"]["pid"] for path in opened if (text := _read(path))}
        return {pid for pid in pids if _descends_from(pid, self.process.pid)}

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def kill_all(self) -> None:
        """Kill the driver and all processes that it started."""
        for pid in [self.process.pid, *descendants(self.process.pid)]:
            kill(pid)
        self.process.wait()


def verify(output_uri: str) -> int:
    """Run `diagchd-batch verify` in this process and return its exit code."""
    with mock.patch.dict(os.environ, {"DIAGCHD_ID_KEY": ID_KEY}):
        ended = diagchd_batch("verify", output_uri)
    print(ended.printed, ended.messages)
    return ended.exit_code


def _drop_privileges() -> None:
    """Drop the capabilities by which root reads and writes files against their mode bits."""
    if os.geteuid() == 0:
        for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
            if ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) != 0:
                raise OSError("cannot drop a capability")


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def descendants(pid: int) -> list[int]:
    """Return the process ids of all direct and indirect children."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (parent := _parent(int(entry.name))) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


def _descends_from(pid: int, ancestor: int) -> bool:
    """Return whether a process lives and is a child of `ancestor`, direct or indirect."""
    parent = _parent(pid)
    while parent not in (None, 0, ancestor):
        parent = _parent(parent)
    return parent == ancestor


def _parent(pid: int) -> int | None:
    """Return the process id of a live process's parent, or None if there is no such process."""
    status = _read(Path(f"/proc/{pid}/stat"))
    return int(status.rpartition(")")[2].split()[1]) if status else None


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
