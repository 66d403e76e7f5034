"""`sample`: the bundled sample cohort and a ready job file, in a new directory."""

from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import say


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(sample)


def sample(
    directory: Annotated[Path, typer.Argument(help="A new directory for the sample.", show_default=False)],
) -> None:
    """Copy the sample cohort (SIMULATED phantoms) and its job file into a new directory.

    Example: diagchd-batch sample demo && diagchd-batch submit demo/job.yaml
    """
    from diagchd_batch.runs.sample import copy_sample

    made = copy_sample(directory)
    say(f"the sample lies in {made.cohort}\nscore it with: diagchd-batch submit {made.job_file}")
