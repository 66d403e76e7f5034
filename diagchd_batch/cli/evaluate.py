"""`evaluate` and `compare`: metrics tables of a run, and of a run against another, again at any time."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption, SetOption
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.models import EvaluationConfig

JobFile = Annotated[
    Path | None,
    typer.Option("--config", help="Take the evaluation block of this job file; default: the one submitted."),
]


def register(app: typer.Typer) -> None:
    app.command()(evaluate)
    app.command()(compare)


def evaluate(
    output: OutputArgument,
    run_id: RunIdOption = None,
    config: JobFile = None,
    overrides: SetOption = [],  # noqa: B006
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's metrics tables again: cohort metrics, comparison with readers, agreement, segmentation, subgroups.

    Works from the score tables; neither images nor the model are touched. The run's report is written again, too.

    Example: diagchd-batch evaluate out/sample --config job.yaml --set evaluation.study_score=max
    """
    from diagchd_batch.report import write_report
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.evaluate import evaluate_output
    from diagchd_batch.uris import join_uri

    opened = open_output(output, private_uri)
    summary = evaluate_output(opened, os.environ, run_id=run_id, config=_evaluation(config, overrides))
    report = join_uri(output, write_report(opened.storage, summary.run_id))
    if as_json:
        print_json(asdict(summary))
        return
    tables = ((name, counted(n, "row")) for name, n in summary.n_rows.items())
    print_pairs([("run", summary.run_id), *tables, ("report", report)])
    for table, n in summary.n_unmatched.items():
        if n:
            say(f"not in the inventory: {counted(n, 'study')} of {table}, listed in the private tree")
    _say_notes(summary.notes)


def compare(
    output: OutputArgument,
    first: Annotated[str, typer.Argument(metavar="RUN_A", help="The earlier run.", show_default=False)],
    second: Annotated[str, typer.Argument(metavar="RUN_B", help="The later run.", show_default=False)],
    config: JobFile = None,
    overrides: SetOption = [],  # noqa: B006
    masks: Annotated[bool, typer.Option(help="Compare every pair of masks, too: about a millisecond a frame.")] = True,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Compare two runs over the same studies, RUN_B − RUN_A: paired tests, flipped calls, drift of scores, masks.

    Example: diagchd-batch compare out/archive 1f0c22aa-90ab12cd-1 5d7e01bb-90ab12cd-1
    """
    from diagchd_batch.report import write_report
    from diagchd_batch.report.source import is_evaluated
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.evaluate import compare_in_output
    from diagchd_batch.uris import join_uri

    opened = open_output(output, private_uri)
    summary = compare_in_output(opened, os.environ, first, second, config=_evaluation(config, overrides), masks=masks)
    report = "evaluate the second run to have it in its report"
    if is_evaluated(opened.storage, second):
        report = join_uri(output, write_report(opened.storage, second)) + "#comparison"
    if as_json:
        print_json(asdict(summary))
        return
    print_pairs(
        [
            ("runs", f"{summary.second} − {summary.first}"),
            ("scored by both", counted(summary.n_studies, "study")),
            ("calls changed", counted(summary.n_flips, "study")),
            *((name, counted(n, "row")) for name, n in summary.n_rows.items()),
            ("report", report),
        ]
    )
    _say_notes(summary.notes)


def _evaluation(path: Path | None, overrides: Sequence[str]) -> "EvaluationConfig | None":
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.errors import UsageError

    if path is None:
        if overrides:
            raise UsageError("--set changes the job file that --config names; name it")
        return None
    return load_job(path, overrides, os.environ).evaluation


def _say_notes(notes: Sequence[str]) -> None:
    for note in notes:
        say(f"note: {note}")
