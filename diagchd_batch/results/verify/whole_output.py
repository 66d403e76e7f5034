"""Verifies a whole output: each run that it has, or once had, and each lineage as a whole."""

from collections.abc import Iterator

from diagchd_batch.errors import RunFault, StorageFault, UsageError
from diagchd_batch.results.datasets import holds_no_run
from diagchd_batch.results.lineage import newest_runs
from diagchd_batch.results.output import Output
from diagchd_batch.results.verify.derived_tables import tables_of_unknown_runs
from diagchd_batch.results.verify.findings import REMEDIES, LineageReport, Problem, ProblemKind, VerifyReport
from diagchd_batch.results.verify.lineage import verify_lineage
from diagchd_batch.results.verify.one_run import StatusOf, recorded_status, verify_run
from diagchd_batch.studies.plan.stored_plan import open_plan


def verify_runs(
    output: Output, run_id: str | None = None, *, status_of: StatusOf = recorded_status
) -> Iterator[VerifyReport]:
    """Verify one run or all runs, also those of which only the plan is left.

    With all runs, one whose plan cannot be read is reported, and the others are checked.

    Args:
        output: The output.
        run_id: The run; all runs by default.
        status_of: Tells what an unfinished run is doing.

    Yields:
        The report of each run, in ascending order of run ids. Then one for each table whose run the output lacks.

    Raises:
        UsageError: The output has no such run, or no run at all.
        RunFault: The plan of the named run, or every plan, cannot be read.
    """
    held, planned = output.run_ids(), output.planned_run_ids()
    if run_id is not None:
        if run_id not in held and run_id not in planned:
            raise UsageError(f"the output holds no run {run_id}; the command `list` names those it holds")
        yield _verify(output, run_id, status_of)
        return
    if not held and not planned:
        raise holds_no_run(output.storage.uri)
    for name in sorted({*held, *planned}):
        try:
            yield _verify(output, name, status_of)
        except StorageFault:
            raise
        except RunFault as fault:
            if not planned:  # it is another private tree, and one message says how to name the right one
                raise
            report = VerifyReport(name)
            kind = ProblemKind.UNREADABLE_PLAN
            report.add(Problem(kind, f"run {name}", str(fault), REMEDIES[kind]))
            yield report
    for name, problem in tables_of_unknown_runs(output.storage, {*held, *planned}):
        report = VerifyReport(name)
        report.add(problem)
        yield report


def verify_lineages(output: Output, run_id: str | None = None) -> Iterator[LineageReport]:
    """Verify each lineage of several runs as a whole.

    Args:
        output: The output.
        run_id: The newest run of a lineage, to verify only that; all lineages by default.

    Yields:
        The report of each lineage that has more than one run.
    """
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


def _verify(output: Output, run_id: str, status_of: StatusOf) -> VerifyReport:
    plan = open_plan(output.private, run_id)
    return verify_run(output.storage, output.private, plan, run_id, status_of=status_of)
