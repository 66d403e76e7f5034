"""Structured report (TID 1500) of one source object: what the run measured in each of its scored frames."""

import copy
import warnings
from collections.abc import Iterator, Sequence

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from diagchd_batch.exports.dicom.objects.derived_uids import ObjectKind, derived_uid, device_uid
from diagchd_batch.exports.dicom.objects.research_marks import (
    RESEARCH,
    SIMULATED,
    coding_scheme,
    equipment,
    finish,
    own_code,
    series_description,
)
from diagchd_batch.exports.dicom.objects.scored_frames import MAKER, WHOLE_HEART, ScoredFrame, ScoringModel
from diagchd_batch.exports.dicom.objects.segmentation import SEGMENTS, segmentation_uid
from diagchd_batch.exports.dicom.objects.source_object import SourceObject
from diagchd_batch.images.quality import QUALITY_FLAGS
from diagchd_batch.results.columns import CLASSES

SERIES_NUMBER = 9302

_PIXELS = sr.CodedConcept("{pixels}", "UCUM", "pixels")
_PROBABILITY = own_code("chd_probability", "Probability of congenital heart disease")
"""A name of its own, as in `Probability of cancer`. A finding `congenital heart disease` would read as a diagnosis."""

_STUDY_SCORE = own_code("study_score", "Score of the study for congenital heart disease")
_CALIBRATED = own_code("calibrated_probability", "Calibrated probability of congenital heart disease, of the study")
_CALIBRATION = own_code("calibration", "Calibration of the model's package")

_WHOLE_HEART_AREA = own_code("whole_heart_area", "Area of the whole heart, septum included")
"""A name of its own, since the finding `Heart` of a segment leaves the septum out."""

_FLAG = own_code("quality_flag", "Quality flag of the predicted mask")
_INTENDED_USE = own_code("intended_use", "Intended use")
_RESEARCH = own_code("research", f"{RESEARCH}: not for diagnosis")
_INPUT = own_code("input", "Kind of input")
_SIMULATED = own_code("simulated", f"{SIMULATED} data")

Group = sr.MeasurementsAndQualitativeEvaluations | sr.PlanarROIMeasurementsAndQualitativeEvaluations


def report_uid(model: ScoringModel, source: SourceObject, frames: Sequence[int]) -> str:
    """Return the UID of the report of a source object.

    Args:
        model: What scored.
        source: The object.
        frames: The numbers of the frames in the report, from 0.
    """
    return derived_uid(model.run_id, source.sop_instance_uid, ",".join(map(str, frames)), ObjectKind.REPORT)


def measurement_report(model: ScoringModel, source: SourceObject, frames: Sequence[ScoredFrame]) -> Dataset:
    """Return the report of a source object.

    Each frame has a group for the whole heart, with the probability, the area and the quality flags, and a group for
    each segment with its area. The latter refer to the frame's segmentation. If the model's package has a calibration,
    a first group has the score of the study, as it is and calibrated, the same in the reports of all its images.

    Args:
        model: What scored.
        source: The object.
        frames: The results of its frames, at least one.
    """
    height, width = frames[0].labels.shape
    image = source.as_single_frame(height, width)
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=_observer(model)),
        procedure_reported=codes.SCT.FetalEchocardiography,
        imaging_measurements=[
            *_study_group(model, source, frames[0]),
            *(group for scored in frames for group in _groups(model, source, scored)),
        ],
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about names of patients, which are the source's
        dataset = sr.ComprehensiveSR(
            [image, *(_segmentation_reference(model, source, image, scored.frame) for scored in frames)],
            report[0],
            derived_uid(model.run_id, source.series_uid, ObjectKind.REPORT),
            SERIES_NUMBER,
            report_uid(model, source, [scored.frame for scored in frames]),
            source.instance_number(frames[0].frame),
            manufacturer=MAKER,
            is_complete=True,
            is_final=False,
            is_verified=False,
            transfer_syntax_uid=ExplicitVRLittleEndian,
            manufacturer_model_name=model.name,
            software_versions=model.software_version,
            device_serial_number=model.weights_digest,
            series_description=series_description(model, "CHD probability, areas"),
            coding_schemes=[coding_scheme()],
            contributing_equipment=equipment(model),
        )
    source.refer_to_frame(dataset, frames[0].frame)
    finish(dataset, model, source)
    return dataset


def _observer(model: ScoringModel) -> sr.ObserverContext:
    return sr.ObserverContext(
        codes.DCM.Device,
        sr.DeviceObserverIdentifyingAttributes(
            uid=device_uid(model.weights_digest),
            name=f"{model.name}, {RESEARCH}",
            manufacturer_name=MAKER,
            model_name=model.name,
            serial_number=model.weights_digest,
        ),
    )


def _segmentation_reference(model: ScoringModel, source: SourceObject, image: Dataset, frame: int) -> Dataset:
    """Return what highdicom needs of a segmentation to refer to it."""
    reference = copy.deepcopy(image)
    reference.SOPClassUID = SegmentationStorage
    reference.SOPInstanceUID = segmentation_uid(model, source, frame)
    reference.SeriesInstanceUID = derived_uid(model.run_id, source.series_uid, ObjectKind.SEGMENTATION)
    return reference


