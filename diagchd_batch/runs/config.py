"""`config`: a job file's schema, and the job that it means."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.loading import load_job
from diagchd_batch.config.overlapping_uris import refuse_overlapping_places


def job_schema() -> dict[str, Any]:
    """Return the JSON schema of job files."""
    return JobConfig.model_json_schema()


def whole_job(path: Path, overrides: Sequence[str], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return a job with defaults, environment variables and overrides applied, as plain values.

    Args:
        path: The job file.
        overrides: The values of --set, ``key.sub=value``.
        environ: The environment variables.

    Raises:
        ConfigError: The job file is not valid.
    """
    return load_job(path, overrides, environ).model_dump(mode="json")


def validate_job(path: Path, overrides: Sequence[str], environ: Mapping[str, str]) -> None:
    """Check a job file, and whether the model's weights fit. Reads no input data.

    Args:
        path: The job file.
        overrides: The values of --set, ``key.sub=value``.
        environ: The environment variables.

    Raises:
        ConfigError: The job file is not valid, its output lies in its input, its output cannot be written, or there is
            no such model.
        WeightsError: The weights do not exist, or are of another network.
        StorageFault: The storage of the model's package cannot be reached.
    """
    from diagchd_batch.scoring.driver.prepare_job import model_of
    from diagchd_batch.scoring.driver.storage_and_limit_checks import (  # `config schema` needs no Arrow
        check_place_is_writable,
        check_writable,
    )
    from diagchd_batch.training.recipe.initial_weights import network_to_train
    from diagchd_batch.workspace import Workspace

    job = load_job(path, overrides, environ)
    refuse_overlapping_places(job)
    check_writable(Workspace.of_job(job, environ))
    if job.training is None:
        model_of(job)
    else:
        check_place_is_writable("training.package_uri", job.training.package_uri)
        network_to_train(job.training, job.model.name)
