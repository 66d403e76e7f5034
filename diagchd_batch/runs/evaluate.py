"""`evaluate`: writes a run's metrics tables, its lineage and its report again, from its score tables."""

from dataclasses import dataclass

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import EvaluationSummary, evaluate_run
from diagchd_batch.report import write_report
from diagchd_batch.results.datasets import damage_as_fault
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.runs.run_lookup import OnNote, chosen_run, ignore_note, named_run, submitted_evaluation
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What `evaluate` wrote. `report_key` is the report's key in the output."""

    summary: EvaluationSummary
    report_key: str


def evaluate(
    workspace: Workspace,
    run_id: str | None = None,
    *,
    config: EvaluationConfig | None = None,
    on_note: OnNote = ignore_note,
) -> Evaluation:
    """Write a run's metrics tables, its report, and which rows of its lineage count. Reads no image and no model.

    Args:
        workspace: The output that holds the run.
        run_id: The run; the latest finished one by default.
        config: The evaluation settings; those that the run was submitted with by default.
        on_note: Receives a sentence for each run that is left out because its record is damaged.

    Returns:
        What was written, and the key of the report.

    Raises:
        UsageError: The output holds no such run.
        ConfigError: The identifier key is not at hand.
        InputError: A reference, readers or covariates file cannot be used.
        RunFault: A table of the run is damaged.
    """
    record = chosen_run(workspace, run_id, on_note)
    run_id = record.run_id
    summary = evaluate_tables(workspace, run_id, config)
    if record.status == "finished":
        write_lineage_tables(workspace.storage, run_id)
    return Evaluation(summary, write_report(workspace.storage, run_id))


def evaluate_tables(workspace: Workspace, run_id: str, config: EvaluationConfig | None = None) -> EvaluationSummary:
    """Write a run's metrics tables, but not its report.

    Args:
        workspace: The output that holds the run.
        run_id: The run's id.
        config: The evaluation settings; those that the run was submitted with by default.

    Returns:
        The tables that were written, and what was left out.

    Raises:
        UsageError: The output holds no such run.
        ConfigError: The identifier key is not at hand.
        InputError: A reference, readers or covariates file cannot be used.
        RunFault: A table of the run is damaged.
    """
    refuse_unfinished_deletion(workspace.private)
    named_run(workspace, run_id)
    config = config or submitted_evaluation(workspace, run_id)
    with damage_as_fault(run_id):
        return evaluate_run(workspace.storage, workspace.private, run_id, config, workspace.pseudonymizer())
