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
    open_run,
)
from diagchd_batch.cli.status import exit_if_damaged, known, training_progress
from diagchd_batch.errors import UsageError
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.scoring.liveness.run_status import RunState
    from diagchd_batch.training.training_record import TrainingState


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
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.runs.list_runs import list_runs as find_runs

    if output is not None and address is not None:
        raise UsageError("list shows either the runs of an output or a cluster's submissions; omit OUTPUT or --address")
    workspace = None if output is None else open_run(output, private_uri, None, is_watching=True)[0]
    found = find_runs(workspace, cluster_address(address, os.environ))
    if as_json:
        print_json([*map(asdict, found.runs), *map(asdict, found.submissions)])
    else:
        for state in found.runs:
            print_text(_line(state, width=max(len(other.run_id) for other in found.runs)))
        for job in found.submissions:
            print_text(f"{job.submission_id}  {job.status}  {job.started_at}")
    exit_if_damaged(found.runs)


def _line(state: "RunState | TrainingState", width: int) -> str:
    from diagchd_batch.training.training_record import TrainingState

    if isinstance(state, TrainingState):
        name, model = f"{state.run_id:<{width}}", f"training {state.model or '?'}"
        return "  ".join([name, f"{state.status:<11}", moment(state.started_at), model, training_progress(state)])
    columns = [
        f"{state.run_id:<{width}}",
        f"{state.status:<11}",  # as wide as "interrupted"
        moment(state.started_at),
        f"{state.model or '?'} {state.precision or ''}".rstrip(),
        f"shards {state.shards_done:,} of {known(state.n_shards)}",
    ]
    if state.parent_run_id:
        columns.append(f"{state.selection} files, continues {state.parent_run_id}")
    if state.failures:
        columns.append(f"{counted(sum(state.failures.values()), 'row')} failed")
    return "  ".join(columns)
