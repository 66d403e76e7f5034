"""The log for programs: every line is one JSON object that names its run."""

import json

import pytest

from diagchd_batch.cli import progress
from diagchd_batch.cli.json_progress import JsonProgress
from diagchd_batch.cli.progress import LineProgress
from diagchd_batch.scoring.liveness.progress_events import RunStart, ShardSummary


def test_each_event_is_a_line_with_its_run(capsys: pytest.CaptureFixture[str]) -> None:
    log = JsonProgress()
    for n_objects in (1000, 1000):
        log.listed(n_objects)
    log.message("waiting for a node")
    log.started(RunStart("r", n_images=16, n_shards=2, done_images=8, done_shards=1, resumed=True))
    log.workers(2)
    log.in_flight(3)
    log.shard_done(ShardSummary(1, 8, 7, 1, {"decode_error": 1}, seconds=2.5, attempt="a-1"))
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    # No event "progress" is due yet.
    assert [event["event"] for event in events] == ["listed", "message", "started", "shard"]
    assert [event["run"] for event in events] == [None, None, "r", "r"]
    assert events[-1]["attempt"] == "a-1"
    assert (events[-1]["shard"], events[-1]["failures"]) == (1, {"decode_error": 1})


def test_the_number_of_listed_objects_is_completed(capsys: pytest.CaptureFixture[str]) -> None:
    log = JsonProgress()
    for n_objects in (2, 30, 46):
        log.listed(n_objects)
    log.started(RunStart("r", n_images=16, n_shards=2, done_images=8, done_shards=1, resumed=True))
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [event.get("n_objects") for event in events] == [2, 46, None]


def test_the_environment_chooses() -> None:
    assert isinstance(progress.log_progress({progress.LOG_VARIABLE: "json"}), JsonProgress)
    assert isinstance(progress.log_progress({}), LineProgress)
