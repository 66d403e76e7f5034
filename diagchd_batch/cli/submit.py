"""`submit`: scores a cohort and evaluates it, on this machine or on a cluster."""

import os
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.cluster_client import pass_on, run_on_cluster
from diagchd_batch.cli.console import print_json, say
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
from diagchd_batch.cli.run_summary import print_summary, summary_json
from diagchd_batch.errors import DiagchdBatchError, UsageError

if TYPE_CHECKING:
    from diagchd_batch.runs.submit import SubmitOptions


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
    from diagchd_batch.cli.progress import LoggedProgress, run_progress
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.runs.submit import submit_here
    from diagchd_batch.scoring.liveness.driver_log import DriverLog

    try:
        with DriverLog() as log, run_progress() as shown:
            try:
                done = submit_here(options, LoggedProgress(shown, log.note), log)
            except (DiagchdBatchError, RunInterrupted) as error:
                log.note(f"ended: {error}")
                raise
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
    from diagchd_batch.runs.submit import follow_submission, submit_to_cluster

    job = options.config
    run_on_cluster(
        job,
        options.request,
        submit=lambda: submit_to_cluster(options, address),
        follow=lambda submission: follow_submission(job, submission, write_log=pass_on, say=say),
        no_wait=no_wait,
        as_json=as_json,
    )
