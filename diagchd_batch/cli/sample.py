"""`sample`: the bundled sample cohort and a ready job file, in a new directory."""

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, say
from diagchd_batch.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(sample)


def sample(
    directory: Annotated[Path, typer.Argument(help="A new directory for the sample.", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Copy the sample cohort (SIMULATED phantoms) and its job file into a new directory.

    Example: diagchd-batch sample demo && diagchd-batch submit demo/job.yaml
    """
    from diagchd_batch.runs.sample import copy_sample

    made = copy_sample(directory)
    if as_json:
        print_json(asdict(made))
        return
    say(f"the sample lies in {made.cohort}")
    say(f"score it with: {shlex.join(['diagchd-batch', 'submit', str(made.job_file)])}")
    say("one file of it is damaged on purpose: the run ends with exit code 3, done with failed inputs")
