"""The columns of `scores` and `predictions`: contracts that people query for years. Extend them, don't break them.

To add a column, append its declaration to the group that it belongs to, with `since=SCHEMA_VERSION + 1` written as a
number, and compute it in `scoring.worker.score_rows`. Everything else follows: the schema version, the writer, readers
(null in older tables), `verify`, the views of `query` and the table in docs/tables.md, which
`python -m tools.column_tables` writes.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pyarrow as pa

from diagchd_batch.images.regions.frame_region import RegionSource
from diagchd_batch.images.spacing.spacing_status import SpacingStatus
from diagchd_batch.results.columns.declaration import Column, Presence, StoredMasks, arrow_schema

CLASSES = ("background", "septum", "heart")
"""Names of the label values 0, 1, 2. *Heart* is the rest of the heart, without the septum."""

WHOLE_HEART = "whole_heart"
"""Septum and heart together."""

SURFACE_CLASSES = ("septum", "heart", WHOLE_HEART)
"""The classes for which distances between surfaces are computed."""

STATUS_OK = "ok"
STATUS_FAILED = "failed"

REFERENCE_OK = "ok"
"""`reference_status` of a usable reference mask. Null: none was planned. Anything else is a `mask_*` failure code."""

_VERSION_1_CATEGORY = pa.dictionary(pa.int32(), pa.string())
_TEXT, _COUNT, _NUMBER = pa.string(), pa.int32(), pa.float32()
_GRID = "pixels of the model's grid"
_CODING = f"class numbers ({', '.join(f'{value} {name}' for value, name in enumerate(CLASSES))})"


def _category(name: str, description: str, presence: Presence, *, nullable: bool = True) -> Column:
    """Declare a column with few distinct texts. Engines cannot group or join Arrow dictionaries that differ by file."""
    return Column(
        name, _TEXT, description, presence, nullable=nullable, repeats=True, version_1_type=_VERSION_1_CATEGORY
    )


def _pixels(value: int) -> Callable[[StoredMasks], int]:
    return lambda masks: int(np.count_nonzero(masks.predicted == value))


def _reference_pixels(value: int) -> Callable[[StoredMasks], int | None]:
    return lambda masks: None if masks.reference is None else int(np.count_nonzero(masks.reference == value))


def _common_pixels(name: str) -> Callable[[StoredMasks], int | None]:
    def recount(masks: StoredMasks) -> int | None:
        if masks.reference is None:
            return None
        if name == WHOLE_HEART:
            return int(np.count_nonzero((masks.predicted > 0) & (masks.reference > 0)))
        value = CLASSES.index(name)
        return int(np.count_nonzero((masks.predicted == value) & (masks.reference == value)))

    return recount


_IDENTITY = (
    Column("subject_id", _TEXT, "token of the subject (the pregnancy)", Presence.ALWAYS, nullable=False, repeats=True),
    Column("study_id", _TEXT, "token of the study", Presence.ALWAYS, nullable=False, repeats=True, looked_up=True),
    Column("image_id", _TEXT, "token of the image file", Presence.ALWAYS, nullable=False, looked_up=True),
    Column("frame", _COUNT, "number of the frame in its file, from 0; null: the file failed as a whole",
           Presence.OPENED, minimum=0),
    Column("source_frames", _COUNT, "number of frames in the file", Presence.OPENED, repeats=True, minimum=1),
    _category("status", "`ok` or `failed`", Presence.ALWAYS, nullable=False),
    _category("error_code", "why the frame or file failed", Presence.FAILED),
    Column("frame_time_ms", pa.float64(), "time of the frame in its clip, from the first frame on",
           Presence.WHERE_KNOWN, unit="milliseconds", minimum=0, since=3,
           null_when="stills, clips whose file says no times, and failed rows"),
)  # fmt: skip

_CALIBRATED = "failed rows, and rows whose `spacing_status` is not `ok`"

_REGION = (
    Column("region_top", _COUNT, "first row of the part of the frame that was scored", unit="source pixels",
           repeats=True, minimum=0, since=3),
    Column("region_left", _COUNT, "first column of that part", unit="source pixels", repeats=True, minimum=0, since=3),
    Column("region_height", _COUNT, "height of that part", unit="source pixels", repeats=True, minimum=1, since=3),
    Column("region_width", _COUNT, "width of that part", unit="source pixels", repeats=True, minimum=1, since=3),
    Column("region_source", _TEXT, "how that part was determined: the `whole` frame, `tagged` in the file's header, or "
           "`found` in the pixels", repeats=True, values=tuple(source.value for source in RegionSource), since=3),
)  # fmt: skip

_MILLIMETRES = (
    Column("spacing_status", _TEXT, "`ok` if the size of a pixel is known and holds for the mask, or why not",
           repeats=True, values=tuple(status.value for status in SpacingStatus), since=3),
    *[
        Column(f"pixel_{side}_mm", pa.float64(), f"{side} of a source pixel", unit="mm", minimum=0, repeats=True,
               presence=Presence.WHERE_KNOWN, null_when=_CALIBRATED, since=3)
        for side in ("height", "width")
    ],
    *[
        Column(f"{name}_area_mm2", _NUMBER, f"area of {of_what} in the predicted mask", unit="mm²", minimum=0,
               presence=Presence.WHERE_KNOWN, null_when=_CALIBRATED, since=3)
        for name, of_what in (("heart", "class heart, which is the heart without its septum,"),
                              ("septum", "class septum"), ("whole_heart", "septum and heart together"))
    ],
    Column("septum_length_mm", _NUMBER, "maximum Feret diameter of the largest piece of the septum in the predicted "
           "mask", unit="mm", minimum=0, presence=Presence.WHERE_KNOWN,
           null_when=f"{_CALIBRATED}, or whose mask has no septum", since=3),
)  # fmt: skip

_MEASURES = (
    Column("chd_probability", _NUMBER, "probability of congenital heart disease", minimum=0, maximum=1),
    Column("chd_call", pa.bool_(), "whether the probability reaches the model card's threshold"),
    *[
        Column(
            f"{name}_px", _COUNT, f"pixels of class {name} in the predicted mask", unit=_GRID, recount=_pixels(value)
        )
        for value, name in enumerate(CLASSES)
    ],
    Column(
        "chd_probability_sd",
        _NUMBER,
        "standard deviation of the probabilities of an ensemble's members, whose mean is `chd_probability`; the "
        "divisor is the number of members",
        Presence.WHERE_KNOWN,
        minimum=0,
        maximum=1,
        since=3,
        null_when="failed rows, and models with one member",
    ),
    Column(
        "mask_disagreement",
        _NUMBER,
        "of the pixels that any member of an ensemble calls septum or heart, the share on which their classes differ",
        Presence.WHERE_KNOWN,
        minimum=0,
        maximum=1,
        since=3,
        null_when="failed rows, and models with one member",
    ),
    Column(
        "view_score",
        _NUMBER,
        "how much the image looks like the four-chamber views of the model's training; 0.5 is the model's threshold",
        Presence.WHERE_KNOWN,
        minimum=0,
        maximum=1,
        since=3,
        null_when="failed rows, and models without a view check",
    ),
    Column(
        "evaluable",
        pa.bool_(),
        "whether `view_score` is 0.5 or more; a call on an image that is not evaluable means nothing",
        Presence.WHERE_KNOWN,
        since=3,
        null_when="failed rows, and models without a view check",
    ),
    Column("quality_flags", pa.list_(_TEXT), "heuristic warnings about the predicted mask and the probability"),
    Column(
        "source_height", _COUNT, "height of the frame as it was read", unit="source pixels", repeats=True, minimum=1
    ),
    Column("source_width", _COUNT, "width of the frame as it was read", unit="source pixels", repeats=True, minimum=1),
    Column(
        "colour_from",
        _TEXT,
        "what decided how the colours are stored: `declared` by the file's header, or `data`, "
        "if the pixels contradicted it",
        Presence.WHERE_KNOWN,
        repeats=True,
        since=3,
        null_when="failed rows, and formats other than DICOM",
    ),
    *_REGION,
    *_MILLIMETRES,
    Column(
        "fold",
        _COUNT,
        "fold of a training that held the study out and whose model scored it, from 0; scores of different folds have "
        "different scales and must not be ranked together",
        Presence.WHERE_KNOWN,
        repeats=True,
        minimum=0,
        since=3,
        null_when="runs other than the out-of-fold predictions of a training",
    ),
)

_USABLE = Presence.USABLE_REFERENCE
_WITHOUT_REFERENCE = "failed rows, and rows without a usable reference mask"

_REFERENCE = (
    _category("reference_status", "`ok`, or why the reference mask cannot be used", Presence.WITH_REFERENCE),
    Column("seg_loss", _NUMBER, "cross-entropy, mean over pixels, plus one minus `soft_dice`", _USABLE, unit="nats"),
    Column("soft_dice", _NUMBER, "soft Dice coefficient of prediction and reference, mean over the classes", _USABLE),
    *[
        Column(f"reference_px_{name}", _COUNT, f"pixels of class {name} in the reference mask", _USABLE, unit=_GRID,
               recount=_reference_pixels(value))
        for value, name in enumerate(CLASSES)
    ],
    *[
        Column(f"intersection_px_{name}", _COUNT, f"pixels of class {name} in both masks", _USABLE, unit=_GRID,
               recount=_common_pixels(name))
        for name in (*CLASSES, WHOLE_HEART)
    ],
    *[
        Column(f"hd95_source_px_{name}", _NUMBER,
               f"95th percentile of the surface distances of {name}", _USABLE, unit="source pixels")
        for name in SURFACE_CLASSES
    ],
    *[
        Column(f"assd_source_px_{name}", _NUMBER, f"mean of the surface distances of {name}", _USABLE,
               unit="source pixels")
        for name in SURFACE_CLASSES
    ],
    *[
        Column(f"{metric}_mm_{name}", _NUMBER, f"{what} of the surface distances of {name}", _USABLE, unit="mm",
               minimum=0, null_when=f"{_WITHOUT_REFERENCE}, whose `spacing_status` is not `ok`, whose reference lies "
               "outside the calibrated region, or where one of the masks lacks the class", since=3)
        for metric, what in (("hd95", "95th percentile"), ("assd", "mean"))
        for name in SURFACE_CLASSES
    ],
)  # fmt: skip

_MASKS = (
    Column("mask_png", pa.binary(), f"predicted mask: 8-bit grey PNG of {_CODING} on the model's grid",
           compressed=False),
    Column("reference_png", pa.binary(), f"reference mask: 8-bit grey PNG of {_CODING} on the model's grid", _USABLE,
           compressed=False),
)  # fmt: skip

SCORE_COLUMNS = (*_IDENTITY, *_MEASURES, *_REFERENCE, *_MASKS)
"""`scores/run_id=R/shard-NNNNN.parquet`: one row a planned frame, or one row with null `frame` for a failed file."""

MASK_COLUMNS = tuple(column.name for column in _MASKS)

PREDICTION_COLUMNS = (
    *[column for column in SCORE_COLUMNS if column.name not in MASK_COLUMNS],
    Column("shard", _COUNT, "shard whose score file holds the row and its masks", Presence.ALWAYS, nullable=False),
)
"""`predictions/run_id=R/part-NNNNN.parquet`: the same rows without the masks."""

RUN_COLUMN = Column("run", _TEXT, "id of the run", Presence.ALWAYS, nullable=False, repeats=True, since=2)
"""The first column of each file. `results.columns.run_column` says why its name is not `run_id`."""

SCORES = arrow_schema(SCORE_COLUMNS)
PREDICTIONS = arrow_schema(PREDICTION_COLUMNS)

SCHEMA_VERSION = max(RUN_COLUMN.since, *(column.since for column in SCORE_COLUMNS))
"""The version that this program writes. It reads, verifies and continues every version since 1."""


def score_columns_of_version(version: int) -> tuple[Column, ...]:
    """Return the columns of a score file that was written with schema version `version`."""
    columns = tuple(column for column in SCORE_COLUMNS if column.since <= version)
    if version > 1:
        return columns
    return tuple(replace(column, type=column.version_1_type or column.type) for column in columns)
