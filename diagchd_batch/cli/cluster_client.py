"""Sends a run or a training to a cluster, follows it, and says how to come back to it."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import typer

from diagchd_batch.cli.console import print_json, print_text, say
from diagchd_batch.cli.run_summary import output_arguments
from diagchd_batch.escaping import command_line, for_console
from diagchd_batch.exit_codes import ExitCode

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.runs.submit import ClusterSubmission
    from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest


def run_on_cluster(
    job: "JobConfig",
    request: "RunRequest",
    *,
    submit: "Callable[[], ClusterSubmission]",
    follow: "Callable[[ClusterSubmission], ExitCode]",
    no_wait: bool,
    as_json: bool,
) -> None:
    """Submit a job, pass on its log until it ends, and end this command with its exit code.

    Args:
        job: The job file.
        request: What the command line says about the run.
        submit: Starts the job on the cluster, or attaches to it.
        follow: Passes on the log of a submission, and returns the exit code of its run.
        no_wait: Whether the command ends as soon as the job is submitted.
        as_json: Whether JSON is printed.

    Raises:
        Exit: Always.
    """
    from diagchd_batch.process.interrupts import RunInterrupted, interruptible

    submission: ClusterSubmission | None = None
    exit_code: ExitCode | None = None
    try:
        with interruptible():
            submission = submit()
            say(f"{'attached to' if submission.attached else 'submitted'} {submission.submission_id}")
            if no_wait:
                _say_ways_back(job, submission.run_id, request)
            else:
                exit_code = follow(submission)
    except RunInterrupted as interruption:
        if submission:
            say(f"detached ({interruption}); run {submission.run_id} goes on on the cluster")
            _say_ways_back(job, submission.run_id, request)
        else:
            say(f"interrupted ({interruption}) before the cluster had answered; the same command submits, or attaches")
        raise typer.Exit(interruption.exit_code) from None
    if as_json:
        names = {"run_id": submission.run_id, "submission_id": submission.submission_id}
        print_json({**names, "exit_code": exit_code})
    else:
        print_text(submission.submission_id)
    raise typer.Exit(exit_code or ExitCode.DONE)


def pass_on(log: str) -> None:
    """Print a part of a job's log to stderr."""
    print(for_console(log), end="", file=sys.stderr, flush=True)


def _say_ways_back(job: "JobConfig", run_id: str, request: "RunRequest") -> None:
    """Print the commands that return to a run which goes on without this client."""
    # The same command, without the options that would not wait again or would begin another run. An option that is
    # added stands behind the command's name, because a `--` may end the options.
    name, *words = [word for word in sys.argv[1:] if word not in ("--no-wait", "--new-run")]
    named = ["--run-id", run_id] if request.new_run else []
    output, *private = output_arguments(job)
    where = [output, "--run-id", run_id, *private]
    say(f"follow it: {command_line(name, *named, *words)}")
    say(f"see how far it is: {command_line('status', *where)}")
    say(f"end it: {command_line('stop', *where)}")
