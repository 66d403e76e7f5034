"""Writes the metrics tables of a run and its report, on the cluster where the data lie.

    python jobs/evaluate.py OUTPUT [--run-id ID] [--private-uri URI] [--config JOB [--set KEY=VALUE] …]

It prints what it wrote as one line of JSON. The settings and exit codes are those of `diagchd-batch evaluate`.
"""

import os
from dataclasses import asdict
from pathlib import Path

from diagchd_batch.cli.console import ConsoleParser, say
from diagchd_batch.cli.error_exits import errors_as_exit_codes
from diagchd_batch.escaping import json_for_console
from diagchd_batch.runs.evaluate import evaluate
from diagchd_batch.runs.run_lookup import evaluation_settings
from diagchd_batch.workspace import Workspace


def main() -> None:
    """Evaluate the run that the command line names. An error ends the process with its exit code."""
    parser = ConsoleParser(description="Write the metrics tables of a run and its report.")
    parser.add_argument("output")
    parser.add_argument("--run-id", help="default: the latest finished run")
    parser.add_argument("--private-uri", help="where the private tree lies, if not in the output")
    parser.add_argument("--config", type=Path, help="take the evaluation block of this job file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    arguments = parser.parse_args()
    with errors_as_exit_codes():
        settings = evaluation_settings(arguments.config, arguments.overrides, os.environ)
        workspace = Workspace.open(arguments.output, arguments.private_uri)
        done = evaluate(workspace, arguments.run_id, config=settings, on_note=say)
        print(json_for_console(asdict(done.summary) | {"report": done.report_key}))


if __name__ == "__main__":
    main()
