"""A submit to a cluster, from the client's side: which run it means, starting or joining it, its exit code."""

import sys
from collections.abc import Callable, Mapping, Sequence

from diagchd_batch.cluster.client import ClusterJobs
from diagchd_batch.config.models import JobConfig
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.results import open_output
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.scoring.identity import RunRegistry, RunRequest, fingerprint_fields, input_fields
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


def submit_and_follow(
    jobs: ClusterJobs,
    config: JobConfig,
    run_id: str,
    options: Sequence[str],
    *,
    wait: bool,
    say: Callable[[str], None],
) -> tuple[str, int]:
    """Submission id and exit code (0 where not waited for). A KeyboardInterrupt meanwhile leaves the job running.

    `options` are for ``jobs/score.py``; a submission that is there already keeps those it was begun with.
    """
    output = open_output(config.output.uri, config.output.private_uri)
    submission_id, was_there = jobs.submit(config, output.private, run_id, options)
    say(f"{'attached to' if was_there else 'submitted'} {submission_id}")
    if not wait:
        return submission_id, 0
    status, driver_exit_code = jobs.follow(submission_id, lambda text: print(text, end="", file=sys.stderr, flush=True))
    record = read_run_record(output.storage, run_id)
    if status == "SUCCEEDED" and record is None:
        return submission_id, 0  # nothing was new, or nothing had failed, so that no run was begun
    if status == "SUCCEEDED" and record is not None and record.exit_code is not None:
        return submission_id, record.exit_code
    say(f"Ray says: {status.lower()}; the same command resumes the run")
    return submission_id, driver_exit_code if driver_exit_code in _TOLD_EXIT_CODES else EXIT_FAILED
