"""Signs of life under `private/`: drivers and workers renew a small file each while they live."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from types import TracebackType
from typing import Any, Self

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, StorageFault
from diagchd_batch.storage import Store

INTERVAL_S = 5.0
LOST_AFTER_S = 60.0
"""Twelve missed beats; also the difference that clocks of two machines may have."""


class SubmissionState(Enum):
    LIVE = "live"
    ENDED = "ended"  # orderly: finished, failed with a reason, or interrupted
    LOST = "lost"  # without a word: killed, or its machine is gone


class Heartbeat:
    """Renews `name`'s file with `content()` every few seconds, from a thread of its own, until the block is left.

    `beat` renews at once. Storage that fails for a while is no reason to end: the beat is missed.
    """

    def __init__(self, private: Store, run_id: str, name: str, content: Callable[[], dict[str, Any]]) -> None:
        self._private = private
        self._key = output_layout.heartbeat_file(run_id, name)
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
        text = json.dumps({**self._content(), "ended": ended, "time_s": time.time()})
        with suppress(StorageFault, ItemError):
            self._private.replace(self._key, text.encode())

    def _run(self) -> None:
        while not self._ending.wait(INTERVAL_S):
            self.beat()


def driver_name(submission: str) -> str:
    return f"driver-{submission}"


def worker_name(submission: str, worker: str) -> str:
    return f"worker-{submission}-{worker}"


def submission_state(private: Store, run_id: str, submission: str) -> SubmissionState:
    """What became of a submission, by its driver's heartbeat."""
    try:
        beat = json.loads(private.read(output_layout.heartbeat_file(run_id, driver_name(submission))))
    except ItemError:
        return SubmissionState.LOST
    if beat["ended"]:
        return SubmissionState.ENDED
    return SubmissionState.LIVE if time.time() - beat["time_s"] < LOST_AFTER_S else SubmissionState.LOST


@dataclass(frozen=True, slots=True)
class WorkerBeats:
    """What a submission's live workers say: who they are, what they compute on, shard → images done so far, and how
    fast they are together, each since its first shard began.
    """

    workers: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    images_done: Mapping[int, int] = field(default_factory=dict)
    images_per_s: float = 0.0


def read_worker_beats(private: Store, run_id: str, submission: str, *, ended: bool = False) -> WorkerBeats:
    """The beats of workers that live; with `ended` also of those that were once there."""
    prefix = output_layout.heartbeats_prefix(run_id)
    workers: set[str] = set()
    devices: set[str] = set()
    images_done: dict[int, int] = {}
    images_per_s = 0.0
    for info in private.list(prefix):
        if not info.key.startswith(prefix + worker_name(submission, "")):
            continue
        try:
            beat = json.loads(private.read(info.key))
        except ItemError:
            continue
        if ended or time.time() - beat["time_s"] < LOST_AFTER_S:
            workers.add(beat["worker"])
            devices.update(beat["devices"])
            images_per_s += beat["images_per_s"]
            for shard, count in beat["images_done"].items():
                images_done[int(shard)] = max(count, images_done.get(int(shard), 0))
    return WorkerBeats(frozenset(workers), frozenset(devices), images_done, images_per_s)
