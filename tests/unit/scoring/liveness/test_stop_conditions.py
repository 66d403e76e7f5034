"""The conditions under which no further shard is started."""

from pathlib import Path
from typing import Never

import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import StorageFault
from diagchd_batch.scoring.liveness import stop_conditions
from diagchd_batch.scoring.liveness.stop_conditions import Ending, StopConditions, request_stop
from diagchd_batch.storage import Store, open_store


class Clock:
    now_s = 1000.0

    def time(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(stop_conditions, "time", clock)
    return clock


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), owner_only=True)


def test_without_a_deadline_every_shard_may_begin(clock: Clock, private: Store) -> None:
    gate = StopConditions(private, "run", "now", None)
    gate.note(10, 1e9)
    assert (gate.closed(), gate.refusal(10**6)) == (None, None)


def test_only_shards_that_end_in_time_begin(clock: Clock, private: Store) -> None:
    gate = StopConditions(private, "run", "now", 1100.0)
    assert gate.refusal(10**9) is None  # The speed is not known yet.
    gate.note(100, 30.0)
    gate.note(100, 50.0)  # The mean is 0.4 s per image.
    assert gate.refusal(250) is None
    assert gate.refusal(251) is Ending.DEADLINE
    clock.now_s = 1050.0
    assert (gate.closed(), gate.refusal(125), gate.refusal(126)) == (None, None, Ending.DEADLINE)


def test_the_limit_of_requests_to_a_pacs_counts_before_and_beside_what_was_measured(
    clock: Clock, private: Store
) -> None:
    gate = StopConditions(private, "run", "now", 1100.0, least_s_per_image=0.5)
    assert (gate.refusal(200), gate.refusal(201)) == (None, Ending.DEADLINE)
    gate.note(100, 10.0)
    assert (gate.refusal(200), gate.refusal(201)) == (None, Ending.DEADLINE)
    gate.note(100, 190.0)  # The mean is 1 s per image.
    assert (gate.refusal(100), gate.refusal(101)) == (None, Ending.DEADLINE)


def test_at_the_deadline_nothing_begins_even_if_nothing_is_known(clock: Clock, private: Store) -> None:
    gate = StopConditions(private, "run", "now", 1000.0)
    assert gate.closed() is gate.refusal(0) is Ending.DEADLINE


def test_a_stop_is_of_one_submission(private: Store) -> None:
    gate = StopConditions(private, "run", "now", None)
    assert gate.closed() is None
    request_stop(private, "run", "now")
    request_stop(private, "run", "now")  # A second request has no further effect.
    assert gate.closed() is gate.refusal(1) is Ending.STOP
    assert StopConditions(private, "run", "later", None).closed() is None


def test_the_stop_of_a_training_ends_its_out_of_fold_run(private: Store) -> None:
    of_training = "training/" + output_layout.stop_request("training", "first")
    gate = StopConditions(private, "run", "now", None, also_stopped_by=of_training)
    assert gate.closed() is None
    private.create(of_training, b"")
    assert gate.closed() is Ending.STOP


def test_while_the_request_cannot_be_looked_for_work_goes_on(private: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = StopConditions(private, "run", "now", None)

    def refuse(key: str) -> Never:
        assert key == output_layout.stop_request("run", "now")
        raise StorageFault("gone for a while")

    with monkeypatch.context() as patched:
        patched.setattr(private, "stat", refuse)
        assert gate.closed() is None
    request_stop(private, "run", "now")
    assert gate.closed() is Ending.STOP
