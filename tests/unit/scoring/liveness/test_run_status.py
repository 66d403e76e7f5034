"""`status` reports, from an output alone, whether a run is alive, was asked to stop, has ended or has died."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from diagchd_batch import output_layout
from diagchd_batch.cli.main import app
from diagchd_batch.errors import UsageError
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.results.run_record import PrivateRunRecord, read_private_run_record, write_run_record
from diagchd_batch.scoring.liveness.heartbeats import (
    LOST_AFTER_S,
    DriverBeat,
    Heartbeat,
    WorkerBeat,
    driver_name,
    worker_name,
)
from diagchd_batch.scoring.liveness.run_status import live_submissions, run_state
from diagchd_batch.scoring.liveness.stop_conditions import request_stop
from tests.support.command_line import diagchd_batch
from tests.unit.results.made_run import RUN_ID, make_run, run_record

N_SHARDS, IMAGES_PER_SHARD = 4, 4


@pytest.fixture
def output(tmp_path: Path) -> Output:
    """Make a run with three of its four shards committed, and no living process."""
    run = make_run(tmp_path, N_SHARDS)
    run.storage.delete(output_layout.shard_file(RUN_ID, 3))
    record = run_record(run.plan, status="running", exit_code=None, images_per_s=None)
    write_run_record(run.storage, run.private, record)
    return open_output(run.storage.uri, None)


@pytest.fixture
def living(output: Output) -> Iterator[Output]:
    """Yield the same run with the heartbeats of a driver and two workers."""
    work = {"devices": ["CPU"], "images_per_s": 0.5}
    with ExitStack() as beats:
        beats.enter_context(Heartbeat(output.private, RUN_ID, driver_name("one"), DriverBeat))
        for name, images_done in (("a", {3: 1}), ("b", {})):
            content = {"worker": name, "images_done": images_done} | work
            beats.enter_context(
                Heartbeat(output.private, RUN_ID, worker_name("one", name), WorkerBeat, lambda c=content: c)  # type: ignore[misc]
            )
        yield output


def test_a_living_run_tells_its_rate_and_what_is_left(living: Output) -> None:
    state = run_state(living, RUN_ID)
    assert (state.status, state.shards_done, state.n_shards) == ("running", 3, N_SHARDS)
    assert (state.workers, state.n_in_flight, state.images_per_s) == (2, 1, 1.0)
    assert state.remaining_s == pytest.approx(IMAGES_PER_SHARD - 1)
    assert state.n_ok + sum(state.failures.values()) == 3 * 7
    assert live_submissions(living, RUN_ID) == ["one"]


def test_one_that_was_asked_to_stop_says_so(living: Output) -> None:
    request_stop(living.private, RUN_ID, "one")
    assert run_state(living, RUN_ID).status == "stopping"


def test_stop_with_an_output_alone_asks_every_run_of_it_that_lives(living: Output) -> None:
    asked = CliRunner().invoke(app, ["stop", living.storage.uri])
    assert asked.exit_code == 0 and f"run {RUN_ID} was asked to end" in asked.stderr
    assert run_state(living, RUN_ID).status == "stopping"
    again = CliRunner().invoke(app, ["stop", living.storage.uri, "--json"])
    assert json.loads(again.stdout) == [{"run_id": RUN_ID, "status": "stopping", "asked": True, "kind": "run"}]


def test_a_request_to_an_earlier_submission_does_not_count(living: Output) -> None:
    request_stop(living.private, RUN_ID, "another")
    assert run_state(living, RUN_ID).status == "running"


def test_a_driver_that_died_is_lost(output: Output) -> None:
    silent = {"ended": False, "time_s": time.time() - LOST_AFTER_S - 1}
    output.private.replace(output_layout.heartbeat_file(RUN_ID, driver_name("one")), json.dumps(silent).encode())
    state = run_state(output, RUN_ID)
    assert (state.status, state.workers, state.remaining_s) == ("lost", 0, None)
    assert live_submissions(output, RUN_ID) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"ended": 0}', b"\x00\xff"])
def test_damaged_heartbeats_and_attempts_are_passed_over(living: Output, content: bytes) -> None:
    """A full disk or a killed machine can leave half a file. `status` and `list` still report the rest."""
    for name in (driver_name("two"), worker_name("one", "c"), worker_name("two", "d")):
        living.private.replace(output_layout.heartbeat_file(RUN_ID, name), content)
    living.private.replace(output_layout.attempt_marker(RUN_ID, 3, "one-attempt", "open"), content)
    state = run_state(living, RUN_ID)
    assert (state.status, state.workers, state.n_in_flight, state.attempts) == ("running", 2, 1, 1)
    assert diagchd_batch("status", living.storage.uri).exit_code == 0
    assert diagchd_batch("list", living.storage.uri).exit_code == 0


def test_submissions_that_ended_before_scoring_are_counted(living: Output) -> None:
    assert run_state(living, RUN_ID).submissions == 1
    for name in ("two", "three"):
        with Heartbeat(living.private, RUN_ID, driver_name(name), DriverBeat):
            pass
    assert run_state(living, RUN_ID).submissions == 3
    record = read_private_run_record(living.private, RUN_ID).model_copy(update={"submissions": 5})
    write_run_record(living.storage, living.private, record)
    assert run_state(living, RUN_ID).submissions == 5


def test_an_unknown_run_is_refused(output: Output) -> None:
    with pytest.raises(UsageError, match="holds no run other"):
        run_state(output, "other")


def test_a_run_that_failed_says_why_and_which_it_was(output: Output) -> None:
    record = failed_record(output)
    write_run_record(output.storage, output.private, record)
    state = run_state(output, RUN_ID)
    assert (state.status, state.exit_code) == ("failed", 1)
    assert state.reason.startswith("a fault of the run, exit code 1")
    assert (state.model, state.precision, state.started_at) == (record.model.name, "float32", record.started_at)
    assert state.ended_at == record.ended_at


def test_status_and_list_tell_people_the_reason_and_put_the_newest_run_last(output: Output) -> None:
    failed = failed_record(output)
    older = failed.model_copy(update={"run_id": "ffffffff-00000000-1", "started_at": datetime(2023, 1, 1, tzinfo=UTC)})
    for record in (failed, older):
        write_run_record(output.storage, output.private, record)
    status = diagchd_batch("status", output.storage.uri).printed
    assert "reason       a fault of the run, exit code 1; the full text is in the private tree" in status
    assert output_layout.private_run_record(RUN_ID) in status and "/archive/SURNAME" not in status
    assert "/archive/SURNAME" not in diagchd_batch("status", output.storage.uri, "--json").printed
    assert "2024-01-02 03:04 UTC" in status
    lines = diagchd_batch("list", output.storage.uri).printed.splitlines()
    assert [line.split()[0] for line in lines] == [older.run_id, RUN_ID]
    assert lines[1].split()[1:5] == ["failed", "2024-01-02", "03:04", "UTC"]


def failed_record(output: Output) -> PrivateRunRecord:
    record = read_private_run_record(output.private, RUN_ID)
    return record.model_copy(update={"status": "failed", "exit_code": 1, "reason": "/archive/SURNAME cannot be used"})
