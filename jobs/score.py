"""Scores and evaluates a cohort on the Ray cluster that this process belongs to. `submit` starts it there.

    python jobs/score.py CONFIG [--run-id ID] [--new-run | --select new|failed] [--until WHEN] [KEY=VALUE …]

It prints the outcome as one line of JSON. The exit codes are those of `diagchd-batch submit`, except that a run which
is done with failed inputs ends with 0: an operator would take 3 for a failure and try again on a new cluster. The run
record has the 3. Credentials come from the environment of the cluster's processes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from diagchd_batch.cli.progress import log_progress
from diagchd_batch.config.loading import load_job
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.submit import submit_on_joined_ray
from diagchd_batch.scoring.driver.prometheus import MeasuredProgress
from diagchd_batch.scoring.driver.run_identity.request import RunRequest
from diagchd_batch.scoring.liveness.deadline import parse_deadline
from diagchd_batch.scoring.liveness.run_log import RunLog

Load = Callable[[str, Sequence[str], Mapping[str, str]], JobConfig]


def main(load: Load = load_job) -> int:
    """Run the job and return its exit code.

    Args:
        load: Makes a job of CONFIG, the overrides and the environment.
    """
    parser = argparse.ArgumentParser(description="Score a cohort on the Ray cluster that this process belongs to.")
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
    parser.add_argument("--until", help="as for `submit`; a time of day is in the time zone of this process")
    with RunLog() as run_log:
        # Only the intermixed parser accepts KEY=VALUE after an option.
        return _run(parser.parse_intermixed_args(), load, run_log)


def _run(arguments: argparse.Namespace, load: Load, run_log: RunLog) -> int:
    log = log_progress(os.environ, run_log.write)
    try:
        until = parse_deadline(arguments.until, datetime.now(UTC)) if arguments.until else None
        if until and until <= datetime.now(UTC):
            log.message("the deadline has passed; no node is asked for, and no run is begun")
            return ExitCode.DONE
        outcome = submit_on_joined_ray(
            load(arguments.config, arguments.overrides, os.environ),
            MeasuredProgress(log),
            environ=os.environ,
            command=sys.argv,
            request=RunRequest(
                arguments.run_id, arguments.new_run, arguments.selection or "all", arguments.input_moved
            ),
            until=until,
            log=run_log,
        ).outcome
    except (DiagchdBatchError, RunInterrupted) as error:
        log.message(f"error: {error}")
        return error.exit_code
    counts = outcome.counts.model_dump(mode="json") if outcome.counts else None
    summary = json.dumps({name: getattr(outcome, name) for name in outcome.__slots__} | {"counts": counts})
    print(summary)
    run_log.note(summary)
    return ExitCode.DONE if outcome.exit_code is ExitCode.FAILED_INPUTS else outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
