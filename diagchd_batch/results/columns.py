"""The explicit Parquet schemas: contracts that people query for years. Extend them, don't break them."""

import pyarrow as pa

SCHEMA_VERSION = 1

CLASSES = ("background", "septum", "heart")
"""Names of the label values 0, 1, 2. *Heart* is the rest of the heart, without the septum."""

SURFACE_CLASSES = ("septum", "heart", "whole_heart")
"""Classes with surface distances; the whole heart is septum and heart together."""

STATUS_OK = "ok"
STATUS_FAILED = "failed"

REFERENCE_OK = "ok"
"""`reference_status` of a usable reference mask; null: none was planned; else a `mask_*` failure code."""

_dictionary = pa.dictionary(pa.int32(), pa.string())


def _field(name: str, kind: pa.DataType, *, nullable: bool = True) -> pa.Field:
    return pa.field(name, kind, nullable=nullable)


_IDENTITY = [
    _field("subject_id", pa.string(), nullable=False),
    _field("study_id", pa.string(), nullable=False),
    _field("image_id", pa.string(), nullable=False),
    _field("frame", pa.int32()),  # null: the file failed as a whole
    _field("source_frames", pa.int32()),  # frames in the file; null where it could not be opened
    _field("status", _dictionary, nullable=False),
    _field("error_code", _dictionary),
]

_MEASURES = [
    _field("chd_probability", pa.float32()),
    _field("chd_call", pa.bool_()),
    *[_field(f"{name}_px", pa.int32()) for name in ("background", "septum", "heart")],
    _field("quality_flags", pa.list_(pa.string())),
    _field("source_height", pa.int32()),
    _field("source_width", pa.int32()),
]

_REFERENCE = [
    _field("reference_status", _dictionary),
    _field("seg_loss", pa.float32()),
    _field("soft_dice", pa.float32()),
    *[_field(f"reference_px_{name}", pa.int32()) for name in CLASSES],
    *[_field(f"intersection_px_{name}", pa.int32()) for name in (*CLASSES, "whole_heart")],
    *[_field(f"hd95_source_px_{name}", pa.float32()) for name in SURFACE_CLASSES],
    *[_field(f"assd_source_px_{name}", pa.float32()) for name in SURFACE_CLASSES],
]

_MASKS = [_field("mask_png", pa.binary()), _field("reference_png", pa.binary())]

MASK_COLUMNS = tuple(field.name for field in _MASKS)

SCORES = pa.schema([*_IDENTITY, *_MEASURES, *_REFERENCE, *_MASKS])
"""`scores/run_id=R/shard-NNNNN.parquet`: one row a planned frame, or one with null frame for a failed file."""

PREDICTIONS = pa.schema(
    [*[field for field in SCORES if field.name not in MASK_COLUMNS], _field("shard", pa.int32(), nullable=False)]
)
"""`predictions/run_id=R/part-NNNNN.parquet`: the same rows without the masks, and the shard that holds each."""

SOURCES = pa.schema(
    [
        _field("image_id", pa.string(), nullable=False),
        _field("uri", pa.string(), nullable=False),
        _field("sha256", pa.string()),  # of the file as read; null where it could not be read
        _field("mask_uri", pa.string()),
        _field("mask_sha256", pa.string()),
        _field("error", pa.string()),  # the full text, which may name files
    ]
)
"""`private/…/sources/…`: what each image was read from. Identified; never outside the private tree."""


def table_metadata(*, run_id: str, fingerprint: str, simulated: bool) -> dict[bytes, bytes]:
    """Key-value metadata of every table of a run. Holds no time, date or host, so that files stay byte-identical."""
    values = {
        "diagchd_batch.schema_version": str(SCHEMA_VERSION),
        "diagchd_batch.run_id": run_id,
        "diagchd_batch.fingerprint": fingerprint,
    }
    if simulated:
        values["diagchd_batch.data"] = "SIMULATED"
    return {key.encode(): value.encode() for key, value in values.items()}
