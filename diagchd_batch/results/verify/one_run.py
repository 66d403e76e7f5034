"""Proves from the files alone that a run has exactly one unaltered, consistent result for each planned frame.

Checks of a run as a whole are here: its record, its plan, its counts, and files that do not belong to it."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from diagchd_batch import output_layout
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.counts import RowCounter, RunCounts
from diagchd_batch.results.datasets import committed_shards, foreign_tables
from diagchd_batch.results.run_record import RunRecord, read_private_run_record, read_run_record
from diagchd_batch.results.verify.derived_tables import derived_tables_problems
from diagchd_batch.results.verify.findings import REMEDIES, Problem, ProblemKind, VerifyReport
from diagchd_batch.results.verify.predictions_table import PredictionsCheck
from diagchd_batch.results.verify.shards_of_run import checked_shards, misplaced_shards
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.studies.plan.stored_plan import Plan

StatusOf = Callable[[RunRecord], str]
"""Tells what the run of a record is doing, in the words of the command `status`."""


def recorded_status(record: RunRecord) -> str:
    """Return the status that the record has.

    Args:
        record: The run's record.
    """
    return record.status


def verify_run(
    storage: Store,
    private: Store,
    plan: "Plan",
    run_id: str,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
    status_of: StatusOf = recorded_status,
) -> VerifyReport:
    """Check a run against its frozen plan.

    It checks that the plan is the one that was frozen; that every planned frame has exactly one row, in its shard; that
    score files are readable, belong to this run and have the bytes that a worker recorded; that rows are as their
    columns are declared, masks decode and have the pixels that were counted, and calls follow from probabilities; that
    the source and digest of each scored image are recorded; that predictions and the counts of the run record equal the
    score files; that the tables of runs and lineages say what follows from these; and that there is no other table
    among them.

    Memory holds the rows of a few shards at a time, without masks.

    Args:
        storage: The output.
        private: The private tree.
        plan: The run's plan.
        run_id: The run.
        workers: The number of shards to check at the same time; by default one for each core, at most 8.
        progress: Receives the number of planned images checked so far.
        status_of: Tells what an unfinished run is doing, because the record of a run that was killed still says that it
            runs.

    Returns:
        The problems, which name places by token.

    Raises:
        RunFault: The plan cannot be read.
    """
    report = VerifyReport(run_id)
    try:
        record = read_run_record(storage, run_id)
        private_record = read_private_run_record(private, run_id)
    except DamagedRecordError as error:
        _add(report, ProblemKind.DAMAGED_RUN_RECORD, f"run {run_id}", str(error))
        return report
    if record is None:
        _add(report, ProblemKind.NO_RUN_RECORD, f"run {run_id}", _without_record(storage, plan, run_id))
        return report
    finished = _check_record(storage, record, plan, report, status_of)
    if private_record is None:
        detail = f"there is no {output_layout.private_run_record(run_id)} in the private tree"
        _add(report, ProblemKind.NO_RUN_RECORD, f"run {run_id}", detail)
    elif private_record.plan_digest != plan.head.digest:
        # The message does not show the digests, which would tell which archive it is.
        detail = f"the run was scored with the plan whose digest is in {output_layout.private_run_record(run_id)}"
        _add(report, ProblemKind.ALTERED_PLAN, f"plan of run {run_id}", detail)
    if not plan.is_intact():
        detail = "its images or studies are not those that it was frozen with"
        _add(report, ProblemKind.ALTERED_PLAN, f"plan of run {run_id}", detail)
    for key in foreign_tables(storage, run_id):
        _add(
            report,
            ProblemKind.FOREIGN_FILE,
            key,
            "it is not a file of this run, but a glob over the archive reads it as results",
        )
    counter = RowCounter()
    predictions = PredictionsCheck(storage, run_id, plans_images=plan.head.n_images > 0) if finished else None
    n_images = 0
    report.add(*misplaced_shards(storage, plan, run_id))
    for findings, n_planned in checked_shards(storage, private, plan, record, workers):
        report.n_shards_checked += 1
        report.add(*findings.problems)
        if findings.rows is not None:
            counter.add(findings.rows, findings.shard)
        if predictions is not None:
            report.add(*predictions.compare(findings.shard, findings.rows))
        n_images += n_planned
        if progress:
            progress(n_images)
    if predictions is not None:
        report.add(*predictions.finish())
    report.counts = counter.result()
    if finished:
        _check_counts(record.counts, report.counts, report)
        report.add(*derived_tables_problems(storage, record))
    return report


def _without_record(storage: Store, plan: "Plan", run_id: str) -> str:
    """Return what is missing, and whether anything but the plan is left of the run."""
    missing = f"there is no {output_layout.run_record(run_id)}"
    if committed_shards(storage, run_id):
        return missing
    return f"{missing} and no score file; without a result: {counted(plan.head.n_images, 'image', 'planned')}"


def _check_record(storage: Store, record: RunRecord, plan: "Plan", report: VerifyReport, status_of: StatusOf) -> bool:
    """Return whether the run is finished, and report where its record and its plan disagree."""
    place = f"run {record.run_id}"
    head = plan.head
    for name in ("frames", "n_studies", "n_subjects", "n_images", "n_masks", "n_shards"):
        recorded, planned = getattr(record.plan, name), getattr(head, name)
        if recorded != planned:
            _add(report, ProblemKind.COUNTS_DIFFER, place, f"{name} is {recorded} in its record, {planned} in its plan")
    if record.status != "finished":
        _add(report, ProblemKind.UNFINISHED, place, f"its status is {status_of(record)}")
        return False
    if storage.stat(output_layout.success_marker(record.run_id)) is None:
        _add(report, ProblemKind.UNFINISHED, place, "there is no _SUCCESS")
    return True


def _check_counts(recorded: RunCounts | None, counted: RunCounts, report: VerifyReport) -> None:
    place = f"run {report.run_id}"
    if recorded is None:
        _add(report, ProblemKind.COUNTS_DIFFER, place, "its record has no counts although it is finished")
        return
    for name, value in counted:
        if getattr(recorded, name) != value:
            detail = f"{name} is {getattr(recorded, name)} in its record, {value} in its score files"
            _add(report, ProblemKind.COUNTS_DIFFER, place, detail)


def _add(report: VerifyReport, kind: ProblemKind, place: str, detail: str) -> None:
    report.add(Problem(kind, place, detail, REMEDIES[kind]))
