"""Checks the rows of one shard against its plan, as they stream by."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from diagchd_batch.errors import VerificationError
from diagchd_batch.failures import FailureCode
from diagchd_batch.images.frames import FrameRule, chosen_frames
from diagchd_batch.results.columns import CLASSES, REFERENCE_OK, SCORES, STATUS_FAILED, STATUS_OK
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.studies.records import PlannedImage

Found = Callable[[ProblemKind, str, str], None]
"""Receives a problem: its kind, the place inside the shard, the detail."""

_REFERENCE_MEASURES = tuple(
    name
    for name in SCORES.names
    if name.startswith(("seg_loss", "soft_dice", "reference_p", "intersection_", "hd95_", "assd_"))
)
_PIXELS = tuple(f"{name}_px" for name in CLASSES)
_MEASURES = ("chd_probability", "chd_call", "quality_flags", "source_height", "source_width", "mask_png", *_PIXELS)


@dataclass(frozen=True, slots=True)
class Expectations:
    """What holds for every row of a run: the model's grid and threshold, the rule for frames."""

    height: int
    width: int
    chd_threshold: float
    frame_rule: FrameRule


@dataclass(slots=True)
class _Seen:
    """What the rows said of one planned image so far."""

    frames: set[int] = field(default_factory=set)
    source_frames: set[int | None] = field(default_factory=set)
    failed_whole: bool = False


