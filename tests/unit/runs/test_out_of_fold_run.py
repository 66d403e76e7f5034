"""The out-of-fold run of a training: stopped with its training, killed while it is written, and repaired."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.model import load_card
from diagchd_batch.runs import train
from diagchd_batch.runs.cross_validation import record_folds
from diagchd_batch.runs.stop import StopAnswer, stop_after_shards
from diagchd_batch.runs.train import TrainOptions, TrainOutcome, train_here, training_target
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.run_identity.claims import RunRegistry
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name
from diagchd_batch.training.training_record import TrainingRecord, training_tree, write_training_record
from diagchd_batch.workspace import Workspace
from tests.support.trainings.held_out_run import (
    ENVIRON,
    N_STUDIES,
    OneMachine,
    folds_of,
    job_of,
    score,
    score_in_this_process,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

TRAINING, SUBMISSION = "0a1b2c3d-4e5f6071-1", "0123abcd"


class _Messages:
    """Keeps the messages of a training."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def message(self, text: str) -> None:
        self.texts.append(text)

    def listed(self, n_objects: int) -> None:
        pass

    def cached(self, n_done: int, n_parts: int) -> None:
        pass

    def folds(self, notes: object) -> None:
        pass


def _running_training(workspace: Workspace) -> None:
    """Write what a training has whose folds are trained and whose driver lives."""
    tree = training_tree(workspace)
    tree.private.create(output_layout.identity_file(TRAINING), b"{}")
    write_training_record(tree, _record(TRAINING, "running", None))
    DriverBeat(ended=False, time_s=time.time()).write(
        tree.private, output_layout.heartbeat_file(TRAINING, driver_name(SUBMISSION))
    )


def _record(run_id: str, status: str, out_of_fold_run_id: str | None) -> TrainingRecord:
    return TrainingRecord.model_validate(
        {
            "run_id": run_id,
            "status": status,
            "model": "trained",
            "architecture": "diagchd-compact",
            "package_uri": "package",
            "n_studies": N_STUDIES,
            "n_subjects": N_STUDIES,
            "n_images": N_STUDIES,
            "started_at": datetime.now(UTC),
            "out_of_fold_run_id": out_of_fold_run_id,
            "full_config": {},
            "command": ["train"],
        }
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


def _program(directory: Path, output: str, seconds: float) -> "subprocess.Popen[str]":
    words = [sys.executable, "-m", "tests.support.trainings.held_out_run", str(directory), output, str(seconds)]
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
    monkeypatch.setattr(train, "LocalCluster", lambda node: OneMachine())
    run_id = score(job, folds_of(), lambda text: None).run_id
    workspace = Workspace.of_job(job, ENVIRON)
    tree, key = training_tree(workspace), workspace.create_key()
    registry = RunRegistry(tree.storage, tree.private, key)
    network = load_card("diagchd-compact")
    target = training_target(job, network, registry, key, RunRequest())
    training = registry.claim(target, batch_size=1, intra_op_threads=1, chd_threshold=0.5).identity.run_id
    write_training_record(tree, _record(training, "finished", run_id))
    tree.storage.create(output_layout.success_marker(training), b"")
    record_folds(tree.private, training, folds_of(), load_card(str(tmp_path / "package")))
    before = _tables(tmp_path / "out")

    def again() -> tuple[TrainOutcome, str]:
        progress = _Messages()
        outcome = train_here(TrainOptions(job, ENVIRON, ["train"], RunRequest()), progress)
        return outcome, " ".join(progress.texts)

    outcome, said = again()
    assert (outcome.repeated, outcome.out_of_fold_run_id, said) == (True, run_id, "")
    store = workspace.storage
    for damage in (
        lambda: store.delete(output_layout.shard_file(run_id, 1)),
        lambda: store.replace(output_layout.predictions_file(run_id, 0), b"PAR1"),
        lambda: store.delete(output_layout.report_file(run_id)),
    ):
        damage()
        outcome, said = again()
        assert f"run {run_id} was finished but is not whole, and is resumed" in said
        assert (outcome.repeated, outcome.ending, _tables(tmp_path / "out")) == (True, None, before)
        assert store.stat(output_layout.report_file(run_id))
    (tmp_path / "package" / "card.json").unlink()
    store.delete(output_layout.shard_file(run_id, 1))
    outcome, said = again()
    assert outcome.repeated and "no longer holds this training's package" in said
