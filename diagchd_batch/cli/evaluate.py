"""`evaluate`: a run's metrics tables and its report, written again."""

import os
from dataclasses import asdict

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import (
    EvaluationFileOption,
    JsonOption,
    OutputArgument,
    PrivateUriOption,
    RunIdOption,
    SetOption,
    open_run,
)
from diagchd_batch.wording import counted


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(evaluate)


def evaluate(
    output: OutputArgument,
    run_id: RunIdOption = None,
    config: EvaluationFileOption = None,
    overrides: SetOption = [],  # noqa: B006
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's metrics tables again: cohort metrics, comparison with readers, agreement, segmentation, subgroups.

    Works from the score tables and reads neither images nor the model. The run's report is written again, too.

    Example: diagchd-batch evaluate out/sample --config job.yaml --set evaluation.study_score=max
    """
    from diagchd_batch.runs.evaluate import evaluate as evaluate_run
    from diagchd_batch.runs.run_lookup import evaluation_settings
    from diagchd_batch.uris import join_uri

    settings = evaluation_settings(config, overrides, os.environ)
    workspace, run_id = open_run(output, private_uri, run_id)
    done = evaluate_run(workspace, run_id, config=settings, on_note=say)
    summary = done.summary
    if as_json:
        print_json(asdict(summary))
        return
    tables = ((name, counted(n, "row")) for name, n in summary.n_rows.items())
    print_pairs([("run", summary.run_id), *tables, ("report", join_uri(output, done.report_key))])
    for table, n in summary.n_unmatched.items():
        if n:
            say(f"{counted(n, 'study')} of {table} not in the inventory; the private tree lists the ids")
    for note in summary.notes:
        say(f"note: {note}")
