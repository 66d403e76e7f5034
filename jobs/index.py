"""Brings the index of headers up to date on the Ray cluster that this process belongs to. `index` starts it there.

What it prints ends up in Ray's logs and job API. Messages therefore name the settings of the job file instead of the
places that these hold, and the full text goes to the private tree.

It ends with 0 if the index is made, whatever headers could not be read; the summary that it prints counts them.
"""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence

from diagchd_batch.cli.console import ConsoleParser
from diagchd_batch.cli.progress import log_progress
from diagchd_batch.cli.redacted_progress import RedactedProgress, keep_full_text
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.uri_redaction import UriRedactor, job_places
from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.index import IndexMessages, index_on_joined_ray
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.workspace import Workspace

Load = Callable[[str, Sequence[str], Mapping[str, str]], JobConfig]


def main(load: Load) -> int:
    """Update the index and return the exit code.

    Args:
        load: Makes a job of its name, overrides and the environment.
    """
    parser = ConsoleParser(description="Bring the index of headers up to date on this Ray cluster.")
    parser.add_argument("config")
    parser.add_argument("--index", action="store_true", required=True)
    parser.add_argument("--run-id", help=argparse.SUPPRESS)  # the submission's name, which is no run's
    arguments = parser.parse_args()
    with DriverLog() as full_log:
        return _run(arguments.config, load, full_log)


def _run(name: str, load: Load, full_log: DriverLog) -> int:
    log = log_progress(os.environ, full_log.write)
    try:
        config = load(name, (), os.environ)
        progress = RedactedProgress(log, UriRedactor(job_places(config)), full_log.note)
    except DiagchdBatchError as error:
        log.message(f"error: {error}")
        return error.exit_code
    try:
        with progress.warnings():
            update = index_on_joined_ray(config, os.environ, IndexMessages(progress.message), progress.message)
    except (Exception, RunInterrupted) as error:
        if progress.fault(error):
            log.message(keep_full_text(Workspace.of_job(config), config.limits, None, full_log))
        return error.exit_code if isinstance(error, DiagchdBatchError | RunInterrupted) else ExitCode.FAILED
    print(json.dumps(update.head.summary()))
    return ExitCode.DONE
