"""Writes the metrics tables of a run and its report, on the cluster where the data lie.

    python jobs/evaluate.py OUTPUT [--run-id ID] [--private-uri URI] [--config JOB [--set KEY=VALUE] …]

It prints what it wrote as one line of JSON. The settings and exit codes are those of `diagchd-batch evaluate`. What it
prints ends up in Ray's logs and job API. Messages therefore name settings instead of the places that these hold, and
the full text goes to the private tree.
"""

import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path

from diagchd_batch.cli.console import ConsoleParser
from diagchd_batch.cli.error_exits import errors_as_exit_codes
from diagchd_batch.cli.progress import log_progress
from diagchd_batch.cli.redacted_progress import RedactedProgress, keep_full_text
from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.config.loading import without_values
from diagchd_batch.config.uri_redaction import UriRedactor, output_places, table_places
from diagchd_batch.errors import ConfigError, DiagchdBatchError
from diagchd_batch.escaping import json_for_console
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.runs.evaluate import evaluate
from diagchd_batch.runs.run_lookup import chosen_run, evaluation_settings, submitted_evaluation
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.workspace import Workspace


def main() -> None:
    """Evaluate the run that the command line names. An error ends the process with its exit code."""
    parser = ConsoleParser(description="Write the metrics tables of a run and its report.")
    parser.add_argument("output")
    parser.add_argument("--run-id", help="default: the latest finished run")
    parser.add_argument("--private-uri", help="where the private tree lies, if not in the output")
    parser.add_argument("--config", type=Path, help="take the evaluation block of this job file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    with errors_as_exit_codes(), DriverLog() as run_log:
        exit_code = _run(parser.parse_args(), run_log)
    sys.exit(exit_code)


def _run(arguments: argparse.Namespace, run_log: DriverLog) -> int:
    log = log_progress(os.environ, run_log.write)
    places = list(output_places(arguments.output, arguments.private_uri))
    progress = RedactedProgress(log, UriRedactor(places), run_log.note)
    workspace, run_id = None, None
    try:
        try:
            settings = evaluation_settings(arguments.config, arguments.overrides, os.environ)
        except ConfigError as error:
            raise without_values(error) from None
        workspace = Workspace.open(arguments.output, arguments.private_uri)
        run_id = chosen_run(workspace, arguments.run_id, progress.message).run_id
        settings = settings or submitted_evaluation(workspace, run_id)
        progress = RedactedProgress(log, UriRedactor([*places, *table_places(settings)]), run_log.note)
        with progress.warnings():
            done = evaluate(workspace, run_id, config=settings, on_note=progress.message)
    except Exception as error:
        if progress.fault(error):
            if workspace and run_id:
                log.message(keep_full_text(workspace, LimitsConfig(), run_id, run_log))
            else:  # nothing is written to an output that may not be meant
                log.message("the command `evaluate` with the same arguments shows the full text")
        return error.exit_code if isinstance(error, DiagchdBatchError) else ExitCode.FAILED
    print(json_for_console(asdict(done.summary) | {"report": done.report_key}))
    return ExitCode.DONE


if __name__ == "__main__":
    main()
