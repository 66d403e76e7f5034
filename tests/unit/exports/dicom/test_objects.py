"""The objects for a PACS: independent tools accept them, and they say what the run says."""

import copy
import io
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from diagchd_batch.errors import ItemError
from diagchd_batch.exports.dicom.objects.measurement_report import measurement_report
from diagchd_batch.exports.dicom.objects.scored_frames import ScoredFrame, ScoringModel
from diagchd_batch.exports.dicom.objects.secondary_capture import rendered, secondary_capture
from diagchd_batch.exports.dicom.objects.segmentation import segmentation
from diagchd_batch.exports.dicom.objects.source_object import SourceObject
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.statistics.recalibration import Recalibration
from diagchd_batch.studies.header_index.header_columns import ObjectKind
from diagchd_batch.studies.header_index.header_row import row_of_attributes
from tests.support.scored_dicom import CLIP, STILL, drawn_mask, example, file_bytes

MODEL = ScoringModel(
    "0a1b2c3d-4e5f6071-1", "diagchd-compact", "e" * 64, "0.1.0", datetime(2024, 1, 2, 3, 4, tzinfo=UTC), simulated=True
)
SIZE = (240, 320)
SCORED = ScoredFrame(
    0,
    drawn_mask(1, SIZE),
    0.73125,
    ("no_septum", "unsure"),
    {"septum": 12.5, "heart": 100.25, "whole_heart": 112.75},
    septum_length_mm=11.25,
)
KINDS = ["segmentation", "report", "capture"]
CALIBRATED = replace(MODEL, calibration=Recalibration("platt", slope=0.5, intercept=-0.25))


def made(kind: str, source: SourceObject, scored: ScoredFrame = SCORED, model: ScoringModel = MODEL) -> Dataset:
    if kind == "segmentation":
        return segmentation(model, source, scored)
    if kind == "report":
        return measurement_report(model, source, [scored])
    if kind == "calibrated report":
        return measurement_report(CALIBRATED, source, [replace(scored, study_score=0.8)])
    return secondary_capture(model, source, scored, np.full((*scored.labels.shape, 3), 90, np.uint8))


def written(dataset: Dataset, path: Path) -> Path:
    path.write_bytes(file_bytes(dataset))
    return path


def clip_and_still() -> dict[str, tuple[SourceObject, ScoredFrame]]:
    return {
        "clip": (SourceObject(example(CLIP)), replace(SCORED, frame=17)),
        "still": (SourceObject(example(STILL)), SCORED),
    }


@pytest.mark.parametrize("kind", [*KINDS, "calibrated report"])
@pytest.mark.parametrize("name", ["clip", "still"])
def test_dciodvfy_finds_no_error(kind: str, name: str, tmp_path: Path) -> None:
    path = written(made(kind, *clip_and_still()[name]), tmp_path / "object.dcm")
    checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    assert "Error" not in checked.stderr + checked.stdout, checked.stderr
    allowed = (  # docs/dicom.md quotes them
        "Value is zero for value 1 of attribute <Patient's ",  # the source's
        "Retired Person Name form",  # the source's
        "(0x0018,0x1002) UI Device UID",
        "(0x0008,0x1160) IS Referenced Frame Number",
        "this is a Standard Extended SOP Class",
        "Unrecognized defined term <99DIAGCHD>",
    )
    warnings = [line for line in checked.stderr.splitlines() if line.startswith("Warning")]
    assert [line for line in warnings if not any(text in line for text in allowed)] == []


@pytest.mark.parametrize("kind", KINDS)
def test_dcmtk_reads_every_object(kind: str, tmp_path: Path) -> None:
    path = written(made(kind, *clip_and_still()["clip"]), tmp_path / "object.dcm")
    dumped = subprocess.run(["dcmdump", "--quiet", str(path)], capture_output=True, text=True, check=True).stdout
    assert "RESEARCH USE ONLY" in dumped and "SIMULATED" in dumped
    if kind == "report":
        report = subprocess.run(["dsrdump", str(path)], capture_output=True, text=True, check=True).stdout
        assert '"Probability of congenital heart disease")="0.73125"' in report


