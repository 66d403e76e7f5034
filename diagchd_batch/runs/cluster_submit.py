"""A submit to a cluster, from the client's side: which run it means, starting or joining it, its exit code."""

import sys
from collections.abc import Callable, Mapping

from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import ExitCode
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.scoring.driver.identity import RunRequest
from diagchd_batch.scoring.driver.job import model_of, requested_input_root, requested_run
from diagchd_batch.scoring.driver.workspace import Workspace

_REPORTED_EXIT_CODES = set(ExitCode) - {ExitCode.DONE, ExitCode.FAILED_INPUTS}


def run_meant(config: JobConfig, environ: Mapping[str, str], request: RunRequest) -> str:
    """The id of the run that a submit of `config` begins or resumes, worked out as its driver does.

    The output must be reachable from here: run ids are keyed, and the key lies in its private tree.
    """
    workspace = Workspace.of_job(config, environ)
    model = model_of(config)
    registry = workspace.registry(workspace.create_key())
    return requested_run(config, model, registry, requested_input_root(workspace, request), request).identity.run_id


def follow_to_end(
    jobs: ClusterJobs, config: JobConfig, run_id: str, submission_id: str, say: Callable[[str], None]
) -> ExitCode:
    """The exit code of a run that was submitted, once it has ended; the job's log is passed on meanwhile."""
    status, driver_exit_code = jobs.follow(submission_id, lambda text: print(text, end="", file=sys.stderr, flush=True))
    record = read_run_record(Workspace.of_job(config).storage, run_id)
    if status == "SUCCEEDED" and record is None:
        return ExitCode.DONE  # nothing was new, or nothing had failed, so that no run was begun
    if status == "SUCCEEDED" and record is not None and record.exit_code is not None:
        return ExitCode(record.exit_code)
    say(f"Ray says: {status.lower()}; the same command resumes the run")
    return ExitCode(driver_exit_code) if driver_exit_code in _REPORTED_EXIT_CODES else ExitCode.FAILED
