"""`sample`: the bundled sample cohort, studies to train on, and ready job files, in a new directory."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, say
from diagchd_batch.cli.options import JsonOption
from diagchd_batch.escaping import as_argument, command_line
from diagchd_batch.uris import expand_home


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(sample)


def sample(
    directory: Annotated[
        Path, typer.Argument(help="A new directory for the sample.", parser=expand_home, show_default=False)
    ],
    training_studies: Annotated[
        int, typer.Option(min=0, help="Studies to generate for a training; 300 take about two minutes.")
    ] = 300,
    as_json: JsonOption = False,
) -> None:
    """Write the sample cohort and studies to train on (SIMULATED phantoms), with job files, into a new directory.

    Example: diagchd-batch sample demo && diagchd-batch submit demo/job.yaml
    """
    from diagchd_batch.runs.sample import copy_sample

    made = copy_sample(directory, training_studies, on_generate=say)
    if as_json:
        print_json(asdict(made))
        return
    say(f"the sample lies in {made.cohort}")
    say(f"score it with: {command_line('submit', as_argument(str(made.job_file)))}")
    if made.training_job_file:
        say(f"train on {made.training} with: {command_line('train', as_argument(str(made.training_job_file)))}")
    say("one file of it is damaged on purpose: the run ends with exit code 3, done with failed inputs")
