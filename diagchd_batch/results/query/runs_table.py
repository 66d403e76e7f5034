"""Run records as rows of a table."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pyarrow as pa

from diagchd_batch.results.columns.run_records import RUNS
from diagchd_batch.results.run_record import RunRecord


def run_rows(records: Iterable[RunRecord]) -> pa.Table:
    """Return one row for each run, in schema RUNS."""
    return pa.Table.from_pylist([_row(record) for record in records], RUNS)


def _row(record: RunRecord) -> dict[str, object]:
    plan, counts = record.plan, record.counts
    row: dict[str, object] = {
        **{name: getattr(record, name) for name in RUNS.names if name in RunRecord.model_fields},
        **{name: getattr(record.model, name) for name in RUNS.names if name in type(record.model).model_fields},
        "model": record.model.name,
        "versions": list(record.versions.items()),
        "started_at": _utc(record.started_at),
        "ended_at": _utc(record.ended_at),
        "frame_rule": plan.frames,
        "subjects_given": plan.subjects_given,
        "n_planned_studies": plan.n_studies,
        "n_planned_subjects": plan.n_subjects,
        "n_planned_images": plan.n_images,
        "n_planned_masks": plan.n_masks,
        "n_shards": plan.n_shards,
        "n_excluded": plan.n_excluded,
        "config": json.dumps(record.config, sort_keys=True),
    }
    if counts is not None:
        row |= {name: getattr(counts, name) for name in ("n_rows", "n_ok", "n_failed", "n_chd_calls")}
        row |= {
            "failure_counts": list(counts.failures.items()),
            "reference_status_counts": list(counts.reference_status.items()),
            "quality_flag_counts": list(counts.quality_flags.items()),
        }
    return row


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)