def _study_group(model: ScoringModel, source: SourceObject, scored: ScoredFrame) -> Iterator[Group]:
    """Yield the group of the study's calibrated probability, if there is one."""
    if model.calibration is None or scored.study_score is None:
        return
    (calibrated,) = model.calibration.apply([scored.study_score])
    method = own_code(f"calibration_{model.calibration.method}", model.calibration.method)
    yield sr.MeasurementsAndQualitativeEvaluations(
        sr.TrackingIdentifier(derived_uid(model.run_id, source.sop_instance_uid, "study"), "study"),
        algorithm_id=_algorithm(model),
        finding_sites=[sr.FindingSite(codes.SCT.Heart)],
        measurements=[
            sr.Measurement(_STUDY_SCORE, round(scored.study_score, 6), codes.UCUM.NoUnits),
            sr.Measurement(_CALIBRATED, round(float(calibrated), 6), codes.UCUM.NoUnits),
        ],
        qualitative_evaluations=[*_purpose(model), sr.QualitativeEvaluation(_CALIBRATION, method)],
        source_images=[sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.sop_instance_uid)],
    )


def _algorithm(model: ScoringModel) -> sr.AlgorithmIdentification:
    return sr.AlgorithmIdentification(
        model.name, model.software_version, [f"run {model.run_id}", f"weights {model.weights_digest}"],
        family=codes.DCM.ArtificialIntelligence, manufacturer=MAKER,
    )  # fmt: skip


def _purpose(model: ScoringModel) -> list[sr.QualitativeEvaluation]:
    purpose = [sr.QualitativeEvaluation(_INTENDED_USE, _RESEARCH)]
    if model.simulated:
        purpose.append(sr.QualitativeEvaluation(_INPUT, _SIMULATED))
    return purpose


def _groups(model: ScoringModel, source: SourceObject, scored: ScoredFrame) -> Iterator[Group]:
    algorithm = _algorithm(model)
    evaluations = _purpose(model)
    evaluations += [
        sr.QualitativeEvaluation(_FLAG, own_code(flag, QUALITY_FLAGS[flag])) for flag in scored.quality_flags
    ]
    frame_numbers = [scored.frame + 1] if source.is_multiframe else None
    yield sr.MeasurementsAndQualitativeEvaluations(
        _tracking(model, source, scored, "frame"),
        algorithm_id=algorithm,
        finding_sites=[sr.FindingSite(codes.SCT.Heart)],
        measurements=[
            sr.Measurement(_PROBABILITY, round(scored.chd_probability, 6), codes.UCUM.NoUnits),
            *_areas(_WHOLE_HEART_AREA, int((scored.labels > 0).sum()), scored.areas_mm2.get(WHOLE_HEART)),
        ],
        qualitative_evaluations=evaluations,
        source_images=[
            sr.SourceImageForMeasurementGroup(source.sop_class_uid, source.sop_instance_uid, frame_numbers)
        ],
    )  # fmt: skip
    for number, (name, kind, _) in enumerate(SEGMENTS, start=1):
        pixels = int((scored.labels == CLASSES.index(name)).sum())
        measurements = _areas(codes.SCT.Area, pixels, scored.areas_mm2.get(name))
        if name == "septum" and scored.septum_length_mm is not None:
            measurements.append(
                sr.Measurement(codes.SCT.Length, round(scored.septum_length_mm, 3), codes.UCUM.Millimeter)
            )
        yield sr.PlanarROIMeasurementsAndQualitativeEvaluations(
            _tracking(model, source, scored, name),
            referenced_segment=_segment(model, source, scored, number, frame_numbers),
            finding_type=kind,
            algorithm_id=algorithm,
            measurements=measurements,
        )


def _areas(name: Code | sr.CodedConcept, pixels: int, area_mm2: float | None) -> list[sr.Measurement]:
    """Return an area in pixels and, where it is known, in square millimetres."""
    areas = [sr.Measurement(name, pixels, _PIXELS)]
    if area_mm2 is not None:
        areas.append(sr.Measurement(name, round(area_mm2, 3), codes.UCUM.SquareMillimeter))
    return areas


def _segment(
    model: ScoringModel, source: SourceObject, scored: ScoredFrame, number: int, frame_numbers: list[int] | None
) -> sr.ReferencedSegmentationFrame:
    image = sr.SourceImageForSegmentation(source.sop_class_uid, source.sop_instance_uid, frame_numbers)
    uid = segmentation_uid(model, source, scored.frame)
    reference = sr.ReferencedSegmentationFrame(SegmentationStorage, uid, number, number, image)
    # The standard allows the number of the frame or of the segment, not both. Here each segment has one frame.
    del reference[0].ReferencedSOPSequence[0].ReferencedSegmentNumber
    return reference


def _tracking(model: ScoringModel, source: SourceObject, scored: ScoredFrame, name: str) -> sr.TrackingIdentifier:
    """Return the identifier of a group. A segment has the one that it has in the segmentation."""
    identifier = f"{name} {scored.frame + 1}" if name == "frame" else f"{name} of frame {scored.frame + 1}"
    uid = derived_uid(model.run_id, source.sop_instance_uid, scored.frame, name)
    return sr.TrackingIdentifier(uid, identifier)