def test_the_segments_are_the_mask_and_refer_to_the_frame() -> None:
    for source, scored in clip_and_still().values():
        read = highdicom.seg.segread(io.BytesIO(file_bytes(segmentation(MODEL, source, scored))))
        labels = (
            read.get_pixels_by_source_frame(
                source.sop_instance_uid, [scored.frame + 1], combine_segments=True, assert_missing_frames_are_empty=True
            )
            if source.is_multiframe
            else read.get_pixels_by_source_instance([source.sop_instance_uid], combine_segments=True)
        )
        assert np.array_equal(labels[0], scored.labels)
        labels_of_segments = [read.get_segment_description(number).segment_label for number in (1, 2)]
        assert labels_of_segments == ["septum", "heart without septum"]
        reference = read.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
        assert reference.ReferencedSOPClassUID == source.sop_class_uid
        assert reference.get("ReferencedFrameNumber") == (18 if source.is_multiframe else None)


def test_an_empty_mask_still_gives_both_segments() -> None:
    source, _ = clip_and_still()["still"]
    empty = replace(SCORED, labels=np.zeros(SIZE, np.uint8))
    dataset = segmentation(MODEL, source, empty)
    assert dataset.NumberOfFrames == 2 and not dataset.pixel_array.any()
    assert measurement_report(MODEL, source, [empty])


def test_the_report_has_every_measurement_of_every_frame() -> None:
    source, scored = clip_and_still()["clip"]
    without_mm = replace(scored, frame=3, chd_probability=0.25, quality_flags=(), areas_mm2={}, septum_length_mm=None)
    data = file_bytes(measurement_report(MODEL, source, [without_mm, scored]))
    content = highdicom.sr.srread(io.BytesIO(data)).content
    assert isinstance(content, highdicom.sr.MeasurementReport)
    of_frames = [
        [(one.name.value, one.unit.value, one.value) for one in group.get_measurements()]
        for group in content.get_image_measurement_groups()
    ]
    whole = ("whole_heart_area", "{pixels}", int((scored.labels > 0).sum()))
    assert of_frames == [
        [("chd_probability", "1", 0.25), whole],
        [("chd_probability", "1", 0.73125), whole, ("whole_heart_area", "mm2", 112.75)],
    ]
    flags = [
        evaluation.value.value
        for group in content.get_image_measurement_groups()
        for evaluation in group.get_qualitative_evaluations()
        if evaluation.name.value == "quality_flag"
    ]
    assert flags == ["no_septum", "unsure"]
    septum, heart = (int((scored.labels == value).sum()) for value in (1, 2))
    groups = content.get_planar_roi_measurement_groups()
    assert [[(one.unit.value, one.value) for one in group.get_measurements()] for group in groups] == [
        [("{pixels}", septum)],
        [("{pixels}", heart)],
        [("{pixels}", septum), ("mm2", 12.5), ("mm", 11.25)],
        [("{pixels}", heart), ("mm2", 100.25)],
    ]
    segment = groups[2].referenced_segmentation_frame[0].ReferencedSOPSequence[0]
    assert segment.ReferencedSOPInstanceUID == segmentation(MODEL, source, scored).SOPInstanceUID
    assert segment.ReferencedFrameNumber == 1


