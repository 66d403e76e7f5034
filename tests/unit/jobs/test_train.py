"""The command line of `jobs/train.py`, and how a cluster comes to it."""

import json
from datetime import datetime
from typing import Any, Never

import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.train import TrainOptions, TrainOutcome
from jobs import run_submitted_job, train

JOB = JobConfig.model_validate(
    {
        "input": {"uri": "/archive", "layout": "tree"},
        "output": {"uri": "/out"},
        "training": {"package_uri": "/package"},
    }
)


def test_a_submitted_training_is_trained_and_not_scored(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def train_on(options: TrainOptions, *_: Any) -> Never:
        asked.append(options)
        raise RunInterrupted(15)

    monkeypatch.setattr(train, "train_on_joined_ray", train_on)
    monkeypatch.setattr(run_submitted_job, "_load", lambda name, overrides, environ: JOB)
    until = "2126-11-24T06:00:00+01:00"
    words = ["mine-s1-0123abcd", "--run-id", "mine", "--train", "--until", until]
    monkeypatch.setattr("sys.argv", ["run_submitted_job.py", *words])
    assert run_submitted_job.main() == 143
    (options,) = asked
    assert (options.config, options.request.run_id, options.request.new_run) == (JOB, "mine", False)
    assert options.until == datetime.fromisoformat(until)


@pytest.mark.parametrize(
    ("ended", "of_the_job"),
    [(ExitCode.DONE, 0), (ExitCode.FAILED_INPUTS, 0), (ExitCode.FAILED, 1)],
)
def test_failed_inputs_are_no_failure_of_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], ended: ExitCode, of_the_job: int
) -> None:
    monkeypatch.setattr(train, "train_on_joined_ray", lambda *_: TrainOutcome("first", ended, "/package", 2))
    monkeypatch.setattr("sys.argv", ["train.py", "job.yaml"])
    assert train.main(lambda *_: JOB) == of_the_job
    assert json.loads(capsys.readouterr().out)["exit_code"] == ended
