"""`sample`: puts the bundled sample cohort and a ready job file into a new directory."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import yaml

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.errors import UsageError

_NOTE = "# SIMULATED data. The paths are relative to the directory in which `diagchd-batch sample` was called.\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the sample lies."""

    cohort: Path
    job_file: Path


def copy_sample(directory: Path) -> Sample:
    """Copy the sample cohort and write a job file that scores it.

    Args:
        directory: A directory that does not exist yet.

    Raises:
        UsageError: `directory` exists.
    """
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
    job_file.write_text(_NOTE + yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return Sample(cohort, job_file)
