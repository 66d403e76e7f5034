"""Submits a run to a Ray cluster through Ray's job API, follows it and stops it."""

import asyncio
import logging
import os
import re
import secrets
import shlex
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

import diagchd_batch
from diagchd_batch import output_layout
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.training_block import IMAGENET, SCRATCH, TrainingConfig
from diagchd_batch.errors import ConfigError, RunFault
from diagchd_batch.model.packages.registry import package_location
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.retries import call_with_retries
from diagchd_batch.storage import Store
from diagchd_batch.uris import normalize_uri
from diagchd_batch.wording import shortened

_HEADERS_VARIABLE = "RAY_JOB_HEADERS"
ADDRESS_VARIABLES = ("RAY_API_SERVER_ADDRESS", "RAY_ADDRESS")
UPLOAD_LIMIT_BYTES = 100 << 20
"""Ray refuses larger working directories."""

PRIVATE_URI_FILE = "private_uri"
"""The file in a job's working directory that holds the URI of the private tree, where the job file lies."""

_HEAD_READY_TIMEOUT_S = 120.0
_NOT_READY = "No available agent"  # Ray's answer while the head's agent starts
_FOLLOW_PAUSE_S = 2.0
_ENTRYPOINT = "jobs.run_submitted_job"
_JOB_NAME_AT = 3  # the words before it are: python -m jobs.run_submitted_job
_NUMBER = re.compile(r"-s(\d+)")
_SUBMISSION = re.compile(r"(.+)-s\d+")
_SHIPPED = ("jobs", "configs")
_NOT_SHIPPED = shutil.ignore_patterns("__pycache__", ".git", "bundled_files")


def cluster_address(address: str | None, environ: Mapping[str, str]) -> str | None:
    """Return the address to submit to, or None for a Ray on this machine.

    Args:
        address: The address of the command line, which wins, or None.
        environ: The environment variables. Ray's own name the address if the command line does not.
    """
    found = address or next((environ[name] for name in ADDRESS_VARIABLES if environ.get(name)), None)
    return None if found == "local" else found


def check_address(address: str) -> None:
    """Refuse an address that must not be shown, or that does not name a dashboard.

    A user, a password or a query must not be shown, and addresses appear in messages and process lists. Ray takes an
    address without a scheme for that of another of its services, and waits for that until it fails with a traceback. It
    takes an unknown scheme for the name of a Python module, which it imports.

    Raises:
        ConfigError: The address holds a user, a password or a query, of which the message shows nothing; or it has no
            scheme, or an unknown one.
    """
    if set(address) & set("@?#"):
        raise ConfigError(
            "the cluster's address (--address, RAY_API_SERVER_ADDRESS or RAY_ADDRESS) holds a user, a password or a "
            "query: give only its scheme, host, port and path, such as http://head:8265. For a proxy that asks for a "
            """password, set RAY_JOB_HEADERS to JSON such as {"Authorization": "Basic …"}"""
        )
    if address != "auto" and not address.startswith(("http://", "https://", "ray://")):
        raise ConfigError(
            f"the cluster's address {shortened(address, 300)!r} (--address, RAY_API_SERVER_ADDRESS or RAY_ADDRESS) "
            "does not begin with http:// or https://; give the address of the cluster's dashboard, such as "
            "http://head:8265, or --address local to use this machine"
        )


def _headers(environ: Mapping[str, str]) -> dict[str, str] | None:
    text = environ.get(_HEADERS_VARIABLE)
    if not text:
        return None
    try:
        return TypeAdapter(dict[str, str]).validate_json(text)
    except ValidationError:
        raise ConfigError(
            f"""{_HEADERS_VARIABLE} is not a JSON object of texts; write it like {{"Authorization": "Basic …"}}"""
        ) from None


def run_of_submission(submission_id: str) -> str:
    """Return the id of the run that a submission is of, or nothing if `ClusterJobs.submit` did not make it.

    Args:
        submission_id: Ray's name of the job.
    """
    match = _SUBMISSION.fullmatch(submission_id)
    return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class SubmittedJob:
    """One submission of a run, as a cluster remembers it.

    Attributes:
        submission_id: Ray's name of the job.
        status: The job's status in Ray's words, in lower case.
        started_at: When it began, in UTC, as an ISO string.
    """

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
        """Return whether its job file lies in that private tree: a run of the same name may be in another output."""
        return private.stat(output_layout.submitted_job(self.job_name)) is not None


