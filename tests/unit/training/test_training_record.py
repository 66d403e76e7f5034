"""A training in its own tree of the private tree: status, list, stop and logs find it, and other commands do not."""

import time
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from diagchd_batch import output_layout
from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.runs.cluster_training import follow_training
from diagchd_batch.runs.list_runs import list_runs
from diagchd_batch.runs.logs import read_logs
from diagchd_batch.runs.status import run_states
from diagchd_batch.runs.stop import live_run_ids, stop_after_shards
from diagchd_batch.runs.submit import ClusterSubmission
from diagchd_batch.scoring.liveness.heartbeats import DriverBeat, driver_name
from diagchd_batch.training.training_record import (
    FoldRecord,
    TrainingRecord,
    TrainingState,
    training_states,
    training_tree,
    write_training_record,
)
from tests.support.command_line import diagchd_batch

RUN = "0a1b2c3d-4e5f6071-1"


def _training(tmp_path: Path, *, alive: bool, **changes: Any) -> Output:
    output = open_output(str(tmp_path / "out"), None)
    tree = training_tree(output)
    tree.private.create(output_layout.identity_file(RUN), b"{}")
    fields: dict[str, Any] = {
        "run_id": RUN,
        "status": "running",
        "model": "mine",
        "architecture": "diagchd-compact",
        "package_uri": "packages/mine",
        "n_studies": 3,
        "n_subjects": 3,
        "n_images": 5,
        "folds": (FoldRecord(0, is_done=True), FoldRecord(1, "everything", 3, 12)),
        "started_at": datetime.now(UTC),
        "full_config": {},
        "command": ["train"],
    }
    write_training_record(tree, TrainingRecord.model_validate(fields | changes))
    beat = DriverBeat(ended=not alive, time_s=time.time())
    beat.write(tree.private, output_layout.heartbeat_file(RUN, driver_name("0123abcd")))
    return output


def test_a_running_training_has_a_state_and_is_asked_to_stop(tmp_path: Path) -> None:
    output = _training(tmp_path, alive=True)
    (state,) = run_states(output)
    assert isinstance(state, TrainingState)
    assert (state.status, state.model, [fold.is_done for fold in state.folds]) == ("running", "mine", [True, False])
    assert list_runs(output, None).runs == (state,)
    assert live_run_ids(output) == [RUN]
    asked = diagchd_batch("stop", str(tmp_path / "out"))
    assert f"training {RUN} was asked to end once its folds are saved" in asked.messages
    (answer,) = stop_after_shards(output, RUN)
    assert (answer.asked, answer.kind) == (True, "training")
    assert run_states(output, RUN)[0].status == "stopping"


def test_a_training_whose_driver_died_is_lost_and_one_that_failed_says_where_the_reason_is(tmp_path: Path) -> None:
    assert run_states(_training(tmp_path, alive=False))[0].status == "lost"
    (failed,) = run_states(_training(tmp_path, alive=False, status="failed", reason="a.png is bad", exit_code=1))
    assert (failed.status, failed.exit_code) == ("failed", 1)
    assert failed.reason == f"the full text is in the private tree, training/runs/run_id={RUN}/run.json, reason"


def test_a_damaged_record_is_reported(tmp_path: Path) -> None:
    output = _training(tmp_path, alive=False)
    training_tree(output).private.replace(output_layout.run_record(RUN), b"{")
    (state,) = training_states(output)
    assert state.status == "damaged"


def test_the_log_of_a_training_is_found(tmp_path: Path) -> None:
    output = _training(tmp_path, alive=False)
    assert "it is lost" in read_logs(output, None, None)
    training_tree(output).private.create(output_layout.log_part(RUN, "0000000000001-0123abcd", 0), b"epoch 1\n")
    assert read_logs(output, None, None) == read_logs(output, RUN, None) == "epoch 1\n"


def test_a_training_is_no_run_that_scores(tmp_path: Path) -> None:
    output = _training(tmp_path, alive=False, status="finished")
    assert output.run_ids() == []
    assert output.planned_run_ids() == []
    with pytest.raises(UsageError, match="holds no run other"):
        run_states(output, "other")


@pytest.mark.parametrize(
    ("of_ray", "record", "exit_code", "said"),
    [
        (("SUCCEEDED", 0), {"status": "finished", "exit_code": 3}, 3, ""),
        (("SUCCEEDED", 0), {"status": "finished", "exit_code": 0}, 0, ""),
        (("FAILED", 1), {"status": "finished", "exit_code": 0}, 1, "the training is finished"),
        (("FAILED", 1), {"status": "failed", "exit_code": 1}, 1, "the same command goes on"),
        (("STOPPED", None), {"status": "running"}, 1, "the same command goes on"),
    ],
)
def test_the_client_of_a_cluster_ends_with_the_exit_code_of_the_training(
    tmp_path: Path, of_ray: tuple[str, int | None], record: dict[str, Any], exit_code: int, said: str
) -> None:
    _training(tmp_path, alive=False, **record)
    jobs = cast(ClusterJobs, SimpleNamespace(follow=lambda *_: of_ray))
    config = JobConfig.model_validate(
        {"input": {"uri": "archive", "layout": "tree"}, "output": {"uri": str(tmp_path / "out")}}
    )
    texts: list[str] = []
    submission = ClusterSubmission(jobs, RUN, "submission", attached=False)
    assert follow_training(config, submission, write_log=texts.append, say=texts.append) == exit_code
    assert said in "".join(texts) and bool(texts) == bool(said)
