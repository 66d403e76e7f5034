"""The objects of one scored image: a segmentation for each frame, a report, and captures on request."""

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from pydicom.dataset import Dataset

from diagchd_batch.errors import ItemError
from diagchd_batch.exports.chosen_images import ChosenImage, Row
from diagchd_batch.exports.dicom.objects.derived_uids import ObjectKind, derived_uid
from diagchd_batch.exports.dicom.objects.measurement_report import measurement_report, report_uid
from diagchd_batch.exports.dicom.objects.scored_frames import ScoringModel, scored_frame
from diagchd_batch.exports.dicom.objects.secondary_capture import capture_uid, secondary_capture
from diagchd_batch.exports.dicom.objects.segmentation import segmentation, segmentation_uid
from diagchd_batch.exports.dicom.objects.source_object import SourceObject
from diagchd_batch.exports.dicom.storing.destination import ObjectIdentity
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits


@dataclass(frozen=True)
class PlannedObject:
    """An object that can be made. `make` returns it as a whole file."""

    identity: ObjectIdentity
    make: Callable[[], bytes]


def objects_of_image(
    model: ScoringModel, image: ChosenImage, data: bytes, limits: DecodeLimits, *, captures: bool
) -> Iterator[PlannedObject]:
    """Yield the objects of an image. None is made before it is asked for.

    Args:
        model: What scored.
        image: The image and its rows.
        data: Its file, a DICOM object.
        limits: Limits for decoding its frames.
        captures: Whether to make Secondary Captures.

    Raises:
        ItemError: The source's header cannot be used.
    """
    source = SourceObject(data)

    def identity(kind: ObjectKind, sop_uid: str, frame: int | None) -> ObjectIdentity:
        series_uid = derived_uid(model.run_id, source.series_uid, kind)
        return ObjectIdentity(
            image.run_id, image.study_id, image.image_id, frame, kind, source.study_uid, series_uid, sop_uid
        )

    for row in image.rows:
        frame = row["frame"]
        uid = segmentation_uid(model, source, frame)
        yield PlannedObject(identity(ObjectKind.SEGMENTATION, uid, frame), partial(_segmentation, model, source, row))
        if captures:
            uid = capture_uid(model, source, frame)
            make = partial(_capture, model, source, row, data, limits)
            yield PlannedObject(identity(ObjectKind.CAPTURE, uid, frame), make)
    uid = report_uid(model, source, [row["frame"] for row in image.rows])
    yield PlannedObject(identity(ObjectKind.REPORT, uid, None), partial(_report, model, source, image.rows))


def _segmentation(model: ScoringModel, source: SourceObject, row: Row) -> bytes:
    return _file(lambda: segmentation(model, source, scored_frame(row)))


def _capture(model: ScoringModel, source: SourceObject, row: Row, data: bytes, limits: DecodeLimits) -> bytes:
    frame_hwc_u8 = open_image(data, limits).frame(row["frame"])
    return _file(lambda: secondary_capture(model, source, scored_frame(row), frame_hwc_u8))


def _report(model: ScoringModel, source: SourceObject, rows: Sequence[Row]) -> bytes:
    return _file(lambda: measurement_report(model, source, [scored_frame(row) for row in rows]))


def _file(make: Callable[[], Dataset]) -> bytes:
    """Return an object as a file. Raise ItemError where a value of the source makes it impossible."""
    buffer = io.BytesIO()
    try:
        make().save_as(buffer, enforce_file_format=True)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise ItemError(
            FailureCode.DECODE_ERROR, f"the header has a value that no new object can take over: {error}"
        ) from error
    return buffer.getvalue()
