"""Verifies a whole output: each run that it holds, or once held, and those that build on one another together."""

from collections.abc import Iterator

from diagchd_batch.errors import RunFault, StorageFault, UsageError
from diagchd_batch.results.datasets import holds_no_run
from diagchd_batch.results.lineage import newest_runs
from diagchd_batch.results.output import Output
from diagchd_batch.results.verify.findings import REMEDIES, LineageReport, Problem, ProblemKind, VerifyReport
from diagchd_batch.results.verify.lineage import verify_lineage
from diagchd_batch.results.verify.run import verify_run
from diagchd_batch.studies.plan import open_plan


def verify_runs(output: Output, run_id: str | None = None) -> Iterator[VerifyReport]:
    """Of the run named, or of all: those that the output holds anything of, and those whose plan alone is left.

    Raises UsageError for an output or run that is not there, RunFault where the plan of the run named, or of every
    run, cannot be read; of all runs, one whose plan cannot be read is reported and the others are checked.
    """
    held, planned = output.run_ids(), output.planned_run_ids()
    if run_id is not None:
        if run_id not in held and run_id not in planned:
            raise UsageError(f"the output holds no run {run_id}; `diagchd-batch list` names those it holds")
        yield _verify(output, run_id)
        return
    if not held and not planned:
        raise holds_no_run(output.storage.uri)
    for name in sorted({*held, *planned}):
        try:
            yield _verify(output, name)
        except StorageFault:
            raise
        except RunFault as fault:
            if not planned:  # another private tree was named: one message says it, and how to name the right one
                raise
            report = VerifyReport(name)
            kind = ProblemKind.UNREADABLE_PLAN
            report.add(Problem(kind, f"run {name}", str(fault), REMEDIES[kind]))
            yield report


def verify_lineages(output: Output, run_id: str | None = None) -> Iterator[LineageReport]:
    """Of the newest run of each lineage, or of the run named if it is one. Runs that build on none are left out."""
    for record in newest_runs(output.storage, on_damaged=lambda *_: None):
        if record.parent_run_id is None or run_id not in (None, record.run_id):
            continue
        try:
            yield verify_lineage(output, record.run_id)
        except StorageFault:
            raise
        except RunFault as fault:
            kind = ProblemKind.BROKEN_LINEAGE
            problem = Problem(kind, f"run {record.run_id}", str(fault), REMEDIES[kind])
            yield LineageReport((record.run_id,), 0, 0, (problem,))


def _verify(output: Output, run_id: str) -> VerifyReport:
    return verify_run(output.storage, output.private, open_plan(output.private, run_id), run_id)
