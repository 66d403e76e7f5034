"""What `submit` runs on a cluster: scores a cohort on the Ray that this process belongs to.

    python jobs/score.py CONFIG [--run-id ID] [--new-run | --only new | --retry failed] [--until WHEN] [KEY=VALUE …]

Prints the outcome as one line of JSON. Exit codes are those of `diagchd-batch submit`, but for "done, with failed
inputs": that is 0 here, because an operator would take 3 for a failure and try again on a new cluster; the run record
has it. Credentials come from the environment of the cluster's processes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from diagchd_batch.cli.progress import log_progress
from diagchd_batch.cluster.joined import JoinedRay
from diagchd_batch.cluster.node_checks.check_nodes import check_nodes
from diagchd_batch.config.loading import load_job
from diagchd_batch.config.models import JobConfig
from diagchd_batch.errors import DiagchdBatchError, ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.report import write_report
from diagchd_batch.results import open_output
from diagchd_batch.runs.evaluate import evaluate_output
from diagchd_batch.runs.plan import read_evaluation_files
from diagchd_batch.scoring.driver.identity import RunRequest
from diagchd_batch.scoring.driver.lifecycle import run_job
from diagchd_batch.scoring.driver.prometheus import MeasuredProgress
from diagchd_batch.scoring.liveness.deadline import parse_deadline
from diagchd_batch.scoring.liveness.run_log import RunLog


def main(load: Callable[[str, Sequence[str], Mapping[str, str]], JobConfig] = load_job) -> int:
    """`load` makes a job of CONFIG, the overrides and the environment."""
    parser = argparse.ArgumentParser(description="Score a cohort on the Ray cluster that this process belongs to.")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--run-id")
    parser.add_argument("--new-run", action="store_true")
    selections = parser.add_mutually_exclusive_group()
    selections.add_argument("--only", choices=["new"], dest="selection")
    selections.add_argument("--retry", choices=["failed"], dest="selection")
    parser.add_argument("--input-moved", action="store_true", help="the archive was moved to input.uri")
    parser.add_argument("--until", help="as of `submit`; a time of day is one where this process runs")
    with RunLog() as run_log:
        # intermixed: else KEY=VALUE after an option is refused
        return _run(parser.parse_intermixed_args(), load, run_log)


def _run(
    arguments: argparse.Namespace, load: Callable[[str, Sequence[str], Mapping[str, str]], JobConfig], run_log: RunLog
) -> int:
    log = log_progress(os.environ, run_log.write)
    try:
        until = parse_deadline(arguments.until, datetime.now(UTC)) if arguments.until else None
        if until and until <= datetime.now(UTC):
            log.message("the deadline has passed; no node is asked for, and nothing is begun")
            return ExitCode.DONE
        job = load(arguments.config, arguments.overrides, os.environ)
        read_evaluation_files(job.evaluation)

        def evaluate(run_id: str) -> None:
            output = open_output(job.output.uri, job.output.private_uri)
            evaluate_output(output, os.environ, run_id=run_id, config=job.evaluation)

        def report(run_id: str) -> None:
            write_report(open_output(job.output.uri).storage, run_id)

        cluster = JoinedRay(job.cluster, log.message)
        cluster.nodes()
        check_nodes(job)
        progress = MeasuredProgress(log)
        outcome = run_job(
            job,
            cluster,
            progress,
            environ=os.environ,
            command=sys.argv,
            request=RunRequest(
                arguments.run_id, arguments.new_run, arguments.selection or "all", arguments.input_moved
            ),
            until=until,
            derive=evaluate,
            conclude=report,
            log=run_log,
        )
    except (DiagchdBatchError, RunInterrupted) as error:
        log.message(f"error: {error}")
        return error.exit_code
    counts = outcome.counts.model_dump(mode="json") if outcome.counts else None
    told = json.dumps({name: getattr(outcome, name) for name in outcome.__slots__} | {"counts": counts})
    print(told)
    run_log.note(told)
    return ExitCode.DONE if outcome.exit_code == ExitCode.FAILED_INPUTS else outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
