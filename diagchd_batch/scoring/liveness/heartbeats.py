"""Signs of life in the private tree: each driver and each worker renews a small file while it lives."""

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, ClassVar, Self, TypeVar

from pydantic import ConfigDict

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.json_records import MAX_RECORD_BYTES, DamagedRecordError, JsonRecord
from diagchd_batch.storage import Store

INTERVAL_S = 5.0
LOST_AFTER_S = 60.0
"""Twelve missed heartbeats. It is also the difference that the clocks of two machines may have."""


class SubmissionState(Enum):
    """What became of a submission."""

    LIVE = "live"
    ENDED = "ended"  # in order: finished, failed with a reason, or interrupted
    LOST = "lost"  # without a last heartbeat: killed, or its machine is gone


class DriverBeat(JsonRecord):
    """A driver's heartbeat file."""

    model_config = ConfigDict(extra="ignore")  # a driver of another version must not be taken for dead
    indent: ClassVar[int | None] = None

    ended: bool
    time_s: float

    def is_recent(self) -> bool:
        """Return whether whoever wrote it may still live."""
        return time.time() - self.time_s < LOST_AFTER_S


class WorkerBeat(DriverBeat):
    """A worker's heartbeat file."""

    worker: str
    devices: list[str]
    images_done: dict[int, int]
    images_per_s: float


_AnyBeat = TypeVar("_AnyBeat", bound=DriverBeat)


class Heartbeat:
    """Renews a heartbeat file from a thread of its own until the block is left.

    Storage that fails for a while does not end anything: that heartbeat is missed.

    Args:
        private: The private tree.
        run_id: The run.
        name: The name of the file: `driver_name` or `worker_name`.
        kind: What the file holds: `DriverBeat` or `WorkerBeat`.
        content: Returns the fields of `kind` besides those of `DriverBeat`.
    """

    def __init__(
        self,
        private: Store,
        run_id: str,
        name: str,
        kind: type[DriverBeat],
        content: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self._private = private
        self._key = output_layout.heartbeat_file(run_id, name)
        self._kind = kind
        self._content = content
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self.beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join(timeout=INTERVAL_S)
        self.beat(ended=True)

    def beat(self, *, ended: bool = False) -> None:
        """Renew the file now; `ended` marks the last heartbeat."""
        record = self._kind(**self._content(), ended=ended, time_s=time.time())
        with suppress(StorageFault, ItemError):
            record.write(self._private, self._key)

    def _run(self) -> None:
        while not self._ending.wait(INTERVAL_S):
            self.beat()


def driver_name(submission: str) -> str:
    """Return the name of a driver's heartbeat file."""
    return f"driver-{submission}"


def worker_name(submission: str, worker: str) -> str:
    """Return the name of a worker's heartbeat file.

    Args:
        submission: The submission's id.
        worker: The worker's id.
    """
    return f"worker-{submission}-{worker}"


def heartbeat_names(private: Store, run_id: str) -> list[str]:
    """Return the names of a run's heartbeat files, those of ended processes included.

    Args:
        private: The private tree.
        run_id: The run's id.
    """
    keys = (info.key for info in private.list(output_layout.heartbeats_prefix(run_id)))
    return [match["name"] for match in map(output_layout.HEARTBEAT_FILE.fullmatch, keys) if match]


def submission_state(private: Store, run_id: str, submission: str) -> SubmissionState:
    """Return what became of a submission, by the heartbeat of its driver.

    Args:
        private: The private tree.
        run_id: The run's id.
        submission: The submission's id.

    Returns:
        The state. A damaged or missing heartbeat counts as that of a lost driver.
    """
    beat = _read(private, output_layout.heartbeat_file(run_id, driver_name(submission)), DriverBeat)
    if beat is None:
        return SubmissionState.LOST
    if beat.ended:
        return SubmissionState.ENDED
    return SubmissionState.LIVE if beat.is_recent() else SubmissionState.LOST


@dataclass(frozen=True, slots=True)
class WorkerBeats:
    """What a submission's workers report.

    Attributes:
        workers: Their names.
        devices: The devices that they compute on.
        images_done: For each shard in progress, the image files that are done.
        images_per_s: Their rates added up, each since the worker's first shard began.
    """

    workers: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    images_done: Mapping[int, int] = field(default_factory=dict)
    images_per_s: float = 0.0


def read_worker_beats(private: Store, run_id: str, submission: str, *, ended: bool = False) -> WorkerBeats:
    """Return what the living workers of a submission report. Damaged heartbeats are left out.

    Args:
        private: The private tree.
        run_id: The run.
        submission: The submission.
        ended: Whether workers that ended or died are counted too.
    """
    workers: set[str] = set()
    devices: set[str] = set()
    images_done: dict[int, int] = {}
    images_per_s = 0.0
    for name in heartbeat_names(private, run_id):
        if not name.startswith(worker_name(submission, "")):
            continue
        beat = _read(private, output_layout.heartbeat_file(run_id, name), WorkerBeat)
        if beat and (ended or beat.is_recent()):
            workers.add(beat.worker)
            devices.update(beat.devices)
            images_per_s += beat.images_per_s
            for shard, count in beat.images_done.items():
                images_done[shard] = max(count, images_done.get(shard, 0))
    return WorkerBeats(frozenset(workers), frozenset(devices), images_done, images_per_s)


def _read(private: Store, key: str, kind: type[_AnyBeat]) -> _AnyBeat | None:
    """Return a heartbeat, or None if it is missing or damaged."""
    try:
        return kind.from_json(private.read(key, MAX_RECORD_BYTES), key)
    except (ItemError, DamagedRecordError):
        return None
