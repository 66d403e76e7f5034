"""Finds the run that a command works on, and the settings that it is evaluated with."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.config.loading import load_job
from diagchd_batch.errors import InputError, ItemError, StorageFault, UsageError
from diagchd_batch.json_records import DamagedRecordError, first_problem
from diagchd_batch.results.datasets import holds_no_run
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import RunRecord, read_private_run_record, read_run_record
from diagchd_batch.uris import is_local_path, start_of

OnNote = Callable[[str], object]
"""Receives a sentence that the user should read."""


def ignore_note(note: str) -> None:
    """Drop a note, for callers that show none."""


def chosen_run(output: Output, run_id: str | None, on_note: OnNote = ignore_note) -> RunRecord:
    """Return the record of the run that was named, or of the latest finished one.

    Args:
        output: The output that holds the run.
        run_id: The run that was named, or None.
        on_note: Receives a sentence for each run whose record is damaged and which is therefore left out.

    Raises:
        UsageError: The output holds no such run.
        DamagedRecordError: The record of the run that was named is damaged, or no finished run has a sound record and
            some record is damaged.
    """
    return latest_finished_run(output, on_note) if run_id is None else named_run(output, run_id)


def named_run(output: Output, run_id: str) -> RunRecord:
    """Return the record of a run.

    Args:
        output: The output.
        run_id: The run's id.

    Raises:
        UsageError: The output holds no record of it.
        DamagedRecordError: Its record cannot be read.
    """
    record = read_run_record(output.storage, run_id)
    if record is None:
        raise UsageError(f"this output holds no run {run_id}; the command `list` shows the runs that it holds")
    return record


def latest_finished_run(output: Output, on_note: OnNote = ignore_note) -> RunRecord:
    """Return the finished run that ended last. A damaged record of another run does not prevent that.

    Args:
        output: The output to search.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Raises:
        UsageError: The output holds no finished run.
        DamagedRecordError: No finished run has a sound record, and some record is damaged.
    """
    damaged: list[DamagedRecordError] = []
    records = _sound_records(output, on_note, damaged)
    finished = [record for record in records if record.status == "finished" and record.ended_at]
    if finished:
        return max(finished, key=lambda record: (record.ended_at, record.run_id))
    if damaged:
        raise damaged[0]
    if not records:
        raise holds_no_run(output.storage.uri)
    raise UsageError("this output holds no finished run; resume one with its job file, or name one with --run-id")


def newest_run_id(output: Output, on_note: OnNote = ignore_note) -> str:
    """Return the id of the run that began last. A run without a sound record counts as older than all others.

    Args:
        output: The output to search.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Raises:
        UsageError: The output holds no run.
    """
    began = {record.run_id: record.started_at.timestamp() for record in _sound_records(output, on_note, [])}
    return max(all_run_ids(output), key=lambda run_id: began.get(run_id, 0.0))


def all_run_ids(output: Output) -> list[str]:
    """Return the ids of all runs of an output.

    Raises:
        UsageError: The output holds no run.
    """
    run_ids = output.run_ids()
    if not run_ids:
        raise holds_no_run(output.storage.uri)
    return run_ids


def full_run_id(output: Output, name: str) -> str:
    """Return the id of the run that is named by it, or by a beginning that no other run's id has.

    Args:
        output: The output, with its private tree.
        name: The id or its beginning.

    Returns:
        The whole id, or the name itself if no run's id begins with it.

    Raises:
        UsageError: Several ids begin so.
    """
    run_ids = set(output.run_ids())
    if name in run_ids:
        return name
    with suppress(StorageFault, ItemError):  # without the private tree, runs without results are not known
        run_ids |= set(output.planned_run_ids())
    return id_with_beginning(name, run_ids) or name


def id_with_beginning(name: str, run_ids: Collection[str]) -> str | None:
    """Return the id that is `name`, or the only one that begins with it. None if there is no such id.

    Args:
        name: A run's id or its beginning.
        run_ids: The ids to search.

    Raises:
        UsageError: Several ids begin so, and none is `name`.
    """
    if name in run_ids:
        return name
    found = sorted(run_id for run_id in run_ids if run_id.startswith(name))
    if len(found) > 1:
        raise UsageError(f"several runs have an id that begins with {name}: {', '.join(found)}; write more of it")
    return found[0] if found else None


def submitted_evaluation(output: Output, run_id: str) -> EvaluationConfig:
    """Return the evaluation settings of the job that a run was submitted with, from the private tree.

    Args:
        output: The output, with its private tree.
        run_id: The run's id.

    Raises:
        UsageError: The private tree holds no record of the run.
        DamagedRecordError: That record cannot be read.
        InputError: A table has a relative path, and is not below the working directory.
    """
    record = read_private_run_record(output.private, run_id)
    if record is None:
        raise UsageError(
            f"the private tree holds no record of run {run_id}, so its evaluation settings are not known; name its job "
            "file with --config, or the private tree with --private-uri"
        )
    try:
        config = EvaluationConfig.model_validate(record.full_config.get("evaluation", {}))
    except ValidationError as error:
        raise DamagedRecordError(
            f"the evaluation settings in the private record of run {run_id} cannot be used ({first_problem(error)}); "
            "name a job file with --config"
        ) from error
    for name in ("reference", "readers", "covariates"):
        path = getattr(config, name)
        if path and is_local_path(path) and not Path(path).is_absolute() and not Path(path).exists():
            raise InputError(
                f"evaluation.{name}: run {run_id} was submitted with a relative path, and there is no such "
                f"file{start_of(path)}; give the command in the directory where the run was submitted. `evaluate` and "
                "`compare` also take another path from a job file, with --config"
            )
    return config


def evaluation_settings(
    path: Path | None, overrides: Sequence[str], environ: Mapping[str, str]
) -> EvaluationConfig | None:
    """Return the evaluation block of the job file that --config names; None if it names none.

    Args:
        path: The job file.
        overrides: The values of --set, ``key.sub=value``.
        environ: The environment variables.

    Raises:
        UsageError: There are overrides and no job file.
        ConfigError: The job file is not valid.
    """
    if path is None:
        if overrides:
            raise UsageError("--set changes the job file that --config names; add --config JOB")
        return None
    return load_job(path, overrides, environ).evaluation


def _sound_records(output: Output, on_note: OnNote, damaged: list[DamagedRecordError]) -> list[RunRecord]:
    """Return the records that can be read, and append the errors of the others to `damaged`."""

    def leave_out(run_id: str, error: DamagedRecordError) -> None:
        damaged.append(error)
        on_note(f"run {run_id} is left out, it may be newer: {error}")

    return output.runs(on_damaged=leave_out)
