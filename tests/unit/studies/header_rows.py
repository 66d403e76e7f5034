"""Rows of the index of headers, for tests of planning."""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any
from zlib import crc32

import pyarrow as pa

BATCH_ROWS = 10_000

SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("key", "etag", "kind", "study_uid", "sop_uid", "sop_class_uid", "modality")]
    + [("size_bytes", pa.int64()), ("modified_ns", pa.int64()), ("n_frames", pa.int64()), ("study_date", pa.date32())]
    + [(name, pa.string()) for name in ("manufacturer", "patient_id", "issuer_of_patient_id", "mother_id")]
    + [(name, pa.string()) for name in ("accession_number", "body_part", "series_description", "error")]
)


def header(key: str, study: str | None = None, sop: str | None = None, **values: Any) -> dict[str, Any]:
    """Return a row of the index: an ultrasound image of a study, unless `values` say otherwise."""
    row = {
        "key": key,
        "size_bytes": 1_000,
        "modified_ns": 1,
        "kind": "image",
        "study_uid": study,
        "sop_uid": sop if sop or study is None else f"{study}.{crc32(key.encode())}",
        "sop_class_uid": "1.2.840.10008.5.1.4.1.1.6.1",
        "modality": "US",
        "n_frames": 1,
        "manufacturer": "GE Healthcare",
        "study_date": date(2020, 5, 17),
    }
    return {**row, **values}


def batches(rows: Iterable[dict[str, Any]]) -> Iterator[pa.RecordBatch]:
    """Yield the rows as batches of the index."""
    yield from pa.Table.from_pylist(list(rows), SCHEMA).to_batches(BATCH_ROWS)
