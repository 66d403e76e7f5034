"""`logs`: what a run's latest driver printed."""

import os
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_text, say
from diagchd_batch.cli.options import (
    AddressOption,
    OptionalOutputArgument,
    PrivateUriOption,
    checked_run_id,
    open_run,
)


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(logs)


def logs(
    output: OptionalOutputArgument = None,
    run_id: Annotated[
        str | None, typer.Option("--run-id", callback=checked_run_id, help="A run; default: the newest of the output.")
    ] = None,
    private_uri: PrivateUriOption = None,
    address: AddressOption = None,
) -> None:
    """Print the log of a run's latest submission to a cluster: from the cluster, or the one that the output keeps.

    Without an output the cluster alone is asked; then --run-id names the run.

    Example: diagchd-batch logs out/sample --run-id 1f3a5c7e-9b2d4f60-1
    """
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.runs.logs import read_logs

    workspace = None
    if output is not None:
        workspace, run_id = open_run(output, private_uri, run_id, is_watching=True)
    print_text(read_logs(workspace, run_id, cluster_address(address, os.environ), on_note=say), end="")
