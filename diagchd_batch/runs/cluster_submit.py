"""A submit to a cluster, from the client's side: which run it means, starting or joining it, its exit code."""

import sys
from collections.abc import Callable, Mapping

from diagchd_batch.cluster.job_api import ClusterJobs
from diagchd_batch.config.models import JobConfig
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.results import open_output
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.scoring.driver.identity import RunRegistry, RunRequest, fingerprint_fields, input_fields
from diagchd_batch.studies.keys import load_or_create_key

EXIT_FAILED = 1
_TOLD_EXIT_CODES = (1, 2, 4, 130, 143)


def run_meant(config: JobConfig, environ: Mapping[str, str], request: RunRequest) -> str:
    """The id of the run that a submit of `config` begins or resumes, worked out as its driver does.

    The output must be reachable from here: run ids are keyed, and the key lies in its private tree.
    """
    output = open_output(config.output.uri, config.output.private_uri)
    key = load_or_create_key(output.private, environ)
    model = resolve_model(config.model.name, config.model.weights, config.model.precision)
    registry = RunRegistry(output.storage, output.private, key)
    fields = fingerprint_fields(model, config.input, config.limits)
    return registry.target(fields, input_fields(config.input), request).identity.run_id


def follow_to_end(
    jobs: ClusterJobs, config: JobConfig, run_id: str, submission_id: str, say: Callable[[str], None]
) -> int:
    """The exit code of a run that was submitted, once it has ended; the job's log is passed on meanwhile."""
    status, driver_exit_code = jobs.follow(submission_id, lambda text: print(text, end="", file=sys.stderr, flush=True))
    record = read_run_record(open_output(config.output.uri, config.output.private_uri).storage, run_id)
    if status == "SUCCEEDED" and record is None:
        return 0  # nothing was new, or nothing had failed, so that no run was begun
    if status == "SUCCEEDED" and record is not None and record.exit_code is not None:
        return record.exit_code
    say(f"Ray says: {status.lower()}; the same command resumes the run")
    return driver_exit_code if driver_exit_code in _TOLD_EXIT_CODES else EXIT_FAILED
