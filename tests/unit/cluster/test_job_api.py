"""`submit` starts a submission or attaches to one, tested with a job API that keeps its jobs in memory."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from ray.job_submission import JobStatus

from diagchd_batch.cluster import job_api as client_module
from diagchd_batch.cluster.job_api import ClusterJobs, cluster_address
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, DiagchdBatchError, RunFault
from diagchd_batch.runs.index import SUBMISSION_NAME
from diagchd_batch.storage import Store, open_store

CONFIG = JobConfig.model_validate({"input": {"uri": "/archive", "layout": "tree"}, "output": {"uri": "/out"}})


@dataclass
class Job:
    submission_id: str
    entrypoint: str
    status: JobStatus = JobStatus.RUNNING
    start_time: int = 0


class MemoryApi:
    """The part of Ray's job API that `submit` needs. As in Ray, the error for an id in use does not say so."""

    def __init__(self) -> None:
        self.jobs: dict[str, Job] = {}
        self.before_submit: Callable[[], object] = lambda: None
        self.unready = 0

    def list_jobs(self) -> list[Job]:
        return list(self.jobs.values())

    def submit_job(self, *, entrypoint: str, submission_id: str, runtime_env: dict[str, Any]) -> None:
        before, self.before_submit = self.before_submit, lambda: None
        before()
        if self.unready:
            self.unready -= 1
            raise RuntimeError("Request failed with status code 500: No available agent to submit job")
        if submission_id in self.jobs:
            raise RuntimeError("HTTP 500")
        self.jobs[submission_id] = Job(submission_id, entrypoint)


@pytest.fixture
def api() -> MemoryApi:
    return MemoryApi()


@pytest.fixture
def jobs(api: MemoryApi, monkeypatch: pytest.MonkeyPatch) -> ClusterJobs:
    monkeypatch.setattr(client_module, "_stage", lambda *_: None)
    jobs = object.__new__(ClusterJobs)
    jobs.address, jobs._client = "http://head:8265", api  # type: ignore[assignment]
    return jobs


@pytest.fixture
def private(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "one"))


@pytest.fixture
def another(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "another"))


def test_the_same_run_twice_attaches_and_a_resume_gets_the_next_number(
    jobs: ClusterJobs, api: MemoryApi, private: Store
) -> None:
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", False)
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", True)
    api.jobs["run-s1"].status = JobStatus.FAILED
    assert jobs.submit(CONFIG, private, "run", ["--until", "06:00"]) == ("run-s2", False)
    assert api.jobs["run-s2"].entrypoint.endswith("--run-id run --until 06:00")
    assert jobs.latest("run") == "run-s2"


