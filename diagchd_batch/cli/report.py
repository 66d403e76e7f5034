"""`report`: a run's metrics as one HTML file, and single cases as pictures."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import say
from diagchd_batch.cli.options import OutputArgument, PrivateUriOption, RunIdOption


def register(app: typer.Typer) -> None:
    app.command()(report)


def report(
    output: OutputArgument,
    run_id: RunIdOption = None,
    gallery: Annotated[
        int | None,
        typer.Option(
            min=1, max=200, metavar="N", help="Also draw up to N of the worst, best and flagged cases; private."
        ),
    ] = None,
    private_uri: PrivateUriOption = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the file in a browser (local outputs).")] = False,
) -> None:
    """Write a run's report: one HTML file that needs no network. Its metrics must be there: see evaluate.

    The report holds no pixel of an input. With --gallery a second file shows images with the outlines of their masks;
    it goes to the private tree, because pictures can carry names.

    Example: diagchd-batch report out/sample --gallery 5 --open
    """
    from diagchd_batch.report import write_report
    from diagchd_batch.report.gallery import write_gallery
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.evaluate import latest_finished_run
    from diagchd_batch.uris import join_uri

    opened = open_output(output, private_uri)
    run_id = run_id or latest_finished_run(opened).run_id
    key = write_report(opened.storage, run_id)
    print(join_uri(output, key))
    if gallery:
        print(join_uri(opened.private.uri, write_gallery(opened, run_id, gallery)))
        say("the gallery is identified: pictures can carry names, and it names files")
    if show and "://" not in output:
        webbrowser.open((Path(output) / key).resolve().as_uri())
