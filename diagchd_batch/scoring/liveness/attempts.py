"""Attempt markers: who works on a shard, and which attempts ended with their worker's death.

A worker opens a marker under `private/` before it touches a shard and closes it on every orderly end. What is left
open, by a worker that no longer lives, is the trace of a crash or of a hang.
"""

import json
import os
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError
from diagchd_batch.scoring.liveness.heartbeats import SubmissionState
from diagchd_batch.storage import Store

_OPEN, _CLOSED = ".open.json", ".closed.json"


@dataclass(frozen=True, slots=True)
class Worker:
    """A process, told apart from any other that ever ran: on this machine by boot, namespace, pid and start time."""

    worker: str
    node: str
    boot: str
    pid_namespace: str
    pid: int
    start_ticks: int

    @staticmethod
    def this_process() -> "Worker":
        return Worker(
            worker=uuid.uuid4().hex[:12],
            node=platform.node(),
            boot=_read("/proc/sys/kernel/random/boot_id"),
            pid_namespace=_link("/proc/self/ns/pid"),
            pid=os.getpid(),
            start_ticks=_start_ticks(os.getpid()) or 0,
        )

    def is_seen_from(self, other: "Worker") -> bool:
        """Whether `other` can tell from its own process table if this worker lives."""
        return bool(self.boot) and (self.boot, self.pid_namespace) == (other.boot, other.pid_namespace)

    def is_running(self) -> bool:
        """To be asked only where `is_seen_from` holds."""
        return _start_ticks(self.pid) == self.start_ticks


@dataclass(frozen=True, slots=True)
class Attempt:
    """One worker's try at one shard. `batch`: the batch last begun, kept up to date only where files are isolated."""

    attempt: str
    shard: int
    submission: str
    worker: Worker
    isolated: bool
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class ShardHistory:
    """What earlier attempts at a shard say about this one. `deaths`: of this submission, though files were isolated."""

    crashed: bool
    deaths: tuple[Attempt, ...]

    def deaths_at_one_batch(self) -> tuple[Attempt, ...]:
        """The largest group of deaths with the same batch at work; a shard that kills its worker does it every time
        at the same place, whatever kills workers at random does not."""
        by_batch: dict[int, list[Attempt]] = {}
        for attempt in self.deaths:
            if attempt.batch is not None:
                by_batch.setdefault(attempt.batch, []).append(attempt)
        largest = max(by_batch.values(), key=len, default=[])
        return tuple(largest)


class AttemptLog:
    """The markers of one run, as `worker` of `submission` reads and writes them.

    `submission_state` tells what became of another submission (`heartbeats.submission_state`). Attempts are closed by
    way of `impatient`, the same storage with a short time-out: what ends an attempt may be that storage is gone.
    """

    def __init__(
        self,
        private: Store,
        impatient: Store,
        run_id: str,
        submission: str,
        worker: Worker,
        submission_state: Callable[[str], SubmissionState],
    ) -> None:
        self._private = private
        self._impatient = impatient
        self._run_id = run_id
        self._submission = submission
        self._worker = worker
        self._submission_state = submission_state

    def history(self, shard: int) -> ShardHistory:
        prefix = output_layout.attempts_prefix(self._run_id, shard)
        keys = [info.key.removeprefix(prefix) for info in self._private.list(prefix)]
        closed = {key.removesuffix(_CLOSED) for key in keys if key.endswith(_CLOSED)}
        opened = sorted(key.removesuffix(_OPEN) for key in keys if key.endswith(_OPEN))
        left: dict[str, list[Attempt]] = {}
        for name in opened:
            if name not in closed and (attempt := self._read(shard, name)):
                left.setdefault(attempt.submission, []).append(attempt)
        dead = [attempt for name, attempts in left.items() for attempt in self._dead(name, attempts)]
        deaths = tuple(a for a in dead if a.submission == self._submission and a.isolated)
        return ShardHistory(crashed=bool(dead), deaths=deaths)

    def open(self, shard: int, *, isolated: bool) -> Attempt:
        # the time makes the names of a shard's attempts sort in their order
        name = f"{self._submission}-{time.time_ns() // 1_000_000:013d}-{self._worker.worker}"
        attempt = Attempt(name, shard, self._submission, self._worker, isolated)
        self._private.create(self._key(attempt, "open"), _to_json(attempt))
        return attempt

    def note_batch(self, attempt: Attempt, batch: int) -> None:
        self._private.replace(self._key(attempt, "open"), _to_json(replace(attempt, batch=batch)))

    def close(self, attempt: Attempt, outcome: str) -> None:
        self._impatient.create(self._key(attempt, "closed"), json.dumps({"outcome": outcome}).encode())

    def _dead(self, submission: str, attempts: list[Attempt]) -> list[Attempt]:
        """Those of one submission's open attempts, in order, whose worker died by itself."""
        if submission == self._submission:
            # elsewhere: the shard would not have been given to us while that worker lived
            return [attempt for attempt in attempts if not self._lives(attempt, otherwise=False)]
        state = self._submission_state(submission)
        if state == SubmissionState.ENDED:
            return attempts[:-1]  # the driver ended the last one's worker when it ended itself
        return [a for a in attempts if not self._lives(a, otherwise=state == SubmissionState.LIVE)]

    def _lives(self, attempt: Attempt, *, otherwise: bool) -> bool:
        """Whether the attempt's worker lives; `otherwise` where this process cannot see it."""
        if attempt.worker == self._worker:
            return True  # another thread of this very process
        return attempt.worker.is_running() if attempt.worker.is_seen_from(self._worker) else otherwise

    def _read(self, shard: int, name: str) -> Attempt | None:
        try:
            fields = json.loads(self._private.read(output_layout.attempt_marker(self._run_id, shard, name, "open")))
        except ItemError:
            return None  # just being replaced or removed
        return Attempt(**fields | {"worker": Worker(**fields["worker"])})

    def _key(self, attempt: Attempt, state: str) -> str:
        return output_layout.attempt_marker(self._run_id, attempt.shard, attempt.attempt, state)


def _to_json(attempt: Attempt) -> bytes:
    return json.dumps(asdict(attempt)).encode()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _link(path: str) -> str:
    try:
        return str(Path(path).readlink())
    except OSError:
        return ""


def _start_ticks(pid: int) -> int | None:
    """When the process started, in clock ticks since boot; None if there is none (or only its zombie)."""
    try:
        # the command's name, in brackets, may hold spaces and brackets itself
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ("Z", "X") else int(fields[18])
