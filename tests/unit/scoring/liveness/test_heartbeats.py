"""The heartbeats of drivers and workers."""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch import output_layout
from diagchd_batch.scoring.liveness.heartbeats import (
    LOST_AFTER_S,
    DriverBeat,
    Heartbeat,
    SubmissionState,
    WorkerBeat,
    driver_name,
    read_worker_beats,
    submission_state,
    worker_name,
)
from diagchd_batch.storage import Store, open_store


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path))


def test_a_driver_lives_ends_or_is_lost(private: Store) -> None:
    assert submission_state(private, "run", "one") == SubmissionState.LOST
    with Heartbeat(private, "run", driver_name("one"), DriverBeat):
        assert submission_state(private, "run", "one") == SubmissionState.LIVE
    assert submission_state(private, "run", "one") == SubmissionState.ENDED
    stale = {"ended": False, "time_s": time.time() - LOST_AFTER_S - 1}
    private.replace(output_layout.heartbeat_file("run", driver_name("two")), json.dumps(stale).encode())
    assert submission_state(private, "run", "two") == SubmissionState.LOST


def _worker(name: str, images_done: dict[int, int], devices: Sequence[str] = ("CPU",)) -> Callable[[], dict[str, Any]]:
    return lambda: {"worker": name, "devices": list(devices), "images_done": images_done, "images_per_s": 2.5}


def test_workers_of_a_submission_are_added_up(private: Store) -> None:
    with (
        Heartbeat(private, "run", worker_name("now", "a"), WorkerBeat, _worker("a", {0: 3, 1: 2})),
        Heartbeat(private, "run", worker_name("now", "b"), WorkerBeat, _worker("b", {1: 5}, ("GPU",))),
        Heartbeat(private, "run", worker_name("other", "c"), WorkerBeat, _worker("c", {7: 1})),
    ):
        beats = read_worker_beats(private, "run", "now")
    assert beats.workers == {"a", "b"}
    assert beats.devices == {"CPU", "GPU"}
    assert beats.images_done == {0: 3, 1: 5}
    assert beats.images_per_s == 5.0


def test_a_workers_silence_is_noticed(private: Store) -> None:
    silent = _worker("a", {0: 3})() | {"ended": False, "time_s": time.time() - LOST_AFTER_S - 1}
    private.replace(output_layout.heartbeat_file("run", worker_name("now", "a")), json.dumps(silent).encode())
    assert read_worker_beats(private, "run", "now").workers == frozenset()
    assert read_worker_beats(private, "run", "now", ended=True).devices == {"CPU"}


DAMAGED = [b"", b"{", b"null", b"[]", b"\xff\xfe", b'{"ended": false}', b'{"time_s": "soon", "ended": 3}']


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_heartbeat_counts_as_none(private: Store, content: bytes) -> None:
    private.replace(output_layout.heartbeat_file("run", driver_name("now")), content)
    private.replace(output_layout.heartbeat_file("run", worker_name("now", "a")), content)
    assert submission_state(private, "run", "now") == SubmissionState.LOST
    with Heartbeat(private, "run", worker_name("now", "b"), WorkerBeat, _worker("b", {1: 5})):
        beats = read_worker_beats(private, "run", "now")
    assert (beats.workers, beats.images_done) == ({"b"}, {1: 5})  # type: ignore[comparison-overlap]
