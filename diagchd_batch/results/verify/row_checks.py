"""Checks the rows of one shard against its plan and the declarations of the columns, as the rows stream by."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from diagchd_batch.errors import VerificationError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.frames import FrameRule, chosen_frames
from diagchd_batch.results.columns import (
    CLASSES,
    REFERENCE_OK,
    SCORE_COLUMNS,
    STATUS_FAILED,
    STATUS_OK,
    Column,
    Presence,
    StoredMasks,
)
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.results.verify.millimetre_checks import millimetre_problem
from diagchd_batch.studies.plan.planned_images import PlannedImage

Found = Callable[[ProblemKind, str, str], None]
"""Receives a problem: its kind, the place inside the shard, the detail."""

_FAILURE_CODES = frozenset(FailureCode)

_RANGE_KINDS = {"chd_probability": ProblemKind.WRONG_PROBABILITY}
"""The kind of problem where a column's value is out of range; other columns make the row inconsistent."""


@dataclass(frozen=True, slots=True)
class Expectations:
    """What holds for every row of a run: the model's grid and decision threshold, and the rule that chooses frames."""

    height: int
    width: int
    chd_threshold: float
    frame_rule: FrameRule


@dataclass(slots=True)
class _Seen:
    """What the rows said about one planned image so far."""

    frames: set[int] = field(default_factory=set)
    source_frames: set[int | None] = field(default_factory=set)
    failed_whole: bool = False


class RowAudit:
    """Takes a shard's rows in batches and reports problems as it finds them.

    It holds the plan of the shard and the frame numbers of each image. It holds masks only of the current batch.

    Args:
        planned: The images that the plan has in this shard.
        expected: What holds for every row of the run.
        found: Receives each problem.
        columns: The columns that the file has; an older file has fewer.
    """

    def __init__(
        self,
        planned: Iterable[PlannedImage],
        expected: Expectations,
        found: Found,
        columns: Sequence[Column] = SCORE_COLUMNS,
    ) -> None:
        self._planned = {image.image_id: image for image in planned}
        self._expected = expected
        self._found = found
        self._seen: dict[str, _Seen] = {}
        self._filled_if_scored = _names(columns, Presence.SCORED, Presence.OPENED)
        self._null_if_scored = _names(columns, Presence.FAILED)
        self._null_if_failed = _names(columns, Presence.SCORED, Presence.WITH_REFERENCE, Presence.USABLE_REFERENCE)
        self._null_without_reference = _names(columns, Presence.USABLE_REFERENCE)
        self._ranged = [column for column in columns if column.range]
        self._recounted = [column for column in columns if column.recount is not None]

    def add(self, batch: pa.RecordBatch) -> None:
        """Check a batch of rows."""
        for row in batch.to_pylist():
            image = self._planned.get(row["image_id"])
            place = _place(row["image_id"], row["frame"])
            if image is None:
                self._found(ProblemKind.UNPLANNED_ROW, place, "the plan of this shard has no such image")
                continue
            self._note(row, place)
            if (row["subject_id"], row["study_id"]) != (image.subject_id, image.study_id):
                self._found(ProblemKind.INCONSISTENT_ROW, place, "its subject or study is not the plan's")
            if row.get("fold") != image.fold:
                self._found(ProblemKind.INCONSISTENT_ROW, place, "its fold is not the plan's")
            if row["status"] == STATUS_OK:
                self._check_scored(row, image, place)
            else:
                self._check_failed(row, place)

    def finish(self) -> None:
        """Report planned images and frames without a row. Call it after the last batch."""
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
            self._found(
                ProblemKind.UNPLANNED_ROW, place, f"rows for {_list(unplanned)}, which the rule does not choose"
            )

    def _check_failed(self, row: Mapping[str, Any], place: str) -> None:
        if row["status"] != STATUS_FAILED or row["error_code"] not in _FAILURE_CODES:
            detail = f"status {row['status']} with error code {row['error_code']}"
            self._found(ProblemKind.INCONSISTENT_ROW, place, detail)
        if filled := [name for name in self._null_if_failed if row[name] is not None]:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"failed, yet with {_list(filled)}")

    def _check_scored(self, row: Mapping[str, Any], image: PlannedImage, place: str) -> None:
        if empty := [name for name in self._filled_if_scored if row[name] is None]:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"scored, yet without {_list(empty)}")
            return
        if filled := [name for name in self._null_if_scored if row[name] is not None]:
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"scored, yet with {_list(filled)}")
        for column in self._ranged:
            value = row[column.name]
            if value is not None and (problem := column.range_problem(value)):
                self._found(_RANGE_KINDS.get(column.name, ProblemKind.INCONSISTENT_ROW), place, problem)
        if row["frame"] >= row["source_frames"]:
            detail = f"frame {row['frame']} of a file with {row['source_frames']} frames, which count from 0"
            self._found(ProblemKind.INCONSISTENT_ROW, place, detail)
        self._check_call(row, place)
        has_reference = self._check_reference(row, image, place)
        self._check_masks(row, has_reference, place)

    def _check_call(self, row: Mapping[str, Any], place: str) -> None:
        if row["chd_call"] != (row["chd_probability"] >= self._expected.chd_threshold):
            detail = (
                f"called {row['chd_call']} at {row['chd_probability']:.6f}, threshold {self._expected.chd_threshold}"
            )
            self._found(ProblemKind.WRONG_PROBABILITY, place, detail)

    def _check_reference(self, row: Mapping[str, Any], image: PlannedImage, place: str) -> bool:
        """Return whether the row has a stored reference mask."""
        status = row["reference_status"]
        if (status is None) != (image.mask_uri is None):
            planned = "a reference mask" if image.mask_uri else "no reference mask"
            self._found(ProblemKind.INCONSISTENT_ROW, place, f"{planned} is planned, its status is {status}")
        if status != REFERENCE_OK:
            if filled := [name for name in self._null_without_reference if row[name] is not None]:
                self._found(ProblemKind.INCONSISTENT_ROW, place, f"no usable reference, yet with {_list(filled)}")
            return False
        if row["reference_png"] is None:
            self._found(ProblemKind.INCONSISTENT_ROW, place, "a usable reference, yet none is stored")
            return False
        return True

    def _check_masks(self, row: Mapping[str, Any], has_reference: bool, place: str) -> None:
        """Decode the masks, and compare the columns that can be computed from them."""
        predicted = self._decoded(row["mask_png"], place)
        reference = self._decoded(row["reference_png"], place) if has_reference else None
        if predicted is None:
            return
        if problem := millimetre_problem(row, predicted):
            self._found(problem[0], place, problem[1])
        masks = StoredMasks(predicted, reference)
        for column in self._recounted:
            assert column.recount is not None
            if reference is None and column.presence is Presence.USABLE_REFERENCE:
                continue
            count = column.recount(masks)
            if row[column.name] != count:
                detail = f"{column.name} is {row[column.name]}, the stored masks have {count}"
                self._found(ProblemKind.WRONG_PIXEL_COUNTS, place, detail)

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


def _names(columns: Iterable[Column], *presences: Presence) -> list[str]:
    return [column.name for column in columns if column.presence in presences]


def _place(image_id: str, frame: int | None = None) -> str:
    return f"image {image_id}" if frame is None else f"image {image_id}, frame {frame}"


def _list(values: Iterable[object], shown: int = 5) -> str:
    names = [str(value) for value in values]
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
