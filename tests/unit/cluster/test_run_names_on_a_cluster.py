"""`logs` and `stop --now` name runs by the beginning of their ids, also if the cluster alone knows them."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from ray.job_submission import JobStatus

from diagchd_batch.cluster.job_api import ClusterJobs, run_of_submission
from diagchd_batch.runs import cluster_jobs
from tests.support.command_line import diagchd_batch

ADDRESS = "http://head:8265"


class Api:
    """The part of Ray's job API that `logs`, `list` and `stop` need."""

    def __init__(self) -> None:
        self.stopped: list[str] = []

    def list_jobs(self) -> list[Any]:
        ids = ["night-1-s1", "night-1-s2", "night-10-s1", "day-s1", "day-s2-s1"]
        ours = [self._job(name, "python -m jobs.run_submitted_job x") for name in ids]
        return [*ours, self._job("somebody-s1", "python else.py")]

    def _job(self, name: str, entrypoint: str) -> Any:
        return SimpleNamespace(submission_id=name, entrypoint=entrypoint, status=JobStatus.RUNNING, start_time=0)

    def get_job_logs(self, submission_id: str) -> str:
        return f"the log of {submission_id}\n"

    def stop_job(self, submission_id: str) -> bool:
        self.stopped.append(submission_id)
        return True


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Api:
    api = Api()

    def connect(address: str | None) -> ClusterJobs:
        jobs = object.__new__(ClusterJobs)
        jobs.address, jobs._client = address or "", api  # type: ignore[assignment]
        return jobs

    monkeypatch.setattr(cluster_jobs, "connect", connect)
    return api


@pytest.mark.parametrize(
    ("name", "submission"),
    [
        ("night-10", "night-10-s1"),
        ("night-1", "night-1-s2"),  # a whole id, with which another one begins
        ("day-s", "day-s2-s1"),
        ("day", "day-s1"),
    ],
)
def test_a_beginning_of_an_id_finds_the_run(api: Api, name: str, submission: str) -> None:
    assert diagchd_batch("logs", "--run-id", name, "--address", ADDRESS).printed == f"the log of {submission}\n"
    assert api.stopped == []
    stopped = diagchd_batch("stop", "--now", "--run-id", name, "--address", ADDRESS, "--json")
    assert api.stopped == [submission]
    assert json.loads(stopped.printed) == [
        {"run_id": run_of_submission(submission), "submission_id": submission, "asked": True}
    ]


@pytest.mark.parametrize("command", [("logs",), ("stop", "--now")], ids=" ".join)
def test_a_beginning_that_several_runs_have_is_refused_with_their_ids(api: Api, command: tuple[str, ...]) -> None:
    done = diagchd_batch(*command, "--run-id", "nig", "--address", ADDRESS)
    assert (done.exit_code, done.printed, api.stopped) == (2, "", [])
    assert "several runs have an id that begins with nig: night-1, night-10; write more of it" in done.messages


@pytest.mark.parametrize("command", [("logs",), ("stop", "--now")], ids=" ".join)
def test_a_job_of_others_is_no_run(api: Api, command: tuple[str, ...]) -> None:
    done = diagchd_batch(*command, "--run-id", "somebody", "--address", ADDRESS)
    assert (done.exit_code, done.printed, api.stopped) == (2, "", [])
    assert "knows no submission of run somebody" in done.messages
