"""Submits a run to a Ray cluster through its job API, follows it, stops it."""

import asyncio
import logging
import os
import re
import secrets
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import diagchd_batch
from diagchd_batch import output_layout
from diagchd_batch.bundled import bundled_path
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.model.packages.registry import package_location
from diagchd_batch.storage import Store
from diagchd_batch.uris import normalize_uri

ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
UPLOAD_LIMIT_BYTES = 100 << 20
"""Ray refuses larger working directories."""

_HEAD_READY_TIMEOUT_S = 120.0
_NOT_READY = "No available agent"  # Ray's answer, after ten seconds, while the head's agent starts

PRIVATE_URI_FILE = "private_uri"
"""In a job's working directory: where its job file lies."""

_ENTRYPOINT = "jobs.submitted"
_JOB_NAME_AT = 3  # words before it: python -m jobs.submitted
_NUMBER = re.compile(r"-s(\d+)")
_SHIPPED = ("jobs", "configs")
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", ".git", "bundled_files")


def cluster_address(address: str | None, environ: Mapping[str, str]) -> str | None:
    """Where to submit: the address given, else what Ray's variables say, else None (an embedded Ray)."""
    found = address or next((environ[name] for name in ADDRESS_VARIABLES if environ.get(name)), None)
    return None if found == "local" else found


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """One submission of a run as a cluster remembers it; `status` in Ray's words, `started_at` in UTC."""

    submission_id: str
    status: str
    started_at: str


@dataclass(frozen=True, slots=True)
class _Submission:
    submission_id: str
    number: int
    ended: bool
    job_name: str

    def is_of(self, private: Store) -> bool:
        """Whether its job file lies in that private tree: the same run, not only one of the same name."""
        return private.stat(output_layout.submitted_job(self.job_name)) is not None


class ClusterJobs:
    """The jobs of one cluster. Raises ConfigError where it cannot be reached or refuses us, with the remedy."""

    def __init__(self, address: str) -> None:
        self.address = address
        import ray
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.ERROR)  # it tells of uploads, with paths
        for module in (
            "dashboard.modules.dashboard_sdk",
            "dashboard.modules.job.sdk",
            "_private.runtime_env.packaging",
        ):
            logging.getLogger(f"ray.{module}").setLevel(logging.ERROR)
        with _ray_errors(address), _without(ADDRESS_VARIABLES):  # they would beat the address that was asked for
            self._client = JobSubmissionClient(address)
            version = self._client._server_ray_version  # there is no public way to ask
        if version and version.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise ConfigError(
                f"the cluster runs Ray {version}, this client {ray.__version__}; install ray=={version} here, or "
                "restart the cluster with this version"
            )

    def submit(self, config: JobConfig, private: Store, run_id: str, options: Sequence[str] = ()) -> tuple[str, bool]:
        """Start the run, or find the submission of it that lives: (submission id, whether it was there already).

        The job file goes by way of `private`, the output's private tree: no store, metadata or directory of Ray's has
        it, and a run of the same name in another output is told apart. `options` are for ``jobs/score.py``. The id is
        the run's and a number, one more than that of the submissions before it. Of two clients at once one starts the
        job; the other is told by Ray that the id is taken, and attaches.
        """
        with _ray_errors(self.address):
            known = self._submissions(run_id)
            for submission in known.values():
                if not submission.ended and submission.is_of(private):
                    return submission.submission_id, True
            while True:
                number = max((submission.number for submission in known.values()), default=0) + 1
                submission_id = f"{run_id}-s{number}"
                if self._start(submission_id, config, private, run_id, options):
                    return submission_id, False
                known = self._submissions(run_id)
                if known[submission_id].is_of(private):
                    return submission_id, True

    def _start(
        self, submission_id: str, config: JobConfig, private: Store, run_id: str, options: Sequence[str]
    ) -> bool:
        """False where another client took the id meanwhile."""
        job_name = f"{submission_id}-{secrets.token_hex(4)}"
        entrypoint = shlex.join(["python", "-m", _ENTRYPOINT, job_name, "--run-id", run_id, *options])
        with tempfile.TemporaryDirectory(prefix="diagchd-batch-submit-") as directory:
            _stage(Path(directory), private.uri)  # first, since it may refuse, and nothing should be left then
            private.create(output_layout.submitted_job(job_name), for_cluster(config).model_dump_json().encode())
            return self._send(submission_id, run_id, entrypoint, directory)

    def _send(self, submission_id: str, run_id: str, entrypoint: str, directory: str) -> bool:
        """As `_start`. A head that just started is given time to be ready."""
        deadline_s = time.monotonic() + _HEAD_READY_TIMEOUT_S
        while True:
            try:
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=submission_id,
                    runtime_env={"working_dir": directory},
                )
                return True
            except RuntimeError as error:
                # a taken id is answered with a bare HTTP 500; whether it is taken can only be looked up
                if submission_id in self._submissions(run_id):
                    return False
                if _NOT_READY not in str(error) or time.monotonic() > deadline_s:
                    raise

    def list(self) -> list[SubmittedJob]:
        """All submissions that this cluster knows of, the latest first."""
        with _ray_errors(self.address):
            jobs = [job for job in self._client.list_jobs() if _ENTRYPOINT in job.entrypoint]
        jobs.sort(key=lambda job: job.start_time or 0, reverse=True)
        return [
            SubmittedJob(
                job.submission_id or "",
                job.status.value.lower(),
                datetime.fromtimestamp((job.start_time or 0) / 1000, UTC).isoformat(timespec="seconds"),
            )
            for job in jobs
        ]

    def latest(self, run_id: str) -> str | None:
        """The last submission of a run that this cluster knows of."""
        with _ray_errors(self.address):
            known = self._submissions(run_id)
        return max(known, key=lambda name: known[name].number, default=None)

    def follow(self, submission_id: str, write: Callable[[str], None]) -> tuple[str, int | None]:
        """Pass the job's log on until it ends: its last status in Ray's words and its exit code."""
        shown = 0
        while True:
            with _ray_errors(self.address):
                details = self._client.get_job_info(submission_id)
                ended = details.status.is_terminal()
                with suppress(RuntimeError, OSError):  # cut off: begun again, from where it was
                    shown = asyncio.run(self._tail(submission_id, shown, write))
            if ended:
                return details.status.value, details.driver_exit_code

    def log(self, submission_id: str) -> str:
        with _ray_errors(self.address):
            return self._client.get_job_logs(submission_id)

    def stop(self, submission_id: str) -> bool:
        """End the job at once; False where it had ended."""
        with _ray_errors(self.address):
            return self._client.stop_job(submission_id)

    async def _tail(self, submission_id: str, shown: int, write: Callable[[str], None]) -> int:
        seen = 0
        async for text in self._client.tail_job_logs(submission_id):
            fresh = text[max(0, shown - seen) :]
            seen += len(text)
            if fresh:
                write(fresh)
        return max(shown, seen)

    def _submissions(self, run_id: str) -> dict[str, _Submission]:
        """By their ids, those of runs of that name."""
        found = {}
        for job in self._client.list_jobs():
            name = job.submission_id or ""
            match = _NUMBER.fullmatch(name.removeprefix(run_id)) if name.startswith(run_id) else None
            if match and _ENTRYPOINT in job.entrypoint:
                job_name = shlex.split(job.entrypoint)[_JOB_NAME_AT]
                found[name] = _Submission(name, int(match[1]), job.status.is_terminal(), job_name)
        return found