def test_the_calibrated_probability_of_the_study_stands_beside_its_score_and_the_rest_is_as_without() -> None:
    source, scored = clip_and_still()["clip"]
    content = []
    for model in (CALIBRATED, MODEL):
        report = measurement_report(model, source, [replace(scored, study_score=0.8)])
        read = highdicom.sr.srread(io.BytesIO(file_bytes(report))).content
        assert isinstance(read, highdicom.sr.MeasurementReport)
        content.append(read)
    study, frame = content[0].get_image_measurement_groups()
    (only_frame,) = content[1].get_image_measurement_groups()
    assert [one.value for one in frame.get_measurements()] == [one.value for one in only_frame.get_measurements()]
    expected = 1 / (1 + np.exp(0.25 - 0.5 * np.log(0.8 / 0.2)))
    measured = {one.name.value: one.value for one in study.get_measurements()}
    assert measured == {"study_score": 0.8, "calibrated_probability": pytest.approx(expected, abs=1e-6)}
    said = {one.name.value: one.value.value for one in study.get_qualitative_evaluations()}
    assert said.items() >= {("intended_use", "research"), ("input", "simulated"), ("calibration", "calibration_platt")}


def test_objects_are_made_the_same_again_whatever_the_time() -> None:
    for kind in KINDS:
        source, scored = clip_and_still()["clip"]
        first = file_bytes(made(kind, source, scored))
        assert file_bytes(made(kind, SourceObject(example(CLIP)), scored)) == first


@pytest.mark.parametrize(
    "change",
    [{"run_id": "another"}, {"weights_digest": "f" * 64}, {"software_version": "9"}, {"simulated": False}],
    ids=lambda change: next(iter(change)),
)
def test_uids_follow_the_run_the_source_the_frame_and_the_kind(change: Mapping[str, object]) -> None:
    source, scored = clip_and_still()["clip"]
    uids = {made(kind, source, scored).SOPInstanceUID for kind in KINDS}
    assert len(uids) == 3 and all(uid.startswith("2.25.") for uid in uids)
    other_model = replace(MODEL, **change)  # type: ignore[arg-type]
    others = {made(kind, source, scored, other_model).SOPInstanceUID for kind in KINDS}
    assert uids.isdisjoint(others) is ("run_id" in change)  # weights have a run of their own
    assert uids.isdisjoint({made(kind, source, replace(scored, frame=3)).SOPInstanceUID for kind in KINDS})
    again = SourceObject(example(CLIP, SOPInstanceUID="1.2.3"))
    assert uids.isdisjoint({made(kind, again, scored).SOPInstanceUID for kind in KINDS})


@pytest.mark.parametrize("kind", KINDS)
def test_the_device_changes_with_the_weights(kind: str) -> None:
    source, scored = clip_and_still()["clip"]

    def device(model: ScoringModel) -> Dataset:
        (item,) = (
            item
            for item in made(kind, source, scored, model).ContributingEquipmentSequence
            if item.Manufacturer == "diagchd-batch"
        )
        return item

    one, other = device(MODEL), device(replace(MODEL, weights_digest="f" * 64))
    assert one.DeviceUID.startswith("2.25.") and one.DeviceUID != other.DeviceUID
    assert (one.ManufacturerModelName, one.SoftwareVersions) == ("diagchd-compact", "0.1.0")
    assert device(replace(MODEL, run_id="another")).DeviceUID == one.DeviceUID


@pytest.mark.parametrize("kind", KINDS)
def test_real_data_are_not_marked_as_simulated(kind: str) -> None:
    source, scored = clip_and_still()["still"]
    text = str(made(kind, source, scored, replace(MODEL, simulated=False)))
    assert "RESEARCH USE ONLY" in text and "SIMULATED" not in text.upper().replace("99DIAGCHD", "")


@pytest.mark.parametrize("kind", KINDS)
def test_patient_and_study_are_the_source_s_in_every_script(kind: str) -> None:
    values = {
        "SpecificCharacterSet": ["ISO 2022 IR 6", "ISO 2022 IR 87"],
        "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        "PatientID": "4711",
        "AccessionNumber": "A-1",
        "StudyDescription": "fetal heart",
    }
    source = SourceObject(example(CLIP, **values))
    read = pydicom.dcmread(io.BytesIO(file_bytes(made(kind, source, replace(SCORED, frame=2)))))
    assert read.PatientName == values["PatientName"]
    assert (read.PatientID, read.AccessionNumber, read.StudyDescription) == ("4711", "A-1", "fetal heart")
    assert (read.StudyInstanceUID, read.StudyDate) == (source.study_uid, source.header.StudyDate)


