"""`report`: a run's metrics as one HTML file, and single cases as pictures."""

import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, print_text, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption, open_run


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
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
    top: Annotated[
        int | None,
        typer.Option(min=1, max=200, metavar="N", help="Draw the N studies with the highest scores in the gallery."),
    ] = None,
    study: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Draw all images of this study in the gallery (own id or token); repeatable."),
    ] = None,
    private_uri: PrivateUriOption = None,
    show: Annotated[bool, typer.Option("--open/--no-open", help="Open the file in a browser (local outputs).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a run's report: one HTML file that needs no network. `evaluate` must have written the run's metrics.

    The report holds no pixel of an input. With --gallery, --top or --study a second file shows images with the outlines
    of their masks, and each study's own id, score and diagnosis. It goes to the private tree, in the place of an
    earlier gallery of the run, because pictures can carry names.

    Example: diagchd-batch report out/sample --gallery 5 --open
    """
    from diagchd_batch.report.gallery import GalleryContents
    from diagchd_batch.runs.report import report as write_reports
    from diagchd_batch.uris import is_local_path, join_uri, normalize_uri

    workspace, run_id = open_run(output, private_uri, run_id)
    contents = GalleryContents(gallery, top, tuple(dict.fromkeys(study or ())))
    done = write_reports(workspace, run_id, gallery=contents or None, on_note=say)
    uri = join_uri(output, done.key)
    gallery_uri = None if done.gallery_key is None else join_uri(workspace.private.uri, done.gallery_key)
    if as_json:
        print_json({"run_id": done.run_id, "report": uri, "gallery": gallery_uri})
    else:
        print_text(uri)
        if gallery_uri is not None:
            print_text(gallery_uri)
    if gallery_uri is not None:
        say("the gallery is identified: pictures can carry names, and it names files")
    if show and is_local_path(normalize_uri(output)):
        webbrowser.open(Path(uri).as_uri())
    elif show:
        say("--open was not done: a browser opens local files only. Copy the report here, then open the copy")
