"""`submit`: scores a cohort and evaluates it, on this machine or on a cluster."""

import os
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_text, say
from diagchd_batch.cli.options import (
    AddressOption,
    ConfigArgument,
    InputMovedOption,
    JsonOption,
    NewRunOption,
    OnlyOption,
    OwnRunIdOption,
    RetryOption,
    SelectOption,
    SetOption,
    run_request,
)
from diagchd_batch.cli.plan import say_caution
from diagchd_batch.cli.run_summary import output_arguments, print_summary, summary_json
from diagchd_batch.errors import UsageError
from diagchd_batch.escaping import for_console
from diagchd_batch.exit_codes import ExitCode

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.runs.submit import ClusterSubmission, SubmitOptions
    from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(submit)


def submit(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    run_id: OwnRunIdOption = None,
    new_run: NewRunOption = False,
    select: SelectOption = None,
    only: OnlyOption = None,
    retry: RetryOption = None,
    input_moved: InputMovedOption = False,
    until: Annotated[
        str | None,
        typer.Option(help="Begin no shard that would not end by then: 06:00, 2026-11-24T06:00+01:00 or 7h30m."),
    ] = None,
    accept_changed_shards: Annotated[
        bool,
        typer.Option(
            "--accept-changed-shards",
            help="Take the scores of shards that a finished run had lost, although they differ from those before.",
        ),
    ] = False,
    address: AddressOption = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="On a cluster: print the submission's id and do not wait for the end.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a cohort and evaluate it: here, with a Ray of its own, or on a cluster.

    The same command again resumes a run that was interrupted, or repeats the outcome of a finished one. If files of a
    finished run are missing or damaged, they are made again.

    Exit codes: 0 done, 1 failed (resumable), 2 usage or configuration, 3 done with failed inputs,
    4 fingerprint mismatch, 130/143 interrupted (resumable; a run on a cluster goes on without the client).

    Example: diagchd-batch submit configs/sample.yaml --set model.precision=bfloat16
    """
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.runs.submit import SubmitOptions
    from diagchd_batch.scoring.liveness.until_deadline import parse_deadline

    cluster = cluster_address(address, os.environ)
    if no_wait and not cluster:
        raise UsageError("--no-wait needs a cluster; name it with --address, or omit --no-wait")
    deadline = parse_deadline(until, datetime.now(UTC)) if until else None
    request = run_request(run_id, new_run, select, only, retry, input_moved)
    job = load_job(config, overrides, os.environ)
    say_caution(job)
    options = SubmitOptions(job, os.environ, sys.argv[1:], request, deadline, accept_changed_shards)
    if cluster:
        _submit_to_cluster(options, cluster, no_wait, as_json)
    else:
        _submit_here(options, as_json)


def _submit_here(options: "SubmitOptions", as_json: bool) -> None:
    from diagchd_batch.cli.progress import run_progress
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.runs.submit import submit_here

    try:
        with run_progress() as progress:
            done = submit_here(options, progress)
    except RunInterrupted as interruption:
        say(f"interrupted ({interruption}); what is committed stays, and the same command resumes the run")
        raise typer.Exit(interruption.exit_code) from None
    job, outcome = options.config, done.outcome
    if as_json:
        print_json(summary_json(job, outcome))
    else:
        print_summary(job, outcome)
        if options.request.selection == "new" and outcome.resumed and not outcome.ending:
            say("this run had begun before; the same command now scores what has come in since it was planned")
        for note in done.notes:
            say(f"evaluation: {note}")
    raise typer.Exit(outcome.exit_code)


def _submit_to_cluster(options: "SubmitOptions", address: str, no_wait: bool, as_json: bool) -> None:
    from diagchd_batch.process.interrupts import RunInterrupted, interruptible
    from diagchd_batch.runs.submit import follow_submission, submit_to_cluster

    job, request = options.config, options.request
    submission: ClusterSubmission | None = None
    exit_code: ExitCode | None = None
    try:
        with interruptible():
            submission = submit_to_cluster(options, address)
            say(f"{'attached to' if submission.attached else 'submitted'} {submission.submission_id}")
            if no_wait:
                _say_ways_back(job, submission.run_id, request)
            else:
                exit_code = follow_submission(job, submission, write_log=_pass_on, say=say)
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


def _pass_on(log: str) -> None:
    print(for_console(log), end="", file=sys.stderr, flush=True)


def _say_ways_back(job: "JobConfig", run_id: str, request: "RunRequest") -> None:
    """Print the commands that return to a run which goes on without this client."""
    # The same command, without the options that would not wait again or would begin another run.
    words = [word for word in sys.argv[1:] if word not in ("--no-wait", "--new-run")]
    named = ["--run-id", run_id] if request.new_run else []
    output, *private = output_arguments(job)
    for what, command in (
        ("follow it", [*words, *named]),
        ("see how far it is", ["status", output, "--run-id", run_id, *private]),
        ("end it", ["stop", output, "--run-id", run_id, *private]),
    ):
        say(f"{what}: {shlex.join(['diagchd-batch', *command])}")
