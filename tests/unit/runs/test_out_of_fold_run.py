"""The out-of-fold run of a training: stopped with its training, killed while it is written, and repaired."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch import output_layout
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.model import load_card
from diagchd_batch.privacy import searched_places
from diagchd_batch.runs import train
from diagchd_batch.runs.cross_validation import record_folds
from diagchd_batch.runs.stop import StopAnswer, stop_after_shards
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.held_out_folds import HeldOutFolds
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name
from diagchd_batch.training.training_record import training_states, training_tree, write_training_record
from diagchd_batch.workspace import Workspace
from tests.support.trainings.held_out_run import (
    ENVIRON,
    N_STUDIES,
    finish_training,
    folds_of,
    job_of,
    record_of,
    score,
    score_in_this_process,
    train_again,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING, SUBMISSION = "0a1b2c3d-4e5f6071-1", "0123abcd"


def _running_training(workspace: Workspace) -> None:
    """Write what a training has whose folds are trained and whose driver lives."""
    tree = training_tree(workspace)
    tree.private.create(output_layout.identity_file(TRAINING), b"{}")
    write_training_record(tree, record_of(TRAINING, "running", None))
    DriverBeat(ended=False, time_s=time.time()).write(
        tree.private, output_layout.heartbeat_file(TRAINING, driver_name(SUBMISSION))
    )


def test_a_stop_of_the_training_ends_its_out_of_fold_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(tmp_path)
    workspace = Workspace.of_job(job, ENVIRON)
    _running_training(workspace)
    asked: list[StopAnswer] = []

    def stop_after(shard: int) -> None:
        asked.extend(stop_after_shards(workspace, TRAINING))

    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process(after_shard=stop_after))
    key = output_layout.TRAINING_TREE_PREFIX + output_layout.stop_request(TRAINING, SUBMISSION)
    outcome = score(job, folds_of(key), lambda text: None)
    assert (str(outcome.ending), outcome.n_images_left) == ("stop", N_STUDIES - 2)
    assert [(answer.run_id, answer.asked, answer.kind) for answer in asked] == [(TRAINING, True, "training")]
    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process())
    again = score(job, folds_of("training/of/another/submission"), lambda text: None)
    assert again.counts and (again.run_id, again.counts.n_ok) == (outcome.run_id, N_STUDIES)


def test_an_out_of_fold_run_that_is_killed_while_it_is_written_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    job_of(tmp_path)
    run_id = _program(tmp_path, "undisturbed", 0.0).communicate(timeout=300)[0].strip()
    killed = _program(tmp_path, "killed", 0.4)
    scores = tmp_path / "killed" / output_layout.scores_prefix(run_id)
    _wait_until(lambda: len(list(scores.rglob("*.parquet"))) >= 2, killed)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    n_before = len(list(scores.rglob("*.parquet")))
    assert 2 <= n_before < N_STUDIES // 2
    assert _program(tmp_path, "killed", 0.0).communicate(timeout=300)[0].strip() == run_id
    tables = [_tables(tmp_path / place) for place in ("undisturbed", "killed")]
    assert len(tables[0]) >= N_STUDIES // 2 + 1
    assert tables[0] == tables[1]


def _program(directory: Path, output: str, seconds: float, *options: str) -> "subprocess.Popen[str]":
    words = [
        sys.executable,
        "-m",
        "tests.support.trainings.held_out_run",
        str(directory),
        output,
        str(seconds),
        *options,
    ]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _wait_until(is_true: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    while not is_true():
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)


def _tables(output: Path) -> dict[str, bytes]:
    """Return the score files and the predictions of an output."""
    files = [
        path for path in output.rglob("*.parquet") if path.relative_to(output).parts[0] in ("scores", "predictions")
    ]
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def test_a_finished_training_given_again_repairs_its_out_of_fold_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path)
    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process())
    run_id = score(job, folds_of(), lambda text: None).run_id
    training = finish_training(job, run_id)
    workspace = Workspace.of_job(job, ENVIRON)
    store = workspace.storage
    before = _tables(tmp_path / "out")
    outcome, said = train_again(job)
    assert (outcome.repeated, outcome.out_of_fold_run_id, said) == (True, run_id, "")
    for damage in (
        lambda: store.delete(output_layout.shard_file(run_id, 1)),
        lambda: store.replace(output_layout.predictions_file(run_id, 0), b"PAR1"),
        lambda: store.delete(output_layout.report_file(run_id)),
    ):
        damage()
        outcome, said = train_again(job)
        assert f"run {run_id} was finished but is not whole, and is resumed" in said
        assert (outcome.repeated, outcome.ending, _tables(tmp_path / "out")) == (True, None, before)
        assert store.stat(output_layout.report_file(run_id))

    # Its repair is killed, then stopped, and the third command finishes it.
    lost = [output_layout.shard_file(run_id, shard) for shard in range(1, N_STUDIES // 2)]
    for key in lost:
        store.delete(key)
    killed = _program(tmp_path, "out", 0.4, "--repair")
    _wait_until(lambda: store.stat(lost[0]) is not None, killed)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert not store.stat(lost[-1])
    assert not store.stat(output_layout.success_marker(run_id))
    asked: list[StopAnswer] = []

    def stop_after(shard: int) -> None:
        asked.extend(stop_after_shards(workspace, training))

    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process(after_shard=stop_after))
    outcome, _ = train_again(job)
    assert (str(outcome.ending), outcome.exit_code) == ("stop", ExitCode.DONE)
    assert [(answer.run_id, answer.asked, answer.kind) for answer in asked] == [
        (training, False, "training"), (run_id, True, "run")
    ]  # fmt: skip
    assert not store.stat(lost[-1])
    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process())
    outcome, said = train_again(job)
    assert (outcome.repeated, outcome.ending, _tables(tmp_path / "out")) == (True, None, before)
    assert store.stat(output_layout.success_marker(run_id))
    assert train_again(job)[1] == ""

    (tmp_path / "package" / "card.json").unlink()
    store.delete(output_layout.shard_file(run_id, 1))
    outcome, said = train_again(job)
    assert outcome.repeated and "no longer holds this training's package" in said


def test_a_training_ends_with_the_exit_code_of_its_out_of_fold_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of(tmp_path)
    job = job.model_copy(update={"output": job.output.model_copy(update={"privacy_check": True})})
    (tmp_path / "archive" / "study-00" / "1.png").write_bytes(b"no picture")
    (tmp_path / "package").rename(tmp_path / "made")

    def train_folds(*_: Any) -> HeldOutFolds:
        (tmp_path / "made").rename(tmp_path / "package")
        return folds_of()

    monkeypatch.setattr(train, "_train_folds", train_folds)
    monkeypatch.setattr(searched_places, "directories_of_this_user", list)  # another test's Ray may be at work
    monkeypatch.setattr(ray_data, "run_shards", score_in_this_process())
    note = tmp_path / "out" / "note.txt"
    note.parent.mkdir()
    note.write_text("seen: study-01")
    outcome, said = train_again(job)
    assert (outcome.repeated, outcome.exit_code) == (False, ExitCode.FAILED)
    assert "note.txt: line 1" in said and "correct what it names above, and give the same command again" in said
    assert "study-01" not in said
    workspace = Workspace.of_job(job, ENVIRON)
    (state,) = training_states(workspace)
    assert (state.status, state.exit_code) == ("finished", ExitCode.FAILED_INPUTS)

    record_folds(training_tree(workspace).private, outcome.run_id, folds_of(), load_card(str(tmp_path / "package")))
    note.unlink()
    outcome, said = train_again(job)
    assert (outcome.repeated, outcome.exit_code) == (True, ExitCode.FAILED_INPUTS)
    assert f"1 row of its out-of-fold run {outcome.out_of_fold_run_id} failed (unsupported_format 1)" in said
