"""Attempt markers: which worker works on a shard, and which attempts ended with the death of their worker.

A worker opens a marker in the private tree before it touches a shard, and closes it whenever the attempt ends in order.
An open marker of a worker that no longer lives is the trace of a crash or of a hang.
"""

import os
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ConfigDict

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError
from diagchd_batch.json_records import MAX_RECORD_BYTES, DamagedRecordError, JsonRecord
from diagchd_batch.scoring.liveness.heartbeats import SubmissionState
from diagchd_batch.storage import Store


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process, told apart from every other process that ever ran.

    Attributes:
        worker: A random name.
        node: The name of its machine.
        boot: The id of its machine's boot.
        pid_namespace: The namespace that `pid` belongs to.
        pid: Its process id.
        start_ticks: When it started, in clock ticks since boot.
    """

    worker: str
    node: str
    boot: str
    pid_namespace: str
    pid: int
    start_ticks: int

    @staticmethod
    def this_process() -> "Worker":
        """Return a new name for this process."""
        return Worker(
            worker=uuid.uuid4().hex[:12],
            node=platform.node(),
            boot=_read("/proc/sys/kernel/random/boot_id"),
            pid_namespace=_link("/proc/self/ns/pid"),
            pid=os.getpid(),
            start_ticks=_start_ticks(os.getpid()) or 0,
        )

    def is_seen_from(self, other: "Worker") -> bool:
        """Return whether `other` can see in its own process table if this worker lives."""
        return bool(self.boot) and (self.boot, self.pid_namespace) == (other.boot, other.pid_namespace)

    def is_running(self) -> bool:
        """Return whether this worker lives. Call it only in a process that it `is_seen_from`."""
        return _start_ticks(self.pid) == self.start_ticks


class Attempt(JsonRecord):
    """One attempt of a worker at a shard.

    Attributes:
        attempt: The name of the marker. The names of a shard's attempts sort by time.
        shard: The shard.
        submission: The submission that the worker belongs to.
        worker: The worker.
        isolated: Whether each file is decoded in a process of its own.
        batch: The batch that was begun last. It is kept only while files are isolated.
    """

    model_config = ConfigDict(extra="ignore")

    attempt: str
    shard: int
    submission: str
    worker: Worker
    isolated: bool
    batch: int | None = None


class ClosedAttempt(JsonRecord):
    """The second marker of an attempt that ended in order."""

    outcome: str


@dataclass(frozen=True, slots=True)
class ShardHistory:
    """What earlier attempts at a shard mean for the next one.

    Attributes:
        crashed: Whether a worker died at the shard, so that its files must be isolated.
        deaths: The attempts of this submission whose worker died although files were isolated.
    """

    crashed: bool
    deaths: tuple[Attempt, ...]

    def deaths_at_one_batch(self) -> tuple[Attempt, ...]:
        """Return the largest group of deaths at the same batch.

        A shard that kills its worker does so at the same batch every time; other causes strike at random.
        """
        by_batch: dict[int, list[Attempt]] = {}
        for attempt in self.deaths:
            if attempt.batch is not None:
                by_batch.setdefault(attempt.batch, []).append(attempt)
        largest = max(by_batch.values(), key=len, default=[])
        return tuple(largest)


class AttemptLog:
    """The markers of one run, as one worker reads and writes them.

    Args:
        private: The private tree.
        private_short_timeout: The same with a short timeout, to close attempts: they may end because storage is gone.
        run_id: The run.
        submission: The submission that the worker belongs to.
        worker: The worker.
        submission_state: Returns what became of another submission (`heartbeats.submission_state`).
    """

    def __init__(
        self,
        private: Store,
        private_short_timeout: Store,
        run_id: str,
        submission: str,
        worker: Worker,
        submission_state: Callable[[str], SubmissionState],
    ) -> None:
        self._private = private
        self._private_short_timeout = private_short_timeout
        self._run_id = run_id
        self._submission = submission
        self._worker = worker
        self._submission_state = submission_state

    def history(self, shard: int) -> ShardHistory:
        """Return what earlier attempts at a shard mean. A damaged marker that is open counts as a crash."""
        prefix = output_layout.attempts_prefix(self._run_id, shard)
        keys = (info.key for info in self._private.list(prefix))
        markers = [match for match in map(output_layout.ATTEMPT_MARKER.fullmatch, keys) if match]
        closed = {marker["attempt"] for marker in markers if marker["state"] == "closed"}
        opened = sorted(marker["attempt"] for marker in markers if marker["state"] == "open")
        left: dict[str, list[Attempt]] = {}
        is_damaged = False
        for name in opened:
            if name in closed:
                continue
            try:
                key = self._marker(shard, name, "open")
                attempt = Attempt.from_json(self._private.read(key, MAX_RECORD_BYTES), key)
            except ItemError:
                continue  # it is being replaced or removed
            except DamagedRecordError:
                is_damaged = True
                continue
            left.setdefault(attempt.submission, []).append(attempt)
        dead = [attempt for name, attempts in left.items() for attempt in self._dead(name, attempts)]
        deaths = tuple(a for a in dead if a.submission == self._submission and a.isolated)
        return ShardHistory(crashed=bool(dead) or is_damaged, deaths=deaths)

    def open(self, shard: int, *, isolated: bool) -> Attempt:
        """Open a marker for an attempt of this worker at a shard.

        Args:
            shard: The shard's number, from 0.
            isolated: Whether files are decoded in a child process.

        Returns:
            The attempt, for `note_batch` and `close`.
        """
        # with the time, the names of a shard's attempts sort in their order
        name = f"{self._submission}-{time.time_ns() // 1_000_000:013d}-{self._worker.worker}"
        attempt = Attempt(
            attempt=name, shard=shard, submission=self._submission, worker=self._worker, isolated=isolated
        )
        attempt.create(self._private, self._key(attempt, "open"))
        return attempt

    def note_batch(self, attempt: Attempt, batch: int) -> None:
        """Note the batch that an attempt begins.

        Args:
            attempt: An open attempt.
            batch: The batch's number within the shard, from 0.
        """
        attempt.model_copy(update={"batch": batch}).write(self._private, self._key(attempt, "open"))

    def close(self, attempt: Attempt, outcome: str) -> None:
        """Close an attempt that ended in order, whatever its outcome.

        Args:
            attempt: An open attempt.
            outcome: How it ended, such as ``committed``, for whoever reads the marker.
        """
        ClosedAttempt(outcome=outcome).create(self._private_short_timeout, self._key(attempt, "closed"))

    def _dead(self, submission: str, attempts: list[Attempt]) -> list[Attempt]:
        """Return those of one submission's open attempts, in order, whose worker died by itself."""
        if submission == self._submission:
            # a worker on another node is dead: the shard would not be ours while it lived
            return [attempt for attempt in attempts if not self._lives(attempt, otherwise=False)]
        state = self._submission_state(submission)
        if state == SubmissionState.ENDED:
            return attempts[:-1]  # the driver ended the last one's worker when it ended itself
        return [a for a in attempts if not self._lives(a, otherwise=state == SubmissionState.LIVE)]

    def _lives(self, attempt: Attempt, *, otherwise: bool) -> bool:
        """Return whether the attempt's worker lives, or `otherwise` if this process cannot see it."""
        if attempt.worker == self._worker:
            return True  # another thread of this very process
        return attempt.worker.is_running() if attempt.worker.is_seen_from(self._worker) else otherwise

    def _key(self, attempt: Attempt, state: str) -> str:
        return self._marker(attempt.shard, attempt.attempt, state)

    def _marker(self, shard: int, name: str, state: str) -> str:
        return output_layout.attempt_marker(self._run_id, shard, name, state)


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
    """Return when the process started, in clock ticks since boot, or None if there is none but a zombie."""
    try:
        # the command's name, in brackets, may itself hold spaces and brackets
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if state in ("Z", "X") else int(fields[18])
