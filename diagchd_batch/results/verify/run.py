"""Proves from the files alone that a run has exactly one result for each planned frame, unaltered and consistent."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from diagchd_batch import output_layout
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.counts import RowCounter, RunCounts
from diagchd_batch.results.datasets import committed_shards, foreign_tables
from diagchd_batch.results.run_record import RunRecord, read_private_run_record, read_run_record
from diagchd_batch.results.verify.findings import REMEDIES, Problem, ProblemKind, VerifyReport
from diagchd_batch.results.verify.predictions import PredictionsCheck
from diagchd_batch.results.verify.rows import Expectations
from diagchd_batch.results.verify.shard import ShardCheck, ShardFindings
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.studies.plan import Plan


def verify_run(
    storage: Store,
    private: Store,
    plan: "Plan",
    run_id: str,
    *,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> VerifyReport:
    """Checks a run of the output in `storage` against its frozen plan, and says by token what is wrong.

    The plan is the one that was frozen; every planned frame has exactly one row, in its shard; score files are of this
    run, readable, and the very bytes that a worker recorded; masks decode and their pixels are those counted; calls
    follow from probabilities; each scored image's source and digest are recorded; predictions and the run record's
    counts equal the score files; no other table lies beside them.

    Streams: memory holds the rows, without masks, of a few shards at a time. `progress` gets the number of planned
    images checked so far. Raises RunFault where the plan cannot be read.
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
    finished = _check_record(storage, record, plan, report)
    if private_record is None:
        detail = f"there is no {output_layout.private_run_record(run_id)} in the private tree"
        _add(report, ProblemKind.NO_RUN_RECORD, f"run {run_id}", detail)
    elif private_record.plan_digest != plan.head.digest:  # the digests stay private: they would tell which archive
        detail = f"its digest is not the one in {output_layout.private_run_record(run_id)}, by which the run was scored"
        _add(report, ProblemKind.ALTERED_PLAN, f"plan of run {run_id}", detail)
    if not plan.is_intact():
        detail = "its rows, images or studies, are not those that it was frozen with"
        _add(report, ProblemKind.ALTERED_PLAN, f"plan of run {run_id}", detail)
    for key in foreign_tables(storage, run_id):
        _add(
            report,
            ProblemKind.FOREIGN_FILE,
            key,
            "no file of this run, but a glob over the archive reads it as results",
        )
    counter = RowCounter()
    predictions = PredictionsCheck(storage, run_id, plans_images=plan.head.n_images > 0) if finished else None
    n_images = 0
    for findings, n_planned in _checked_shards(storage, private, plan, record, report, workers):
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
    return report


def _without_record(storage: Store, plan: "Plan", run_id: str) -> str:
    """Also whether anything of the run is left: its plan alone tells that it was there."""
    missing = f"there is no {output_layout.run_record(run_id)}"
    if committed_shards(storage, run_id):
        return missing
    return f"{missing} and no score file; without a result: {counted(plan.head.n_images, 'image', 'planned')}"


def _check_record(storage: Store, record: RunRecord, plan: "Plan", report: VerifyReport) -> bool:
    """Whether the run is finished; also that its record and its plan tell of the same thing."""
    place = f"run {record.run_id}"
    head = plan.head
    for name in ("frames", "n_studies", "n_subjects", "n_images", "n_masks", "n_shards"):
        recorded, planned = getattr(record.plan, name), getattr(head, name)
        if recorded != planned:
            _add(report, ProblemKind.COUNTS_DIFFER, place, f"{name} is {recorded} in its record, {planned} in its plan")
    if record.status != "finished":
        _add(report, ProblemKind.UNFINISHED, place, f"its status is {record.status}")
        return False
    if storage.stat(output_layout.success_marker(record.run_id)) is None:
        _add(report, ProblemKind.UNFINISHED, place, "there is no _SUCCESS")
    return True


def _checked_shards(
    storage: Store, private: Store, plan: "Plan", record: RunRecord, report: VerifyReport, workers: int | None
) -> Iterator[tuple[ShardFindings, int]]:
    """Findings of each committed shard in ascending order, with its planned images; others are reported."""
    committed = committed_shards(storage, record.run_id)
    sources = _source_keys(private, record.run_id)
    for shard in sorted(committed - set(range(plan.head.n_shards))):
        key = output_layout.shard_file(record.run_id, shard)
        _add(report, ProblemKind.UNPLANNED_SHARD, f"shard {shard}", f"the plan has no such shard, yet there is {key}")
    frame_rule: FrameRule = plan.head.frames  # type: ignore[assignment]
    expected = Expectations(record.model.height, record.model.width, record.model.chd_threshold, frame_rule)
    metadata = table_metadata(run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated)
    check = ShardCheck(storage, private, record.run_id, expected, metadata)
    n_workers = workers or min(8, os.cpu_count() or 1)
    waiting: deque[tuple[Future[ShardFindings], int]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="verify") as pool:
        for reference in plan.shards():
            if reference.shard not in committed:
                detail = f"it is not committed; without a result: {counted(reference.n_images, 'image', 'planned')}"
                _add(report, ProblemKind.MISSING_SHARD, f"shard {reference.shard}", detail)
                continue
            planned = plan.read_shard(reference)
            keys = sources.get(reference.shard, [])
            waiting.append((pool.submit(check.check, reference.shard, planned, keys), reference.n_images))
            if len(waiting) > n_workers:
                future, n_images = waiting.popleft()
                yield future.result(), n_images
        while waiting:
            future, n_images = waiting.popleft()
            yield future.result(), n_images


def _source_keys(private: Store, run_id: str) -> dict[int, list[str]]:
    keys: dict[int, list[str]] = {}
    for info in private.list(output_layout.sources_prefix(run_id)):
        if match := output_layout.SOURCES_FILE.fullmatch(info.key):
            keys.setdefault(int(match["shard"]), []).append(info.key)
    return keys


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
