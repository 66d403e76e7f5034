"""`status` and `list`: from an output alone; `logs` and `stop --now`: of a run on a cluster."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption
from diagchd_batch.errors import UsageError

if TYPE_CHECKING:
    from diagchd_batch.cluster.client import ClusterJobs
    from diagchd_batch.scoring.run_state import RunState

RunArgument = Annotated[str, typer.Argument(help="The run's id.", show_default=False)]
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
        return
    for state in states:
        print_pairs(_pairs(state))


def list_runs(output: OutputArgument, private_uri: PrivateUriOption = None, as_json: JsonOption = False) -> None:
    """List the runs of an output.

    Example: diagchd-batch list out/sample
    """
    states = _states(output, private_uri, None)
    if as_json:
        print_json([asdict(state) for state in states])
        return
    for state in states:
        print(f"{state.run_id}  {state.status}  shards {state.shards_done} of {_known(state.n_shards)}")


def logs(run_id: RunArgument, address: AddressOption = None) -> None:
    """Print the log of a run's latest submission to a cluster.

    Example: diagchd-batch logs 1f3a5c7e-9b2d4f60-1 --address http://head:8265
    """
    jobs, submission_id = _latest(run_id, address)
    print(jobs.log(submission_id), end="")


def stop(
    run_id: RunArgument,
    address: AddressOption = None,
    now: Annotated[bool, typer.Option("--now", help="Required: shards in hand are abandoned.")] = False,
) -> None:
    """End a run on a cluster. What is committed stays; the same submit resumes it.

    Example: diagchd-batch stop 1f3a5c7e-9b2d4f60-1 --now --address http://head:8265
    """
    if not now:
        raise UsageError("only an end at once can be asked for: add --now. Shards in hand will be scored again")
    jobs, submission_id = _latest(run_id, address)
    say(f"{submission_id}: {'told to end' if jobs.stop(submission_id) else 'had ended already'}")


def _latest(run_id: str, address: str | None) -> tuple["ClusterJobs", str]:
    from diagchd_batch.cluster.client import ClusterJobs, cluster_address

    found = cluster_address(address, os.environ)
    if found is None:
        raise UsageError("no cluster named; give --address http://head:8265 (a local run ends with Ctrl-C)")
    jobs = ClusterJobs(found)
    submission_id = jobs.latest(run_id)
    if submission_id is None:
        raise UsageError(f"the cluster at {found} knows no submission of run {run_id}; ask `diagchd-batch list OUTPUT`")
    return jobs, submission_id


def _states(output: str, private_uri: str | None, run_id: str | None) -> list["RunState"]:
    from diagchd_batch.results import open_output
    from diagchd_batch.scoring.run_state import run_state

    opened = open_output(output, private_uri)
    run_ids = [run_id] if run_id else opened.run_ids()
    if not run_ids:
        raise UsageError(f"{output} holds no run; name the directory or prefix that is output.uri in the job file")
    return [run_state(opened, name) for name in run_ids]


def _pairs(state: "RunState") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = [
        ("run", state.run_id),
        ("status", state.status + ("; its driver died: the same submit resumes it" if state.status == "lost" else "")),
        ("shards", f"{state.shards_done:,} of {_known(state.n_shards)}, {state.attempts:,} attempts"),
        ("rows", f"{state.n_ok:,} ok, {sum(state.failures.values()):,} failed"),
        *((f"  {code}", f"{n:,}") for code, n in state.failures.items()),
        ("workers", f"{state.workers:,} live, {state.n_in_flight:,} images of open shards done"),
        ("submissions", state.submissions),
    ]
    if state.images_per_s:
        pairs.append(("images/s", f"{state.images_per_s:.1f}"))
    return pairs


def _known(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"
