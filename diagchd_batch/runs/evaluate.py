"""`evaluate` on an output: which run, with which settings, under which key."""

from collections.abc import Mapping

from diagchd_batch.config.models import EvaluationConfig
from diagchd_batch.errors import ConfigError, UsageError
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary, evaluate_run
from diagchd_batch.evaluation.comparison.compare import ComparisonSummary, compare_runs
from diagchd_batch.results.datasets import damage_as_fault, holds_no_run
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import RunRecord, read_private_run_record, read_run_record
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.keys import KEY_FILE_VARIABLE, KEY_VARIABLE, find_key


def evaluate_output(
    output: Output, environ: Mapping[str, str], *, run_id: str | None = None, config: EvaluationConfig | None = None
) -> EvaluationSummary:
    """Evaluates a run of an output again: by default the latest finished one, with the settings it was submitted with.

    Raises UsageError where there is no such run, ConfigError where the key is not at hand, and what `evaluate_run`
    raises.
    """
    run_id = (named_run(output, run_id) if run_id else latest_finished_run(output)).run_id
    config = config or submitted_config(output, run_id)
    with damage_as_fault(run_id):
        return evaluate_run(output.storage, output.private, run_id, config, pseudonymizer_of(output, environ))


def latest_finished_run(output: Output) -> RunRecord:
    """The finished run that ended last. Raises UsageError where there is none."""
    records = output.runs()
    finished = [record for record in records if record.status == "finished" and record.ended_at]
    if not records:
        raise holds_no_run(output.storage.uri)
    if not finished:
        raise UsageError("this output holds no finished run; resume one with its job file, or name one with --run-id")
    return max(finished, key=lambda record: (record.ended_at, record.run_id))


def named_run(output: Output, run_id: str) -> RunRecord:
    """The record of that run. Raises UsageError where the output has none."""
    record = read_run_record(output.storage, run_id)
    if record is None:
        raise UsageError(f"this output holds no run {run_id}; `diagchd-batch list` shows those it has")
    return record


def submitted_config(output: Output, run_id: str) -> EvaluationConfig:
    """The evaluation settings of the job that the run was submitted with, from the private tree."""
    record = read_private_run_record(output.private, run_id)
    if record is None:
        raise UsageError(
            f"run {run_id} has no record in the private tree, so its evaluation settings are not known; give its job "
            "file with --config, or where the private tree lies with --private-uri"
        )
    return EvaluationConfig.model_validate(record.full_config.get("evaluation", {}))


def pseudonymizer_of(output: Output, environ: Mapping[str, str]) -> Pseudonymizer:
    """Makes the output's own tokens. Raises ConfigError where its key is neither given nor stored."""
    key = find_key(output.private, environ)
    if key is None:
        raise ConfigError(
            "this output's identifier key is not in its private tree; say where that lies with --private-uri, or set "
            f"{KEY_VARIABLE} or {KEY_FILE_VARIABLE}"
        )
    return Pseudonymizer(key)


def compare_in_output(
    output: Output,
    environ: Mapping[str, str],
    first: str,
    second: str,
    *,
    config: EvaluationConfig | None = None,
    masks: bool = True,
) -> ComparisonSummary:
    """Compares two runs of an output, by default with the settings that the second was submitted with.

    Raises as `evaluate_output` and `compare_runs` do.
    """
    if first == second:
        raise UsageError("a run compared with itself shows nothing; name two runs, the earlier one first")
    for run_id in (first, second):
        named_run(output, run_id)
    config = config or submitted_config(output, second)
    tokens = pseudonymizer_of(output, environ)
    with damage_as_fault(f"{first} or {second}"):
        return compare_runs(output.storage, output.private, first, second, config, tokens, masks=masks)
