"""DICOM Segmentation of one scored frame: two binary segments, septum and rest of the heart."""

import warnings

import highdicom
import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian

from diagchd_batch.exports.dicom.objects.derived_uids import ObjectKind, derived_uid
from diagchd_batch.exports.dicom.objects.research_marks import equipment, finish, mark, series_description
from diagchd_batch.exports.dicom.objects.scored_frames import MAKER, ScoredFrame, ScoringModel
from diagchd_batch.exports.dicom.objects.source_object import SourceObject
from diagchd_batch.results.columns import CLASSES

SEGMENTS = (
    ("septum", codes.SCT.InterventricularSeptum, (255, 193, 7)),
    ("heart", codes.SCT.Heart, (0, 188, 212)),
)
"""The segments in the order of their numbers from 1: class name, what it is, and the colour (RGB) it is drawn in."""

SERIES_NUMBER = 9301


def segmentation_uid(model: ScoringModel, source: SourceObject, frame: int) -> str:
    """Return the UID of the segmentation of a frame.

    Args:
        model: What scored.
        source: The object that holds the frame.
        frame: Number of the frame, from 0.
    """
    return derived_uid(model.run_id, source.sop_instance_uid, frame, ObjectKind.SEGMENTATION)


def segmentation(model: ScoringModel, source: SourceObject, scored: ScoredFrame) -> Dataset:
    """Return the segmentation of a frame, with the size of the frame in pixels.

    Args:
        model: What scored.
        source: The object that holds the frame.
        scored: The results of the frame.

    Returns:
        The object, with one frame for each segment, empty ones included.
    """
    height, width = scored.labels.shape
    pixels = np.stack([scored.labels == CLASSES.index(name) for name, _, _ in SEGMENTS], axis=-1).astype(np.uint8)
    algorithm = highdicom.AlgorithmIdentificationSequence(
        model.name, codes.DCM.ArtificialIntelligence, model.software_version, source=MAKER
    )
    descriptions = []
    for number, (name, kind, colour) in enumerate(SEGMENTS, start=1):
        description = highdicom.seg.SegmentDescription(
            number,
            "heart without septum" if name == "heart" else name,
            codes.SCT.AnatomicalStructure,
            kind,
            highdicom.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm,
            tracking_uid=derived_uid(model.run_id, source.sop_instance_uid, scored.frame, name),
            tracking_id=f"{name} of frame {scored.frame + 1}",
            display_color=highdicom.color.CIELabColor.from_rgb(*colour),
        )
        descriptions.append(description)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of patients, which are the source's
        dataset = highdicom.seg.Segmentation(
            [source.as_single_frame(height, width)],
            pixels[np.newaxis],
            highdicom.seg.SegmentationTypeValues.BINARY,
            descriptions,
            derived_uid(model.run_id, source.series_uid, ObjectKind.SEGMENTATION),
            SERIES_NUMBER,
            segmentation_uid(model, source, scored.frame),
            source.instance_number(scored.frame),
            MAKER,
            model.name,
            model.software_version,
            model.weights_digest,
            content_label="FOUR_CHAMBER",
            content_description=f"{mark(model)}: septum and heart"[:64],
            omit_empty_frames=False,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            series_description=series_description(model, "septum and heart"),
            contributing_equipment=equipment(model),
        )
    dataset.PatientOrientation = source.header.get("PatientOrientation") or ""
    source.refer_to_frame(dataset, scored.frame)
    _set_dimension_uid(dataset, derived_uid(model.run_id, source.sop_instance_uid, scored.frame, "dimensions"))
    finish(dataset, model, source)
    return dataset


def _set_dimension_uid(dataset: Dataset, uid: str) -> None:
    """Replace the UID of the dimensions, which highdicom draws at random."""
    for item in dataset.get("DimensionOrganizationSequence", []):
        item.DimensionOrganizationUID = uid
    for item in dataset.get("DimensionIndexSequence", []):
        item.DimensionOrganizationUID = uid
