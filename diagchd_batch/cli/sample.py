"""`sample`: puts the bundled sample cohort and a ready job file where the user wants them."""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from diagchd_batch.cli.console import say
from diagchd_batch.errors import UsageError


def register(app: typer.Typer) -> None:
    app.command()(sample)


def sample(
    directory: Annotated[Path, typer.Argument(help="A new directory for the sample.", show_default=False)],
) -> None:
    """Copy the sample cohort (SIMULATED phantoms) and its job file into a new directory.

    Example: diagchd-batch sample demo && diagchd-batch submit demo/job.yaml
    """
    import yaml

    from diagchd_batch.bundled import bundled_path

    if directory.exists():
        raise UsageError(f"{directory} exists already; name a new directory")
    cohort = directory / "cohort"
    shutil.copytree(bundled_path("dataset/sample"), cohort)
    job = yaml.safe_load(bundled_path("configs/sample.yaml").read_text(encoding="utf-8"))
    job["input"] |= {"uri": str(cohort), "manifest": str(cohort / "studies.csv")}
    job["output"]["uri"] = str(directory / "out")
    for table in ("reference", "readers", "covariates"):
        job["evaluation"][table] = str(cohort / f"{table}.csv")
    job_file = directory / "job.yaml"
    note = "# SIMULATED data; the paths hold from where `diagchd-batch sample` was called.\n"
    job_file.write_text(note + yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    say(f"the sample lies in {cohort}\nscore it with: diagchd-batch submit {job_file}")