def for_cluster(config: JobConfig) -> JobConfig:
    """The job with every path absolute: the cluster has another working directory."""
    evaluation = {
        name: normalize_uri(uri)
        for name in ("reference", "readers", "covariates")
        if (uri := getattr(config.evaluation, name)) is not None
    }
    weights = config.model.weights
    if weights != "bundled" and not weights.startswith("seed:"):
        weights = normalize_uri(weights)
    manifest, private_uri = config.input.manifest, config.output.private_uri
    changes: dict[str, Any] = {
        "input": config.input.model_copy(
            update={"uri": normalize_uri(config.input.uri), "manifest": manifest and normalize_uri(manifest)}
        ),
        "model": config.model.model_copy(update={"name": package_location(config.model.name), "weights": weights}),
        "output": config.output.model_copy(
            update={
                "uri": normalize_uri(config.output.uri),
                "private_uri": private_uri and normalize_uri(private_uri),
            }
        ),
        "evaluation": config.evaluation.model_copy(update=evaluation),
    }
    return config.model_copy(update=changes)


def _stage(directory: Path, private_uri: str) -> None:
    """The working directory of the job: this package as it is here. The same each time, so that Ray keeps one copy."""
    package = Path(diagchd_batch.__file__).parent
    shutil.copytree(package, directory / package.name, ignore=_NOT_SHIPPED)
    for name in _SHIPPED:
        shutil.copytree(bundled_path(name), directory / name, ignore=_NOT_SHIPPED)
    (directory / PRIVATE_URI_FILE).write_text(private_uri)
    size_bytes = sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())
    if size_bytes > UPLOAD_LIMIT_BYTES:
        raise ConfigError(
            f"the package is {size_bytes / 1e6:.0f} MB, above Ray's limit of {UPLOAD_LIMIT_BYTES / 1e6:.0f} MB; "
            "name large weights by model.weights instead of keeping them under configs/"
        )


@contextmanager
def _ray_errors(address: str) -> Iterator[None]:
    """Ray's and HTTP's errors as ours. Their texts are left out: they repeat requests, or tracebacks of the server."""
    from ray.exceptions import AuthenticationError
    from requests import RequestException

    try:
        yield
    except AuthenticationError as error:
        raise ConfigError(
            f"the cluster at {address} refuses this client: no token, or a wrong one. Set RAY_AUTH_MODE=token and the "
            "cluster's token in RAY_AUTH_TOKEN, or its file in RAY_AUTH_TOKEN_PATH (mode 600)"
        ) from error
    except ValueError as error:
        if "address" not in str(error).lower():
            raise
        raise ConfigError(
            f"{address!r} is no address of a cluster; give that of its dashboard, such as http://head:8265"
        ) from error
    except (ConnectionError, RequestException) as error:
        raise RunFault(
            f"no answer from {address}; give the address of the cluster's dashboard (http://head:8265), and see that "
            "it runs and can be reached from here"
        ) from error
    except RuntimeError as error:
        raise RunFault(f"the job API at {address} failed; look at the head's dashboard log and try again") from error


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
