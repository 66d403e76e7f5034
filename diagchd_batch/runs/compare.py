"""`compare`: sets two runs of one output side by side."""

from dataclasses import dataclass

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.comparison.compare import ComparisonSummary, compare_runs
from diagchd_batch.report import write_report
from diagchd_batch.report.report_data import is_evaluated
from diagchd_batch.results.datasets import damage_as_fault
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.runs.run_lookup import named_run, submitted_evaluation
from diagchd_batch.workspace import Workspace


@dataclass(frozen=True, slots=True)
class Comparison:
    """What `compare` wrote. `report_key` is None if the second run was not evaluated and so has no report."""

    summary: ComparisonSummary
    report_key: str | None


def compare(
    workspace: Workspace, first: str, second: str, *, config: EvaluationConfig | None = None, masks: bool = True
) -> Comparison:
    """Compare two runs over the studies that both scored, and write the second run's report again.

    Args:
        workspace: The output that holds both runs.
        first: The id of the earlier run.
        second: The id of the later run. Differences are second − first.
        config: The evaluation settings; those that the second run was submitted with by default.
        masks: Whether every pair of masks is compared, too.

    Returns:
        What was written, and the key of the second run's report.

    Raises:
        UsageError: The output lacks one of the runs, or both ids are the same.
        ConfigError: The identifier key is not at hand.
        RunFault: A table of the runs is damaged.
    """
    if first == second:
        raise UsageError("a run compared with itself shows nothing; name two runs, the earlier one first")
    refuse_unfinished_deletion(workspace.private)
    for run_id in (first, second):
        named_run(workspace, run_id)
    config = config or submitted_evaluation(workspace, second)
    tokens = workspace.pseudonymizer()
    with damage_as_fault(f"{first} or {second}"):
        summary = compare_runs(workspace.storage, workspace.private, first, second, config, tokens, masks=masks)
    evaluated = is_evaluated(workspace.storage, second)
    return Comparison(summary, write_report(workspace.storage, second) if evaluated else None)
