"""Open markers tell whether a worker died, and whether its shard was the cause."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from diagchd_batch.scoring.liveness.heartbeats import SubmissionState
from diagchd_batch.scoring.liveness.shard_attempts import Attempt, AttemptLog, ShardHistory, Worker
from diagchd_batch.storage import open_store

RUN = "run"


def _log(
    directory: Path, worker: Worker, submission: str = "now", state: SubmissionState = SubmissionState.LOST
) -> AttemptLog:
    storage = open_store(str(directory))
    return AttemptLog(storage, storage, RUN, submission, worker, lambda name: state)


@pytest.fixture
def here() -> Worker:
    return Worker.this_process()


@pytest.fixture
def dead_neighbour(here: Worker) -> Worker:
    """Return a worker of this machine whose process has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return replace(here, worker="dead", pid=process.pid, start_ticks=here.start_ticks + 1)


@pytest.fixture
def elsewhere(here: Worker) -> Worker:
    return replace(here, worker="far", boot="another boot", node="another-node")


def test_a_closed_attempt_says_nothing(tmp_path: Path, here: Worker, dead_neighbour: Worker) -> None:
    log = _log(tmp_path, dead_neighbour)
    log.close(log.open(3, isolated=False), "committed")
    assert _log(tmp_path, here).history(3) == ShardHistory(crashed=False, deaths=())


def test_an_open_attempt_of_a_dead_worker_is_a_crash_of_its_shard_alone(
    tmp_path: Path, here: Worker, dead_neighbour: Worker
) -> None:
    _log(tmp_path, dead_neighbour).open(3, isolated=False)
    assert _log(tmp_path, here).history(3).crashed
    assert not _log(tmp_path, here).history(4).crashed
    assert _log(tmp_path, here).history(3).deaths == ()  # Its files were not decoded in isolation.


def test_an_attempt_of_a_living_worker_is_no_crash(tmp_path: Path, here: Worker) -> None:
    neighbour = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        ticks = int(Path(f"/proc/{neighbour.pid}/stat").read_text().rpartition(")")[2].split()[19])
        alive = replace(here, worker="alive", pid=neighbour.pid, start_ticks=ticks)
        _log(tmp_path, alive).open(0, isolated=False)
        assert not _log(tmp_path, here).history(0).crashed
    finally:
        neighbour.kill()
        neighbour.wait()
    assert _log(tmp_path, here).history(0).crashed


def test_a_reused_process_id_is_not_the_worker(tmp_path: Path, here: Worker) -> None:
    reused = replace(here, worker="before us", pid=os.getpid(), start_ticks=here.start_ticks - 1)
    _log(tmp_path, reused).open(0, isolated=False)
    assert _log(tmp_path, here).history(0).crashed


def test_two_threads_of_one_worker_do_not_take_each_other_for_dead(tmp_path: Path, here: Worker) -> None:
    log = _log(tmp_path, here)
    log.open(0, isolated=False)
    assert not log.history(0).crashed


@pytest.mark.parametrize(
    ("submission", "state", "crashed"),
    [
        ("now", SubmissionState.LIVE, True),  # This worker got the shard, so the other one is gone.
        ("earlier", SubmissionState.LIVE, False),
        ("earlier", SubmissionState.LOST, True),
        ("earlier", SubmissionState.ENDED, False),  # Its driver ended it in an orderly way.
    ],
)
def test_a_worker_of_another_node(
    tmp_path: Path, here: Worker, elsewhere: Worker, submission: str, state: SubmissionState, crashed: bool
) -> None:
    _log(tmp_path, elsewhere, submission).open(0, isolated=False)
    assert _log(tmp_path, here, "now", state).history(0).crashed is crashed


def test_of_an_orderly_ended_submission_only_the_last_attempt_is_excused(
    tmp_path: Path, here: Worker, dead_neighbour: Worker
) -> None:
    log = _log(tmp_path, dead_neighbour, "earlier")
    log.open(0, isolated=False)
    assert not _log(tmp_path, here, "now", SubmissionState.ENDED).history(0).crashed
    _log(tmp_path, replace(dead_neighbour, worker="next"), "earlier").open(0, isolated=True)
    assert _log(tmp_path, here, "now", SubmissionState.ENDED).history(0).crashed


def test_deaths_count_within_a_submission_where_files_were_isolated(
    tmp_path: Path, here: Worker, dead_neighbour: Worker
) -> None:
    for submission, isolated in (("now", False), ("now", True), ("now", True), ("earlier", True)):
        log = _log(tmp_path, dead_neighbour, submission)
        log.note_batch(log.open(0, isolated=isolated), 5)
    deaths = _log(tmp_path, here).history(0).deaths
    assert [(death.submission, death.isolated, death.batch) for death in deaths] == [("now", True, 5)] * 2


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"\xff", b'{"attempt": "a"}', b'{"worker": {}}'])
def test_a_damaged_marker_counts_as_a_crash_unless_it_is_closed(tmp_path: Path, here: Worker, content: bytes) -> None:
    log = _log(tmp_path, here)
    attempt = log.open(0, isolated=True)
    (marker,) = tmp_path.rglob("*.open.json")
    marker.write_bytes(content)
    assert log.history(0) == ShardHistory(crashed=True, deaths=())
    log.close(attempt, "committed")
    assert log.history(0) == ShardHistory(crashed=False, deaths=())


def test_only_deaths_at_one_and_the_same_batch_add_up(here: Worker) -> None:
    def death(batch: int) -> Attempt:
        return Attempt(attempt="name", shard=0, submission="now", worker=here, isolated=True, batch=batch)

    history = ShardHistory(True, tuple(death(batch) for batch in (None, None, None, 0, 3, 1, 3, 2)))
    assert [attempt.batch for attempt in history.deaths_at_one_batch()] == [3, 3]
    assert ShardHistory(True, (death(None),)).deaths_at_one_batch() == ()
