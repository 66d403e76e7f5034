"""`report`: a run's metrics as one HTML file."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.options import OutputArgument, RunIdOption


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    output: OutputArgument,
    run_id: RunIdOption = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the file in a browser (local outputs).")] = False,
) -> None:
    """Write a run's report: one HTML file that needs no network. Its metrics must be there: see evaluate.

    Example: diagchd-batch report out/sample --open
    """
    from diagchd_batch.evaluation.outputs import latest_finished_run
    from diagchd_batch.report import write_report
    from diagchd_batch.results import open_output
    from diagchd_batch.storage import join_uri

    opened = open_output(output)
    key = write_report(opened.storage, run_id or latest_finished_run(opened).run_id)
    print(join_uri(output, key))
    if show and "://" not in output:
        webbrowser.open((Path(output) / key).resolve().as_uri())
