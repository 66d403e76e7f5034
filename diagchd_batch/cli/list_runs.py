"""`list`: the runs of an output, or the submissions that a cluster knows."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from diagchd_batch.cli.console import moment, print_json, print_text
from diagchd_batch.cli.options import (
    AddressOption,
    JsonOption,
    OptionalOutputArgument,
    PrivateUriOption,
    open_workspace,
)
from diagchd_batch.cli.status import exit_if_damaged, known
from diagchd_batch.errors import UsageError
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.scoring.liveness.run_status import RunState


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command("list")(list_runs)


def list_runs(
    output: OptionalOutputArgument = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the runs of an output; or, without an output, the submissions that a cluster knows.

    Example: diagchd-batch list out/sample
    """
    if output is None:
        _list_submissions(address, as_json)
        return
    if address is not None:
        raise UsageError("list shows either the runs of an output or a cluster's submissions; omit OUTPUT or --address")
    from diagchd_batch.runs.status import run_states

    states = run_states(open_workspace(output, private_uri))
    if as_json:
        print_json([asdict(state) for state in states])
    else:
        for state in states:
            print_text(_line(state, width=max(len(other.run_id) for other in states)))
    exit_if_damaged(states)


def _list_submissions(address: str | None, as_json: bool) -> None:
    from diagchd_batch.runs.cluster_jobs import list_submissions

    jobs = [asdict(job) for job in list_submissions(address, os.environ)]
    if as_json:
        print_json(jobs)
        return
    for job in jobs:
        print_text("  ".join(str(value) for value in job.values()))


def _line(state: "RunState", width: int) -> str:
    columns = [
        f"{state.run_id:<{width}}",
        f"{state.status:<11}",  # as wide as "interrupted"
        moment(state.started_at),
        f"{state.model or '?'} {state.precision or ''}".rstrip(),
        f"shards {state.shards_done:,} of {known(state.n_shards)}",
    ]
    if state.failures:
        columns.append(f"{counted(sum(state.failures.values()), 'row')} failed")
    return "  ".join(columns)