class RowAudit:
    """Takes a shard's rows in batches; `finish` tells what the plan still misses.

    Holds the plan of the shard and, per image, its frame numbers; masks only of the batch at hand.
    """

    def __init__(self, planned: Iterable[PlannedImage], expected: Expectations, found: Found) -> None:
        self._planned = {image.image_id: image for image in planned}
        self._expected = expected
        self._found = found
        self._seen: dict[str, _Seen] = {}

    def add(self, batch: pa.RecordBatch) -> None:
        for row in batch.to_pylist():
            image = self._planned.get(row["image_id"])
            place = _place(row["image_id"], row["frame"])
            if image is None:
                self._found(ProblemKind.UNPLANNED_ROW, place, "the plan of this shard has no such image")
                continue
            self._note(row, place)
            if (row["subject_id"], row["study_id"]) != (image.subject_id, image.study_id):
                self._found(ProblemKind.INCONSISTENT_ROW, place, "its subject or study is not the plan's")
            if row["status"] == STATUS_OK:
                self._check_scored(row, image, place)
            else:
                self._check_failed(row, place)

    def finish(self) -> None:
        for image_id, image in self._planned.items():
            seen = self._seen.get(image_id)
            if seen is None:
                self._found(ProblemKind.MISSING_IMAGE, _place(image_id), "it is planned but has no row")
            elif not seen.failed_whole:
                self._check_frames(image, seen)
            elif seen.frames:
                detail = "it failed as a whole, yet has rows of single frames"
                self._found(ProblemKind.INCONSISTENT_ROW, _place(image_id), detail)

    def _note(self, row: Mapping[str, Any], place: str) -> None:
        seen = self._seen.setdefault(row["image_id"], _Seen())
        frame = row["frame"]
        if (frame is None and seen.failed_whole) or frame in seen.frames:
            self._found(ProblemKind.DUPLICATE_ROW, place, "more than one row")
        if frame is None:
            seen.failed_whole = True
        else:
            seen.frames.add(frame)
            seen.source_frames.add(row["source_frames"])

    def _check_frames(self, image: PlannedImage, seen: _Seen) -> None:
        place = _place(image.image_id)
        n_frames = next(iter(seen.source_frames))
        if len(seen.source_frames) != 1 or n_frames is None:
            self._found(ProblemKind.INCONSISTENT_ROW, place, "its rows disagree on the number of frames in the file")
            return
        expected = set(chosen_frames(self._expected.frame_rule, image.frames, n_frames))
        if missing := sorted(expected - seen.frames):
            self._found(ProblemKind.MISSING_FRAME, place, f"no row for {_list(missing)} of {n_frames} frames")
        if unplanned := sorted(seen.frames - expected):
            self._found(ProblemKind.UNPLANNED_ROW, place, f"rows for {_list(unplanned)}, which are not to be scored")

    def _check_failed(self, row: Mapping[str, Any], place: str) -> None:
        if row["status"] != STATUS_FAILED or row["error_code"] not in set(FailureCode):
            detail = f"status {row['status']} with error code {row['error_code']}"
            self._found(ProblemKind.INCONSISTENT_ROW, place, detail)
        if filled := [name for name in (*_MEASURES, "reference_status", *_REFERENCE_MEASURES) if row[name] is not None]:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"failed, yet with {_list(filled)}")

    def _check_scored(self, row: Mapping[str, Any], image: PlannedImage, place: str) -> None:
        if empty := [name for name in (*_MEASURES, "frame", "source_frames") if row[name] is None]:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"scored, yet without {_list(empty)}")
            return
        if row["error_code"] is not None:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"scored, yet with error code {row['error_code']}")
        if min(row["source_height"], row["source_width"]) < 1 or not 0 <= row["frame"] < row["source_frames"]:
            detail = "the source's size, or the frame's number among the file's frames, cannot be"
            self._found(ProblemKind.INCONSISTENT_ROW, place, detail)
        self._check_probability(row, place)
        mask = self._decoded(row["mask_png"], place)
        if mask is not None:
            self._check_counts(row, _PIXELS, _class_counts(mask), place)
        self._check_reference(row, image, mask, place)

    def _check_probability(self, row: Mapping[str, Any], place: str) -> None:
        probability = row["chd_probability"]
        if not (math.isfinite(probability) and 0.0 <= probability <= 1.0):
            self._found(ProblemKind.WRONG_PROBABILITY, place, f"a probability of {probability}")
        elif row["chd_call"] != (probability >= self._expected.chd_threshold):
            detail = f"called {row['chd_call']} at {probability:.6f}, threshold {self._expected.chd_threshold}"
            self._found(ProblemKind.WRONG_PROBABILITY, place, detail)

    def _check_reference(
        self, row: Mapping[str, Any], image: PlannedImage, mask: np.ndarray | None, place: str
    ) -> None:
        status = row["reference_status"]
        if (status is None) != (image.mask_uri is None):
            planned = "a reference mask" if image.mask_uri else "no reference mask"
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"{planned} is planned, its status is {status}")
        if status != REFERENCE_OK:
            if filled := [name for name in _REFERENCE_MEASURES if row[name] is not None]:
                self._found(ProblemKind.INCONSISTENT_ROW, place, f"no usable reference, yet with {_list(filled)}")
            return
        if row["reference_png"] is None:
            self._found(ProblemKind.INCONSISTENT_ROW, place, "a usable reference, yet none is stored")
            return
        reference = self._decoded(row["reference_png"], place)
        if reference is None:
            return
        self._check_counts(row, [f"reference_px_{name}" for name in CLASSES], _class_counts(reference), place)
        if mask is not None:
            common = [int(np.count_nonzero((mask == k) & (reference == k))) for k in range(len(CLASSES))]
            common.append(int(np.count_nonzero((mask > 0) & (reference > 0))))
            names = [f"intersection_px_{name}" for name in (*CLASSES, "whole_heart")]
            self._check_counts(row, names, common, place)

    def _decoded(self, png: bytes, place: str) -> np.ndarray | None:
        try:
            mask = decode_mask(png)
        except VerificationError as error:
            self._found(ProblemKind.DAMAGED_MASK, place, str(error))
            return None
        if mask.shape != (self._expected.height, self._expected.width) or mask.max() >= len(CLASSES):
            detail = f"a mask of {mask.shape[0]} x {mask.shape[1]} with values up to {mask.max()}"
            self._found(ProblemKind.DAMAGED_MASK, place, detail)
            return None
        return mask

    def _check_counts(self, row: Mapping[str, Any], names: Iterable[str], counts: Iterable[int], place: str) -> None:
        for name, count in zip(names, counts, strict=True):
            if row[name] != count:
                detail = f"{name} is {row[name]}, the stored masks have {count}"
                self._found(ProblemKind.WRONG_PIXEL_COUNTS, place, detail)


def _class_counts(mask: np.ndarray) -> list[int]:
    septum, heart = (int(np.count_nonzero(mask == label)) for label in (1, 2))
    return [mask.size - septum - heart, septum, heart]


def _place(image_id: str, frame: int | None = None) -> str:
    return f"image {image_id}" if frame is None else f"image {image_id}, frame {frame}"


def _list(values: Iterable[object], shown: int = 5) -> str:
    names = [str(value) for value in values]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
