"""`compare`: one run of an output against another."""

import os
from dataclasses import asdict
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import (
    EvaluationFileOption,
    JsonOption,
    OutputArgument,
    PrivateUriOption,
    SetOption,
    checked_run_id,
    open_workspace,
)
from diagchd_batch.wording import counted


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(compare)


def compare(
    output: OutputArgument,
    first: Annotated[
        str, typer.Argument(metavar="RUN_A", callback=checked_run_id, help="The earlier run.", show_default=False)
    ],
    second: Annotated[
        str, typer.Argument(metavar="RUN_B", callback=checked_run_id, help="The later run.", show_default=False)
    ],
    config: EvaluationFileOption = None,
    overrides: SetOption = [],  # noqa: B006
    masks: Annotated[
        bool, typer.Option(help="Also compare every pair of masks, which takes about a millisecond per frame.")
    ] = True,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs over the same studies, RUN_B − RUN_A: paired tests, flipped calls, drift of scores, masks.

    Example: diagchd-batch compare out/archive 1f0c22aa-90ab12cd-1 5d7e01bb-90ab12cd-1
    """
    from diagchd_batch.runs.compare import compare as compare_two
    from diagchd_batch.runs.run_lookup import evaluation_settings, full_run_id
    from diagchd_batch.uris import join_uri

    settings = evaluation_settings(config, overrides, os.environ)
    workspace = open_workspace(output, private_uri)
    first, second = (full_run_id(workspace, name) for name in (first, second))
    done = compare_two(workspace, first, second, config=settings, masks=masks)
    summary = done.summary
    if as_json:
        print_json(asdict(summary))
        return
    report = "evaluate the second run to have it in its report"
    if done.report_key is not None:
        report = join_uri(output, done.report_key) + "#comparison"
    print_pairs(
        [
            ("runs", f"{summary.second} − {summary.first}"),
            ("scored by both", counted(summary.n_studies, "study")),
            ("calls changed", counted(summary.n_flips, "study")),
            *((name, counted(n, "row")) for name, n in summary.n_rows.items()),
            ("report", report),
        ]
    )
    for note in summary.notes:
        say(f"note: {note}")