@pytest.mark.parametrize("kind", KINDS)
def test_values_that_break_the_rules_are_left_out(kind: str) -> None:
    dataset = pydicom.dcmread(io.BytesIO(example(STILL)))
    with pydicom.config.disable_value_validation():
        for keyword, value in {"PatientSex": "female", "PatientBirthDate": "1.2.90", "StudyTime": "noon"}.items():
            setattr(dataset, keyword, value)
        del dataset.AccessionNumber
        source = SourceObject(file_bytes(dataset))
    made_object = made(kind, source)
    assert (made_object.PatientSex, made_object.PatientBirthDate or "", made_object.AccessionNumber) == ("", "", "")


def test_the_header_of_the_source_stays_as_it_was() -> None:
    source, scored = clip_and_still()["clip"]
    before = copy.deepcopy(source.header)
    for kind in KINDS:
        made(kind, source, scored)
    assert source.header == before


def test_times_are_in_the_time_zone_of_the_source() -> None:
    source, scored = clip_and_still()["still"]  # -0400
    dataset = segmentation(MODEL, source, scored)
    assert (str(dataset.ContentDate), str(dataset.ContentTime), dataset.TimezoneOffsetFromUTC) == (
        "20240101", "230400", "-0400",
    )  # fmt: skip
    clip, scored = clip_and_still()["clip"]
    dataset = segmentation(MODEL, clip, scored)
    assert (str(dataset.ContentTime), "TimezoneOffsetFromUTC" in dataset) == ("030400", False)


def test_a_capture_shows_the_source_with_outlines_and_says_what_is_burned_in() -> None:
    frame = np.full((*SIZE, 3), 90, np.uint8)
    picture = rendered(MODEL, SCORED, frame)
    assert picture.shape[0] > SIZE[0] and picture.shape[1:] == (SIZE[1], 3)
    changed = (picture[: SIZE[0]] != frame).any(axis=2)
    assert changed.any() and not changed[SCORED.labels == 0].any()
    source, _ = clip_and_still()["still"]
    assert secondary_capture(MODEL, source, SCORED, frame).BurnedInAnnotation == "YES"  # the source does not say
    clean = SourceObject(example(STILL, BurnedInAnnotation="NO", LossyImageCompression="01"))
    capture = secondary_capture(MODEL, clean, SCORED, frame)
    assert (capture.BurnedInAnnotation, capture.LossyImageCompression) == ("NO", "01")
    assert np.array_equal(capture.pixel_array, picture)


def test_a_result_that_lies_in_the_archive_is_not_scored() -> None:
    source, scored = clip_and_still()["still"]
    for kind in KINDS:
        data = file_bytes(made(kind, source, scored))
        with pytest.raises(ItemError, match="not_an_image"):
            open_image(data, DecodeLimits(max_pixels=1 << 24, max_file_bytes=1 << 26))
        dataset = pydicom.dcmread(io.BytesIO(data))
        row = row_of_attributes(dataset, ObjectInfo("key"), dataset.file_meta.TransferSyntaxUID)
        assert row["kind"] == ObjectKind.NOT_AN_IMAGE


@pytest.mark.parametrize("width", [24, 60, 200])
def test_a_capture_of_a_small_frame_can_be_drawn(width: int) -> None:
    small = replace(SCORED, labels=drawn_mask(0, (30, width)))
    assert rendered(MODEL, small, np.zeros((30, width, 3), np.uint8)).shape[1] == width


def test_a_source_needs_no_preamble() -> None:
    data = example(CLIP)
    assert SourceObject(data[132:]).sop_instance_uid == SourceObject(data).sop_instance_uid