def test_a_head_that_is_not_ready_is_asked_again_after_pauses(
    jobs: ClusterJobs, api: MemoryApi, private: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    api.unready = 5
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", False)
    assert len(pauses) == 5


def test_a_head_that_refuses_a_job_is_not_asked_again(
    jobs: ClusterJobs, api: MemoryApi, private: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise RuntimeError("Request failed with status code 500: no space left")

    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    api.before_submit = refuse
    with pytest.raises(RunFault):
        jobs.submit(CONFIG, private, "run")


def test_a_run_of_the_same_name_in_another_output_is_another_run(
    jobs: ClusterJobs, private: Store, another: Store
) -> None:
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", False)
    assert jobs.submit(CONFIG, another, "run") == ("run-s2", False)
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", True)
    assert jobs.submit(CONFIG, another, "run") == ("run-s2", True)


def test_of_two_clients_at_once_the_second_attaches(jobs: ClusterJobs, api: MemoryApi, private: Store) -> None:
    api.before_submit = lambda: jobs.submit(CONFIG, private, "run")
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", True)
    assert list(api.jobs) == ["run-s1"]


def test_of_two_clients_at_once_with_two_outputs_both_run(
    jobs: ClusterJobs, api: MemoryApi, private: Store, another: Store
) -> None:
    api.before_submit = lambda: jobs.submit(CONFIG, another, "run")
    assert jobs.submit(CONFIG, private, "run") == ("run-s2", False)
    assert list(api.jobs) == ["run-s1", "run-s2"]


def test_a_run_whose_name_begins_as_anothers_is_not_mistaken_for_it(jobs: ClusterJobs, private: Store) -> None:
    assert jobs.submit(CONFIG, private, "run-s1") == ("run-s1-s1", False)
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", False)
    assert jobs.latest("run") == "run-s1"


def test_nothing_of_the_job_file_is_in_what_ray_is_told(jobs: ClusterJobs, api: MemoryApi, private: Store) -> None:
    jobs.submit(CONFIG, private, "run")
    assert "/archive" not in api.jobs["run-s1"].entrypoint
    (stored,) = private.list("submitted/")
    assert JobConfig.model_validate_json(private.read(stored.key)).input.uri == "/archive"


def test_the_places_of_a_training_are_absolute_on_the_cluster(
    jobs: ClusterJobs, api: MemoryApi, private: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    training = {"package_uri": "package", "initial_weights": "imagenet:encoder.h5", "test": {"studies": "test.csv"}}
    jobs.submit(JobConfig.model_validate(CONFIG.model_dump() | {"training": training}), private, "run", ["--train"])
    assert api.jobs["run-s1"].entrypoint.endswith("--run-id run --train")
    (stored,) = private.list("submitted/")
    sent = JobConfig.model_validate_json(private.read(stored.key)).training
    assert sent is not None
    assert sent.test is not None
    assert (sent.package_uri, sent.test.studies) == (str(tmp_path / "package"), str(tmp_path / "test.csv"))
    assert sent.initial_weights == f"imagenet:{tmp_path / 'encoder.h5'}"


class StreamingApi:
    """A job whose log has one more line at each query, and which ends at the fifth. Its log stream raises `failure`."""

    def __init__(self, failure: Exception | None, shown_before: int) -> None:
        self.failure, self.shown_before, self.n_looks = failure, shown_before, 0

    @property
    def lines(self) -> list[str]:
        return [f"line {number}\n" for number in range(self.n_looks)]

    def get_job_info(self, submission_id: str) -> SimpleNamespace:
        self.n_looks += 1
        status = JobStatus.SUCCEEDED if self.n_looks == 5 else JobStatus.RUNNING
        return SimpleNamespace(status=status, driver_exit_code=0 if self.n_looks == 5 else None)

    async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
        for line in self.lines[: self.shown_before if self.failure else None]:
            yield line
        if self.failure:
            raise self.failure

    def get_job_logs(self, submission_id: str) -> str:
        return "".join(self.lines)


@pytest.mark.parametrize(
    "failure",
    [
        None,
        aiohttp.WSServerHandshakeError(Mock(), (), status=403, message="no WebSockets"),
        aiohttp.ClientConnectionError("refused"),
        aiohttp.ServerDisconnectedError(),
        RuntimeError("closed unexpectedly"),
        ConnectionResetError(),
    ],
    ids=lambda failure: type(failure).__name__,
)
@pytest.mark.parametrize("shown_before", [0, 1, 3])
def test_a_log_stream_that_fails_is_replaced_by_looks_with_a_pause_between(
    jobs: ClusterJobs, monkeypatch: pytest.MonkeyPatch, failure: Exception | None, shown_before: int
) -> None:
    """If a proxy refuses or closes WebSockets, each line is still shown once, with a pause between queries."""
    pauses: list[float] = []
    written: list[str] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    jobs._client = StreamingApi(failure, shown_before)  # type: ignore[assignment]
    assert jobs.follow("run-s1", written.append) == ("SUCCEEDED", 0)
    assert "".join(written) == "".join(jobs._client.lines)  # type: ignore[attr-defined]
    assert len(pauses) == 3
    assert min(pauses) >= 1


def test_a_client_whose_stream_lasts_to_the_jobs_end_ends_without_a_pause(
    jobs: ClusterJobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log is read once more, because the job may have written its last line after the end of the stream."""

    class Api:
        n_streams = 0

        def get_job_info(self, submission_id: str) -> SimpleNamespace:
            status = JobStatus.SUCCEEDED if self.n_streams else JobStatus.RUNNING
            return SimpleNamespace(status=status, driver_exit_code=0 if self.n_streams else None)

        async def tail_job_logs(self, submission_id: str) -> AsyncIterator[str]:
            self.n_streams += 1
            for line in ("first\n", "last\n")[: self.n_streams]:
                yield line

    written: list[str] = []
    monkeypatch.setattr(time, "sleep", lambda seconds: pytest.fail("it waited"))
    jobs._client = Api()  # type: ignore[assignment]
    assert jobs.follow("run-s1", written.append) == ("SUCCEEDED", 0)
    assert "".join(written) == "first\nlast\n"


def test_the_address_that_was_given_wins_over_rays_variables() -> None:
    environ = {"RAY_ADDRESS": "http://b:8265", "RAY_API_SERVER_ADDRESS": "http://a:8265"}
    assert cluster_address("http://c:8265", environ) == "http://c:8265"
    assert cluster_address(None, environ) == "http://a:8265"
    assert cluster_address(None, {"RAY_ADDRESS": "local"}) is None


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "127.0.0.1:1", "head", "head:8265/path", "[::1]:8265"])
def test_an_address_without_a_scheme_is_refused_at_once(address: str) -> None:
    with pytest.raises(ConfigError, match=r"--address, .* RAY_ADDRESS\) does not begin with http://") as error:
        ClusterJobs(address)
    assert address in str(error.value)


@pytest.mark.parametrize(
    "address",
    ["http://user:zqxpasswordzqx@head:8265", "zqxpasswordzqx@head:8265", "http://head:8265/?token=zqxpasswordzqx"],
)
def test_an_address_holds_no_password(address: str) -> None:
    with pytest.raises(ConfigError, match="RAY_JOB_HEADERS") as caught:
        ClusterJobs(address)
    assert "zqxpasswordzqx" not in str(caught.value)


def test_headers_that_are_no_json_are_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_JOB_HEADERS", "Authorization: Basic zqxpasswordzqx")
    with pytest.raises(ConfigError, match="RAY_JOB_HEADERS") as caught:
        ClusterJobs("http://head:8265")
    assert "zqxpasswordzqx" not in str(caught.value)


def test_headers_of_the_environment_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Mock(side_effect=ConnectionError)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", client)
    monkeypatch.setenv("RAY_JOB_HEADERS", '{"Authorization": "Basic eg=="}')
    with pytest.raises(RunFault):
        ClusterJobs("http://head:8265")
    assert client.call_args.kwargs == {"headers": {"Authorization": "Basic eg=="}}


@pytest.mark.parametrize("variable", ["RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"])
@pytest.mark.parametrize("problem", [ConnectionError("refused"), ValueError("Invalid address")])
def test_a_stale_address_is_refused_with_the_variable_that_names_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, problem: Exception
) -> None:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("ray.job_submission.JobSubmissionClient", Mock(side_effect=problem))
    with pytest.raises(DiagchdBatchError) as caught:
        ClusterJobs("http://gone:8265")
    assert "unset" not in str(caught.value)
    monkeypatch.setenv(variable, "http://gone:8265")
    with pytest.raises(DiagchdBatchError, match=rf"http://gone:8265'? \(from {variable}; unset it"):
        ClusterJobs("http://gone:8265")


def test_an_update_of_the_index_is_a_submission_of_its_own_and_is_attached_to(
    jobs: ClusterJobs, api: MemoryApi, private: Store
) -> None:
    assert jobs.submit(CONFIG, private, SUBMISSION_NAME, ["--index"]) == (f"{SUBMISSION_NAME}-s1", False)
    assert api.jobs[f"{SUBMISSION_NAME}-s1"].entrypoint.endswith(" --index")
    assert jobs.submit(CONFIG, private, SUBMISSION_NAME, ["--index"]) == (f"{SUBMISSION_NAME}-s1", True)
    assert jobs.submit(CONFIG, private, "run") == ("run-s1", False)
