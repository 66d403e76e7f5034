"""Secondary Capture of one scored frame, with the outline of its mask, for viewers that cannot show segmentations."""

import warnings

import highdicom
import numpy as np
from highdicom.sr import CodedConcept
from PIL import Image, ImageDraw, ImageFont
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian
from scipy import ndimage

from diagchd_batch.exports.dicom.objects.derived_uids import ObjectKind, derived_uid
from diagchd_batch.exports.dicom.objects.research_marks import equipment, finish, mark, series_description
from diagchd_batch.exports.dicom.objects.scored_frames import MAKER, ScoredFrame, ScoringModel
from diagchd_batch.exports.dicom.objects.segmentation import SEGMENTS
from diagchd_batch.exports.dicom.objects.source_object import SourceObject
from diagchd_batch.results.columns import CLASSES

SERIES_NUMBER = 9303

_LINE_SHARE = 1 / 300
"""Width of an outline as a share of the frame's smaller side."""

_TEXT_SHARE = 1 / 32
_SMALLEST_TEXT_PX = 8
_BAND = (20, 20, 20)
_TEXT = (235, 235, 235)

_ANY_ORIENTATION = ("L", "F")
"""highdicom wants one. The source's replaces it, which may be empty."""


def capture_uid(model: ScoringModel, source: SourceObject, frame: int) -> str:
    """Return the UID of the capture of a frame.

    Args:
        model: What scored.
        source: The object that holds the frame.
        frame: Number of the frame, from 0.
    """
    return derived_uid(model.run_id, source.sop_instance_uid, frame, ObjectKind.CAPTURE)


def secondary_capture(
    model: ScoringModel, source: SourceObject, scored: ScoredFrame, frame_hwc_u8: np.ndarray
) -> Dataset:
    """Return a picture of a frame with the outlines of septum and heart, and a band with its marks below.

    Args:
        model: What scored.
        source: The object that holds the frame.
        scored: The results of the frame.
        frame_hwc_u8: The frame as it was scored, uint8 [height, width, 3].
    """
    header = source.as_single_frame(*scored.labels.shape)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of patients, which are the source's
        dataset = highdicom.sc.SCImage.from_ref_dataset(
            ref_dataset=header,
            pixel_array=rendered(model, scored, frame_hwc_u8),
            photometric_interpretation=highdicom.PhotometricInterpretationValues.RGB,
            bits_allocated=8,
            coordinate_system=highdicom.CoordinateSystemNames.PATIENT,
            series_instance_uid=derived_uid(model.run_id, source.series_uid, ObjectKind.CAPTURE),
            series_number=SERIES_NUMBER,
            sop_instance_uid=capture_uid(model, source, scored.frame),
            instance_number=source.instance_number(scored.frame),
            manufacturer=MAKER,
            manufacturer_model_name=model.name,
            software_versions=model.software_version,
            device_serial_number=model.weights_digest,
            series_description=series_description(model, "outlines"),
            patient_orientation=_ANY_ORIENTATION,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            contributing_equipment=equipment(model),
        )
    dataset.copy_patient_and_study_information(header)
    _add_derivation(dataset, model, source)
    source.refer_to_frame(dataset, scored.frame)
    finish(dataset, model, source)
    return dataset


def _add_derivation(dataset: Dataset, model: ScoringModel, source: SourceObject) -> None:
    """Say what the picture was made from, and that whatever is burned into the source is in it."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.sop_class_uid
    reference.ReferencedSOPInstanceUID = source.sop_instance_uid
    reference.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(codes.DCM.SourceImageForImageProcessingOperation)
    ]
    dataset.PatientOrientation = source.header.get("PatientOrientation") or ""
    dataset.BodyPartExamined = "HEART"  # without it, the side of the body would be required
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    dataset.SourceImageSequence = [reference]
    dataset.DerivationDescription = f"{mark(model)}. Outlines of the predicted mask, drawn on the source image."
    dataset.BurnedInAnnotation = source.header.get("BurnedInAnnotation") or "YES"
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if source.header.get(keyword):
            setattr(dataset, keyword, source.header[keyword].value)


def rendered(model: ScoringModel, scored: ScoredFrame, frame_hwc_u8: np.ndarray) -> np.ndarray:
    """Draw the outlines on a frame, and add a band below it that says what the picture is.

    Args:
        model: What scored.
        scored: The results of the frame.
        frame_hwc_u8: The frame, uint8 [height, width, 3].

    Returns:
        uint8 [height + band, width, 3]. The frame's pixels are the source's wherever no outline lies.
    """
    height, width = scored.labels.shape
    picture = frame_hwc_u8.copy()
    line = max(1, round(min(height, width) * _LINE_SHARE))
    whole = scored.labels > 0
    for name, _, colour in SEGMENTS:
        area = scored.labels == CLASSES.index(name)
        # The septum lies in the heart: only the outer border of both together is the heart's outline.
        picture[_border(whole if name == "heart" else area, line)] = colour
    return np.concatenate([picture, _band(model, scored, width, min(height, width))])


def _border(area: np.ndarray, width_px: int) -> np.ndarray:
    """Return the pixels of an area that are at most `width_px` from its edge. The picture's edge is no edge."""
    return area & ~ndimage.binary_erosion(area, iterations=width_px, border_value=1)


def _band(model: ScoringModel, scored: ScoredFrame, width: int, side: int) -> np.ndarray:
    size = max(_SMALLEST_TEXT_PX, round(side * _TEXT_SHARE))
    lines = [
        f"{mark(model)}: not for diagnosis",
        f"{model.name}, probability of CHD {scored.chd_probability:.3f}",
        *([f"flags: {', '.join(scored.quality_flags)}"] if scored.quality_flags else []),
    ]
    font = ImageFont.load_default(size)
    pad = size // 2
    while size > _SMALLEST_TEXT_PX and max(map(font.getlength, lines)) + 2 * pad > width:
        size -= 1
        font = ImageFont.load_default(size)
    step = round(size * 1.35)
    band = Image.new("RGB", (width, step * (len(lines) + 1) + 2 * pad), _BAND)
    draw = ImageDraw.Draw(band)
    for number, text in enumerate(lines):
        draw.text((pad, pad + number * step), text, fill=_TEXT, font=font)
    x, y = pad, pad + len(lines) * step
    for name, _, colour in SEGMENTS:
        draw.rectangle((x, y + size * 0.3, x + size, y + size), fill=colour)
        x += round(size * 1.5)
        label = "heart with septum" if name == "heart" else name
        draw.text((x, y), label, fill=_TEXT, font=font)
        x += round(draw.textlength(label, font=font)) + size
    return np.asarray(band)
