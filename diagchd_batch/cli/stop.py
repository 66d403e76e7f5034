"""`stop`: ends a run after the shards in progress, or at once."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, say
from diagchd_batch.cli.options import (
    AddressOption,
    AnyRunIdOption,
    JsonOption,
    OptionalOutputArgument,
    PrivateUriOption,
    open_run,
    open_workspace,
)
from diagchd_batch.errors import UsageError


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(stop)


def stop(
    output: OptionalOutputArgument = None,
    run_id: AnyRunIdOption = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
    now: Annotated[
        bool, typer.Option("--now", help="End the run on its cluster at once; the shards in progress are abandoned.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """End a run after the shards in progress, wherever it runs; or at once, on a cluster. The same submit resumes it.

    A training saves a checkpoint of each fold before it ends, and the same train command goes on with it.

    With --now the output may be omitted; then --run-id names the run.

    Example: diagchd-batch stop out/sample --run-id 1f3a5c7e-9b2d4f60-1
    """
    if now:
        _stop_at_once(output, run_id, private_uri, address, as_json)
        return
    if address is not None:
        raise UsageError(
            "only --now stops a run through its cluster; add --now, or omit --address to end the run after the shards "
            "in progress"
        )
    if output is None:
        raise UsageError(
            "a run is asked to end through its output; give the output, or add --now and the cluster's --address to "
            "end the run at once"
        )
    from diagchd_batch.runs.stop import stop_after_shards

    workspace, run_id = open_run(output, private_uri, run_id)
    answers = stop_after_shards(workspace, run_id)
    if as_json:
        print_json([asdict(answer) for answer in answers])
        return
    for answer in answers:
        if answer.asked:
            after_shards = "after the shards in progress"
            of_training = f"once its folds are saved, or {after_shards} if it scores held-out studies"
            when = of_training if answer.kind == "training" else after_shards
            say(f"{answer.kind} {answer.run_id} was asked to end {when}; the command `status` shows when it has ended")
        else:
            say(f"{answer.kind} {answer.run_id} does not run: it is {answer.status}")


def _stop_at_once(
    output: str | None, run_id: str | None, private_uri: str | None, address: str | None, as_json: bool
) -> None:
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.runs.stop import live_run_ids, stop_at_once

    if run_id is not None and output is not None:
        run_id = open_run(output, private_uri, run_id)[1]
    if run_id is not None:
        run_ids = [run_id]
    elif output is not None:
        run_ids = live_run_ids(open_workspace(output, private_uri))
        if not run_ids:
            say("no run of this output runs")
    else:
        raise UsageError("name the run that is to end at once with --run-id; the command `list` shows the ids")
    ended = []
    for name in run_ids:
        ended.append(stop_at_once(name, cluster_address(address, os.environ)))
        if not as_json:
            say(f"{ended[-1].submission_id}: {'told to end' if ended[-1].asked else 'had ended already'}")
    if as_json:
        print_json([asdict(entry) for entry in ended])
