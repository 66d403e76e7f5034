"""Runs that build on others: a run, its parent, its parent's parent; later results stand for earlier ones."""

import re
from collections.abc import Callable

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.results.run_record import DamagedRecordError, RunRecord, read_run_record, read_run_records
from diagchd_batch.storage import Store

_RUN_RECORD = re.compile(r"runs/run_id=([^/]+)/run\.json")


def resolve_lineage(output: Store, run_id: str) -> list[RunRecord]:
    """The run and the parents that it continues, oldest first. Raises UsageError where a record is missing."""
    records: list[RunRecord] = []
    wanted: str | None = run_id
    while wanted is not None and wanted not in {record.run_id for record in records}:
        record = read_run_record(output, wanted)
        if record is None:
            whose = f"run {run_id}" if not records else f"run {wanted}, a parent of {run_id},"
            raise UsageError(f"{whose} has no record in this output; `diagchd-batch list` shows those that have")
        records.append(record)
        wanted = record.parent_run_id
    return records[::-1]


def newest_runs(
    output: Store, on_damaged: Callable[[str, DamagedRecordError], object] | None = None
) -> list[RunRecord]:
    """The recorded runs that no other continues, the one begun last first. Records that cannot be read are treated as
    in `read_run_records`.
    """
    run_ids = (
        match[1] for info in output.list(output_layout.RUNS_PREFIX) if (match := _RUN_RECORD.fullmatch(info.key))
    )
    records = read_run_records(output, run_ids, on_damaged)
    continued = {record.parent_run_id for record in records}
    newest = [record for record in records if record.run_id not in continued]
    return sorted(newest, key=lambda record: (record.started_at, record.run_id), reverse=True)