class ClusterJobs:
    """The jobs of one cluster.

    The headers in RAY_JOB_HEADERS, which Ray's own commands read, are sent with every request.

    Args:
        address: The address of the cluster's dashboard.

    Raises:
        ConfigError: The address or the headers cannot be used, the cluster refuses this client, or it runs another
            version of Ray.
        RunFault: The cluster does not answer.
    """

    def __init__(self, address: str) -> None:
        check_address(address)
        headers = _headers(os.environ)
        self.address = address
        import ray
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(logging.ERROR)  # it logs uploads, with paths
        for module in (
            "dashboard.modules.dashboard_sdk",
            "dashboard.modules.job.sdk",
            "_private.runtime_env.packaging",
        ):
            logging.getLogger(f"ray.{module}").setLevel(logging.ERROR)
        with _ray_errors(address), _without(ADDRESS_VARIABLES):  # they would win over `address`
            self._client = JobSubmissionClient(address, headers=headers)
            version = self._client._server_ray_version  # there is no public way to ask
        if version and version.split(".")[:2] != ray.__version__.split(".")[:2]:
            raise ConfigError(
                f"the cluster runs Ray {version}, this client {ray.__version__}; install ray=={version} here, or "
                "restart the cluster with this version"
            )

    def submit(self, config: JobConfig, private: Store, run_id: str, options: Sequence[str] = ()) -> tuple[str, bool]:
        """Start the run, or find the submission of it that lives.

        The job file goes through the private tree, so that no store, metadata or directory of Ray's holds it, and so
        that a run of the same name in another output is told apart. The id is the run's with the next free number. Of
        two clients at once one starts the job, and the other attaches to it.

        Args:
            config: The job file.
            private: The output's private tree.
            run_id: The run.
            options: Options for ``jobs/score.py``; with ``--train`` among them, for ``jobs/train.py``.

        Returns:
            The submission id, and whether that submission was there already.
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
        """Start the job and return True, or return False if another client took the id meanwhile."""
        job_name = f"{submission_id}-{secrets.token_hex(4)}"
        entrypoint = shlex.join(["python", "-m", _ENTRYPOINT, job_name, "--run-id", run_id, *options])
        with scratch_directory() as directory:
            _stage(directory, private.uri)  # first, because it may refuse, and then nothing may be left
            private.create(output_layout.submitted_job(job_name), for_cluster(config).model_dump_json().encode())
            return self._send(submission_id, run_id, entrypoint, str(directory))

    def _send(self, submission_id: str, run_id: str, entrypoint: str, directory: str) -> bool:
        """Send the job; see `_start`. A head that has just started gets time to be ready."""

        def send() -> bool:
            try:
                self._client.submit_job(
                    entrypoint=entrypoint,
                    submission_id=submission_id,
                    runtime_env={"working_dir": directory},
                )
            except RuntimeError:
                # Ray answers a taken id with a bare HTTP 500, so only the list of jobs says whether it is taken
                if submission_id in self._submissions(run_id):
                    return False
                raise
            return True

        return call_with_retries(send, lambda error: _HEAD_READY_TIMEOUT_S if _NOT_READY in str(error) else 0.0)

    def list(self) -> list[SubmittedJob]:
        """Return all submissions that this cluster knows of, the latest first."""
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

    def run_ids(self) -> set[str]:
        """Return the ids of all runs that this cluster knows a submission of."""
        return {run_id for job in self.list() if (run_id := run_of_submission(job.submission_id))}

    def latest(self, run_id: str) -> str | None:
        """Return the id of a run's last submission, or None if this cluster knows of none."""
        with _ray_errors(self.address):
            known = self._submissions(run_id)
        return max(known, key=lambda name: known[name].number, default=None)

    def follow(self, submission_id: str, write: Callable[[str], None]) -> tuple[str, int | None]:
        """Pass on the job's log until the job ends.

        Args:
            submission_id: The job.
            write: Gets each new part of the log.

        Returns:
            The job's last status in Ray's words, and its exit code if there is one.

        Raises:
            RunFault: The cluster does not answer.
        """
        log = _GrowingLog(write)
        with _ray_errors(self.address):
            details = self._client.get_job_info(submission_id)
            while True:
                self._pass_on(submission_id, log)  # also once after the end, for what the job wrote last
                if details.status.is_terminal():
                    return details.status.value, details.driver_exit_code
                details = self._client.get_job_info(submission_id)
                if not details.status.is_terminal():
                    time.sleep(_FOLLOW_PAUSE_S)

    def _pass_on(self, submission_id: str, log: "_GrowingLog") -> None:
        """Pass on the log until its stream ends, or what is there now if there is no stream."""
        import aiohttp

        try:
            asyncio.run(self._stream(submission_id, log))
        except (aiohttp.ClientError, RuntimeError, OSError):  # the stream was cut, or a proxy refuses WebSockets
            with suppress(RuntimeError):
                log.begin()
                log.add(self._client.get_job_logs(submission_id))

    async def _stream(self, submission_id: str, log: "_GrowingLog") -> None:
        log.begin()
        async for text in self._client.tail_job_logs(submission_id):
            log.add(text)

    def log(self, submission_id: str) -> str:
        """Return what the job has written so far."""
        with _ray_errors(self.address):
            return self._client.get_job_logs(submission_id)

    def stop(self, submission_id: str) -> bool:
        """End the job at once, and return False if it had ended before."""
        with _ray_errors(self.address):
            return self._client.stop_job(submission_id)

    def _submissions(self, run_id: str) -> dict[str, _Submission]:
        """Return the submissions of all runs of that name, by their ids."""
        found = {}
        for job in self._client.list_jobs():
            name = job.submission_id or ""
            match = _NUMBER.fullmatch(name.removeprefix(run_id)) if name.startswith(run_id) else None
            if match and _ENTRYPOINT in job.entrypoint:
                job_name = shlex.split(job.entrypoint)[_JOB_NAME_AT]
                found[name] = _Submission(name, int(match[1]), job.status.is_terminal(), job_name)
        return found


