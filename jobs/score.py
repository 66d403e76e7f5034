"""Scores and evaluates a cohort on the Ray cluster that this process belongs to. `submit` starts it there.

    python jobs/score.py CONFIG [--run-id ID] [--new-run | --select new|failed] [--until WHEN] [KEY=VALUE …]

It prints the outcome as one line of JSON. What it prints ends up in Ray's logs and job API. Messages therefore name the
settings of the job file instead of the places that these hold, and the full text goes to the private tree.

The exit codes are those of `diagchd-batch submit`, except that a run which is done with failed inputs ends with 0: an
operator would take 3 for a failure and try again on a new cluster. The run record has the 3. Credentials come from the
environment of the cluster's processes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from diagchd_batch.cli.console import ConsoleParser
from diagchd_batch.cli.progress import log_progress
from diagchd_batch.cli.redacted_progress import RedactedProgress, keep_full_text
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.loading import load_job, without_values
from diagchd_batch.config.uri_redaction import UriRedactor, job_places
from diagchd_batch.errors import ConfigError, DiagchdBatchError
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.submit import SubmitOptions, submit_on_joined_ray
from diagchd_batch.scoring.driver.prometheus import MeasuredProgress
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.until_deadline import parse_deadline
from diagchd_batch.workspace import Workspace

Load = Callable[[str, Sequence[str], Mapping[str, str]], JobConfig]


def _load_from_file(path: str, overrides: Sequence[str], environ: Mapping[str, str]) -> JobConfig:
    try:
        return load_job(path, overrides, environ)
    except ConfigError as error:
        raise without_values(error) from None  # this text is printed, for Ray's logs


def main(load: Load = _load_from_file) -> int:
    """Run the job and return its exit code.

    Args:
        load: Makes a job of CONFIG, the overrides and the environment.
    """
    parser = ConsoleParser(description="Score a cohort on the Ray cluster that this process belongs to.")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--run-id")
    parser.add_argument("--new-run", action="store_true")
    selections = parser.add_mutually_exclusive_group()
    selections.add_argument("--select", choices=["new", "failed"], dest="selection")
    # The old spellings of --select.
    selections.add_argument("--only", choices=["new"], dest="selection", help=argparse.SUPPRESS)
    selections.add_argument("--retry", choices=["failed"], dest="selection", help=argparse.SUPPRESS)
    parser.add_argument("--input-moved", action="store_true", help="the archive was moved to input.uri")
    parser.add_argument("--accept-changed-shards", action="store_true", help="as for `submit`")
    parser.add_argument("--until", help="as for `submit`; a time of day is in the time zone of this process")
    with DriverLog() as run_log:
        # Only the intermixed parser accepts KEY=VALUE after an option.
        return _run(parser.parse_intermixed_args(), load, run_log)


def _run(arguments: argparse.Namespace, load: Load, run_log: DriverLog) -> int:
    log = log_progress(os.environ, run_log.write)
    until = None
    try:
        if arguments.until:
            until = parse_deadline(arguments.until, datetime.now(UTC))
        if until and until <= datetime.now(UTC):
            log.message("the deadline has passed; no node is asked for, and no run is begun")
            return ExitCode.DONE
        config = load(arguments.config, arguments.overrides, os.environ)
        progress = RedactedProgress(log, UriRedactor(job_places(config)), run_log.note)
    except DiagchdBatchError as error:
        log.message(f"error: {error}")
        return error.exit_code
    except Exception as error:  # its text may quote the job file
        log.message(f"error: the job file cannot be read ({type(error).__name__}); submit it again with this version")
        return ExitCode.FAILED
    try:
        with progress.warnings():
            request = RunRequest(
                arguments.run_id, arguments.new_run, arguments.selection or "all", arguments.input_moved
            )
            options = SubmitOptions(config, os.environ, sys.argv, request, until, arguments.accept_changed_shards)
            outcome = submit_on_joined_ray(options, MeasuredProgress(progress), run_log).outcome
    except (Exception, RunInterrupted) as error:
        if progress.fault(error):
            log.message(_keep(config, arguments.run_id, run_log))
        return error.exit_code if isinstance(error, DiagchdBatchError | RunInterrupted) else ExitCode.FAILED
    counts = outcome.counts.model_dump(mode="json") if outcome.counts else None
    summary = json.dumps({name: getattr(outcome, name) for name in outcome.__slots__} | {"counts": counts})
    print(summary)
    run_log.note(summary)
    return ExitCode.DONE if outcome.exit_code is ExitCode.FAILED_INPUTS else outcome.exit_code


def _keep(config: JobConfig, run_id: str | None, run_log: DriverLog) -> str:
    try:
        workspace = Workspace.of_job(config)
    except DiagchdBatchError as error:
        return f"the full text is lost, because the private tree cannot be opened ({type(error).__name__})"
    return keep_full_text(workspace, config.limits, run_id, run_log)


if __name__ == "__main__":
    sys.exit(main())
