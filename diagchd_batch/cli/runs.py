"""`status`, `list`, `logs` and `stop`: by way of an output alone, or of a cluster."""

import os
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import duration, fail, moment, print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption
from diagchd_batch.errors import DiagchdBatchError, UsageError
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.cluster.job_api import ClusterJobs
    from diagchd_batch.results.output import Output
    from diagchd_batch.scoring.liveness.run_status import RunState

RunArgument = Annotated[
    str | None, typer.Argument(help="The run's id; default: all runs of --output.", show_default=False)
]
_NEWEST = datetime.max.replace(tzinfo=UTC)  # of a run that still plans: it has no record yet
AddressOption = Annotated[str | None, typer.Option(help="The Ray cluster; else RAY_API_SERVER_ADDRESS or RAY_ADDRESS.")]


def register(app: typer.Typer) -> None:
    app.command()(status)
    app.command("list")(list_runs)
    app.command()(logs)
    app.command()(stop)


def status(
    output: OutputArgument,
    run_id: Annotated[str | None, typer.Option("--run-id", help="A run; default: all of the output.")] = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what a run is doing, from its output; works without the cluster, and tells a dead run from a living one.

    Example: diagchd-batch status out/sample
    """
    states = _states(output, private_uri, run_id)
    if as_json:
        print_json([asdict(state) for state in states])
        _end_with_damage(states)
        return
    for place, state in enumerate(states):
        if place:
            print()
        print_pairs(_pairs(state))
    _end_with_damage(states)


def list_runs(
    output: Annotated[str | None, typer.Argument(help="An output: its runs.", show_default=False)] = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs of an output, or without one the submissions that a cluster knows of.

    Example: diagchd-batch list out/sample
    """
    if output is None:
        jobs = [asdict(job) for job in _cluster(address).list()]
        if as_json:
            print_json(jobs)
            return
        for job in jobs:
            print("  ".join(str(value) for value in job.values()))
        return
    states = _states(output, private_uri, None)
    if as_json:
        print_json([asdict(state) for state in states])
        _end_with_damage(states)
        return
    for state in states:
        print(_line(state, width=max(len(other.run_id) for other in states)))
    _end_with_damage(states)


def logs(
    run_id: Annotated[
        str | None, typer.Argument(help="The run's id; default: the newest of --output.", show_default=False)
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", help="The run's output, for when the cluster is gone.")
    ] = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
) -> None:
    """Print the log of a run's latest submission to a cluster: from the cluster, or what is kept of it in the output.

    Example: diagchd-batch logs 1f3a5c7e-9b2d4f60-1 --output out/sample
    """
    from diagchd_batch.cluster.job_api import cluster_address

    if run_id is None:
        if output is None:
            raise UsageError("name a run, or its output with --output OUTPUT")
        run_id = _newest_run(output, private_uri)
    if output is None or cluster_address(address, os.environ):
        try:
            jobs, submission_id = _latest(run_id, address)
            print(jobs.log(submission_id), end="")
            return
        except DiagchdBatchError as error:
            if output is None:
                say("with --output OUTPUT the log that the run's output keeps is printed instead")
                raise
            say(f"{error}; here is what the output keeps")
    print(_kept_log(output, private_uri, run_id), end="")


def stop(
    run_id: RunArgument = None,
    output: Annotated[str | None, typer.Option("--output", help="The run's output; needed without --now.")] = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
    now: Annotated[bool, typer.Option("--now", help="At once, on a cluster: shards in hand are abandoned.")] = False,
) -> None:
    """End a run after the shards in hand, wherever it runs; or at once. The same submit resumes it.

    Example: diagchd-batch stop 1f3a5c7e-9b2d4f60-1 --output out/sample
    """
    if now:
        if run_id is None:
            raise UsageError("name the run that shall end at once; `diagchd-batch list` knows its id")
        jobs, submission_id = _latest(run_id, address)
        say(f"{submission_id}: {'told to end' if jobs.stop(submission_id) else 'had ended already'}")
        return
    if output is None:
        raise UsageError(
            "the request goes by way of the run's output: add --output OUTPUT; or add --now, with the cluster's "
            "--address, to end it at once"
        )
    from diagchd_batch.results import open_output
    from diagchd_batch.scoring.liveness.run_status import live_submissions, run_state
    from diagchd_batch.scoring.liveness.shard_gate import request_stop

    opened = open_output(output, private_uri)
    for name in _run_ids(opened, output, run_id):
        state = run_state(opened, name)
        live = live_submissions(opened, name)
        for submission in live:
            request_stop(opened.private, name, submission)
        if live:
            say(f"run {name} was asked to end after the shards in hand; `diagchd-batch status` shows when it has")
        else:
            say(f"run {name} does not run: it is {state.status}")


def _kept_log(output: str, private_uri: str | None, run_id: str) -> str:
    """Of the latest driver on a cluster; where none left a log, what `status` says: like it, not the record's own
    text, which may name places and files.
    """
    from diagchd_batch.results import open_output
    from diagchd_batch.scoring.liveness.run_log import read_log
    from diagchd_batch.scoring.liveness.run_status import run_state

    opened = open_output(output, private_uri)
    if (text := read_log(opened.private, run_id)) is not None:
        return text
    state = run_state(opened, run_id)
    reason = f": {state.reason}" if state.reason else ""
    return f"no log is kept of run {run_id}, which ran on one machine; it is {state.status}{reason}\n"


def _cluster(address: str | None) -> "ClusterJobs":
    from diagchd_batch.cluster.job_api import ClusterJobs, cluster_address

    found = cluster_address(address, os.environ)
    if found is None:
        raise UsageError("no cluster named; give --address http://head:8265, or the output of a run")
    return ClusterJobs(found)


def _latest(run_id: str, address: str | None) -> tuple["ClusterJobs", str]:
    jobs = _cluster(address)
    submission_id = jobs.latest(run_id)
    if submission_id is None:
        raise UsageError(f"the cluster at {jobs.address} knows no submission of run {run_id}; ask `diagchd-batch list`")
    return jobs, submission_id


def _states(output: str, private_uri: str | None, run_id: str | None) -> list["RunState"]:
    from diagchd_batch.results.output import open_output
    from diagchd_batch.scoring.liveness.run_status import run_state

    opened = open_output(output, private_uri)
    states = [run_state(opened, name) for name in _run_ids(opened, output, run_id)]
    return sorted(states, key=lambda state: (state.started_at or _NEWEST, state.run_id))


def _end_with_damage(states: list["RunState"]) -> None:
    """Exit code 1 where a run's record is damaged, with a line for each; to be called once the runs are shown."""
    from diagchd_batch.scoring.liveness.run_status import DAMAGED

    damaged = [state for state in states if state.status == DAMAGED]
    for state in damaged:
        fail(f"run {state.run_id}: {state.reason}")
    if damaged:
        raise typer.Exit(1)


def _run_ids(opened: "Output", output: str, run_id: str | None) -> list[str]:
    """The run that was named, or all that the output holds."""
    from diagchd_batch.results.datasets import holds_no_run

    run_ids = [run_id] if run_id else opened.run_ids()
    if not run_ids:
        raise holds_no_run(output)
    return run_ids


def _newest_run(output: str, private_uri: str | None) -> str:
    """The one that was begun last, as far as runs have a record that tells when."""
    from diagchd_batch.results import open_output

    opened = open_output(output, private_uri)
    records = opened.runs(on_damaged=lambda name, error: say(f"run {name} is left out, it may be newer: {error}"))
    begun = {record.run_id: record.started_at.timestamp() for record in records}
    return max(_run_ids(opened, output, None), key=lambda name: begun.get(name, 0.0))


def _line(state: "RunState", width: int) -> str:
    columns = [
        f"{state.run_id:<{width}}",
        f"{state.status:<11}",  # as wide as "interrupted"
        moment(state.started_at),
        f"{state.model or '?'} {state.precision or ''}".rstrip(),
        f"shards {state.shards_done:,} of {_known(state.n_shards)}",
    ]
    if state.failures:
        columns.append(f"{counted(sum(state.failures.values()), 'row')} failed")
    return "  ".join(columns)


def _pairs(state: "RunState") -> list[tuple[str, Any]]:
    from diagchd_batch.scoring.liveness.run_status import DAMAGED

    pairs: list[tuple[str, Any]] = [
        ("run", state.run_id),
        ("status", state.status + ("; its driver died: the same submit resumes it" if state.status == "lost" else "")),
        *([("reason", state.reason)] if state.reason and state.status != DAMAGED else []),
        ("model", f"{state.model}, {state.precision}" if state.model else "not known"),
        ("began", moment(state.started_at)),
        *([("ended", moment(state.ended_at))] if state.ended_at else []),
        ("shards", f"{state.shards_done:,} of {_known(state.n_shards)}, {counted(state.attempts, 'attempt')}"),
        ("rows", f"{state.n_ok:,} ok, {sum(state.failures.values()):,} failed"),
        *((f"  {code}", f"{n:,}") for code, n in state.failures.items()),
        ("submissions", state.submissions),
    ]
    if state.workers:
        pairs.append(("workers", f"{state.workers:,} live, {counted(state.n_in_flight, 'image')} of open shards done"))
    if state.images_per_s:
        over = "" if state.workers else ", the start of the workers included"
        pairs.append(("images/s", f"{state.images_per_s:.1f}{over}"))
    if state.remaining_s is not None:
        pairs.append(("remaining", duration(state.remaining_s)))
    return pairs


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
