"""Trains a model on the Ray cluster that this process belongs to.

    python jobs/train.py CONFIG [--run-id ID] [--new-run] [--until WHEN] [KEY=VALUE …]

CONFIG is a job file with a block `training`. The package goes to `training.package_uri`. What is printed ends up in
Ray's logs and job API, so messages name the settings of the job file instead of the places that these hold. The exit
codes are those of `diagchd-batch train`, whose `--address` starts this program on a cluster. Failed inputs are an
exception: the code is 0, because Ray would call the job failed, and the record of the training has 3. Credentials come
from the environment of the cluster's processes.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from diagchd_batch.cli.console import ConsoleParser
from diagchd_batch.cli.train import JsonTrainProgress, LineTrainProgress
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.loading import load_job, without_values
from diagchd_batch.config.uri_redaction import UriRedactor, job_places
from diagchd_batch.errors import ConfigError, DiagchdBatchError
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.train import TrainOptions, train_on_joined_ray
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from diagchd_batch.scoring.liveness.until_deadline import parse_deadline

Load = Callable[[str, Sequence[str], Mapping[str, str]], JobConfig]


def main(load: Load = load_job) -> int:
    """Run the job and return its exit code.

    Args:
        load: Makes a job of CONFIG, the overrides and the environment.
    """
    parser = ConsoleParser(description="Train a model on the Ray cluster that this process belongs to.")
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--run-id")
    parser.add_argument("--new-run", action="store_true")
    parser.add_argument("--until", help="as for `train`; a time of day is in the time zone of this process")
    parser.add_argument("--train", action="store_true", help=argparse.SUPPRESS)  # the word that jobs are told apart by
    with DriverLog() as log:
        return _run(parser.parse_intermixed_args(), load, log)


def _run(arguments: argparse.Namespace, load: Load, log: DriverLog) -> int:
    try:
        until = parse_deadline(arguments.until, datetime.now(UTC)) if arguments.until else None
        request = RunRequest(arguments.run_id, arguments.new_run)
        config = load(arguments.config, arguments.overrides, os.environ)
    except DiagchdBatchError as error:  # this text is printed, for Ray's logs
        log.write(f"error: {without_values(error) if isinstance(error, ConfigError) else error}")
        return error.exit_code
    redactor = UriRedactor(job_places(config))

    def write(line: str) -> None:
        log.write(redactor.hide(line))

    as_json = os.environ.get("DIAGCHD_BATCH_LOG") == "json"
    progress = JsonTrainProgress(write) if as_json else LineTrainProgress(write)
    try:
        outcome = train_on_joined_ray(TrainOptions(config, os.environ, sys.argv, request, until), progress, log)
    except (Exception, RunInterrupted) as error:
        log.write(f"error: {redactor.public_text(error)}; the private record of the training has the full text")
        return error.exit_code if isinstance(error, DiagchdBatchError | RunInterrupted) else ExitCode.FAILED
    names = ("run_id", "exit_code", "n_folds", "resumed", "repeated", "ending")
    print(json.dumps({name: getattr(outcome, name) for name in names}))
    return ExitCode.DONE if outcome.exit_code is ExitCode.FAILED_INPUTS else outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
