"""Run records as rows of a table."""

import json
from datetime import UTC, datetime

import pyarrow as pa

from diagchd_batch.results.run_record import RunRecord

_text, _count, _number = pa.string(), pa.int64(), pa.float64()
_by_name = pa.map_(pa.string(), pa.int64())

RUNS = pa.schema(
    [
        ("run_id", _text),
        ("parent_run_id", _text),
        ("selection", _text),  # the part of the input that it planned: all, new, failed
        ("status", _text),
        ("exit_code", pa.int32()),
        ("simulated", pa.bool_()),
        ("fingerprint", _text),
        ("model", _text),
        ("weights_digest", _text),
        ("architecture", _text),
        ("preprocessing", _text),
        ("precision", _text),
        ("height", pa.int32()),
        ("width", pa.int32()),
        ("chd_threshold", _number),
        ("batch_size", pa.int32()),
        ("package_version", _text),
        ("versions", pa.map_(pa.string(), pa.string())),
        ("devices", pa.list_(pa.string())),
        ("started_at", pa.timestamp("us")),  # UTC; a time zone in the type would need another library
        ("ended_at", pa.timestamp("us")),
        ("submissions", pa.int32()),
        ("scoring_s", _number),
        ("images_per_s", _number),
        ("frame_rule", _text),
        ("subjects_given", pa.bool_()),
        ("n_planned_studies", _count),
        ("n_planned_subjects", _count),
        ("n_planned_images", _count),
        ("n_planned_masks", _count),
        ("n_shards", _count),
        ("n_excluded", _count),
        ("n_rows", _count),  # this and all below are null until the run has ended
        ("n_ok", _count),
        ("n_failed", _count),
        ("n_chd_calls", _count),
        ("failure_counts", _by_name),
        ("reference_status_counts", _by_name),
        ("quality_flag_counts", _by_name),
        ("config", _text),  # JSON, without URIs and secrets
    ]
)
"""The view `runs`."""


def run_rows(records: list[RunRecord]) -> pa.Table:
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
