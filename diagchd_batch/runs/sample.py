"""`sample`: puts the bundled sample cohort, studies to train on, and ready job files into a new directory."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.errors import RunFault, UsageError

_TRAINING_SEED = 2
"""Seed of the studies to train on. The bundled weights were trained on those of seed 1, which no fold may hold out."""

_NOTE = "# SIMULATED data. The paths are relative to the directory in which the command `sample` was called.\n"
_TRAINING_NOTE = "# initial_weights: scratch trains from random weights. It takes longer and needs more studies.\n"


@dataclass(frozen=True, slots=True)
class Sample:
    """Where the sample lies.

    Attributes:
        cohort: The studies to score.
        job_file: A job file that scores them.
        training: Studies to train on; None if none were asked for.
        training_job_file: A job file that trains on them.
    """

    cohort: Path
    job_file: Path
    training: Path | None = None
    training_job_file: Path | None = None


def copy_sample(
    directory: Path, n_training_studies: int = 0, on_generate: Callable[[str], object] | None = None
) -> Sample:
    """Copy the sample cohort, write a job file that scores it, and make studies to train on.

    Args:
        directory: A directory that does not exist yet.
        n_training_studies: Studies of the split ``training`` to generate, which takes about a second for every four
            studies on two cores; 0: none, and no job file for a training.
        on_generate: Receives a sentence when the sample is copied and these studies are begun; None to drop it.

    Returns:
        The places of what was written.

    Raises:
        UsageError: `directory` exists.
        RunFault: The studies cannot be generated.
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
    if not n_training_studies:
        return Sample(cohort, job_file)
    if on_generate:
        on_generate(f"generating {n_training_studies:,} studies to train on")
    training = directory / "training"
    _generate(training, n_training_studies)
    training_job_file = directory / "train.yaml"
    job = {
        "version": 1,
        "input": {
            "uri": str(training),
            "layout": "manifest",
            "manifest": str(training / "studies.csv"),
            "simulated": True,
        },
        "model": {"name": "diagchd-compact"},
        "output": {"uri": str(directory / "out-training")},
        "evaluation": {"covariates": str(training / "covariates.csv")},
        "training": {
            "package_uri": str(directory / "package"),
            "model_name": "my-first-model",
            "preset": "quick",
            "seed": 1,
            "initial_weights": "diagchd-compact",
            "folds": {"rule": "subject", "number": 2},
            "augmentation": {"mirror": True},
        },
    }
    training_job_file.write_text(_NOTE + _TRAINING_NOTE + yaml.safe_dump(job, sort_keys=False), encoding="utf-8")
    return Sample(cohort, job_file, training, training_job_file)


def _generate(directory: Path, n_studies: int) -> None:
    """Run the generator of phantoms, which is bundled as a package beside this one, in a process of its own."""
    root = str(bundled_path("dataset").parent)
    code = f"import sys; sys.path.insert(0, {root!r}); from dataset.generate import main; main()"
    options = ["--studies", str(n_studies), "--seed", str(_TRAINING_SEED), "--split", "training"]
    options += ["--out", str(directory)]
    done = subprocess.run([sys.executable, "-P", "-c", code, *options], capture_output=True, text=True)
    if done.returncode:
        raise RunFault(
            f"the studies to train on could not be generated ({done.stderr.strip()[-300:]}); check that the disk has "
            "room, delete the directory, and give the same command again"
        )