class _GrowingLog:
    """Passes on a log that is read several times from its beginning, each part once."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._n_passed_on = 0
        self._n_read = 0

    def begin(self) -> None:
        """Read from the beginning again."""
        self._n_read = 0

    def add(self, text: str) -> None:
        """Pass on what is new in the next part of the log."""
        fresh = text[max(0, self._n_passed_on - self._n_read) :]
        self._n_read += len(text)
        self._n_passed_on = max(self._n_passed_on, self._n_read)
        if fresh:
            self._write(fresh)


def for_cluster(config: JobConfig) -> JobConfig:
    """Return the job with every path absolute, because the cluster has another working directory."""
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
        "training": config.training and _training_for_cluster(config.training),
    }
    return config.model_copy(update=changes)


def _training_for_cluster(training: TrainingConfig) -> TrainingConfig:
    weights, test = training.initial_weights, training.test
    if weights.startswith(IMAGENET):
        weights = IMAGENET + normalize_uri(weights.removeprefix(IMAGENET))
    elif weights != SCRATCH:
        weights = package_location(weights)
    if test and test.studies:
        test = test.model_copy(update={"studies": normalize_uri(test.studies)})
    return training.model_copy(
        update={"package_uri": normalize_uri(training.package_uri), "initial_weights": weights, "test": test}
    )


def _stage(directory: Path, private_uri: str) -> None:
    """Make the job's working directory, a copy of this package. It is always the same, so Ray keeps one copy of it."""
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
    """Turn errors of Ray and HTTP into ours, without their texts, which repeat requests or the server's tracebacks."""
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
            f"{shortened(address, 300)!r}{_named_by(address)} is not the address of a cluster; give that of its "
            "dashboard, such as http://head:8265"
        ) from error
    except (ConnectionError, RequestException) as error:
        raise RunFault(
            f"no answer from {address}{_named_by(address)}; give the address of the cluster's dashboard "
            "(http://head:8265), and check that it runs and can be reached from here"
        ) from error
    except RuntimeError as error:
        raise RunFault(f"the job API at {address} failed; read the head's dashboard log and try again") from error


def _named_by(address: str) -> str:
    """Return which environment variable names an address, for a message, or an empty string."""
    named = next((name for name in ADDRESS_VARIABLES if os.environ.get(name) == address), None)
    return "" if named is None else f" (from {named}; unset it if no cluster is meant)"


@contextmanager
def _without(names: tuple[str, ...]) -> Iterator[None]:
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(before)
