"""Phantoms as DICOM: valid objects with the rendered pixels, marked as simulated, the same wherever they are made."""

import csv
import subprocess
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from dataset.dicom_archive import FRAME_TIME_MS, dicom_object, main, render_frames, uid_of, write_archive
from dataset.phantom import Split, Study, draw_study, generate_study_image
from dataset.phantom.cohort.studies import image_parameters
from dataset.phantom.rendering.scanner import DEVICES, pixel_positions, sector_box
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits

N_FRAMES = 2


def study_of(device: str) -> Study:
    """Return the first study that was made with a device."""
    return next(
        study for study in (draw_study(7, Split.OTHER, index) for index in range(100)) if study.device.name == device
    )


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of one study with grey images and one with tinted ones."""
    directory = tmp_path_factory.mktemp("dicom")
    write_archive(directory, [study_of("device-A"), study_of("device-C")], N_FRAMES)
    return directory


def objects(archive: Path) -> dict[str, pydicom.Dataset]:
    return {path.relative_to(archive).as_posix(): pydicom.dcmread(path) for path in sorted(archive.rglob("*.dcm"))}


def test_dciodvfy_finds_no_error_and_nothing_to_warn_of(archive: Path) -> None:
    for path in sorted(archive.rglob("*.dcm")):
        checked = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
        said = checked.stdout + checked.stderr
        assert "Error" not in said and "Warning" not in said, said
        assert ("USMultiFrameImage" if path.stem == "loop" else "USImage") in said


@pytest.mark.parametrize("device", ["device-A", "device-C"])
def test_pixels_are_those_that_were_rendered(archive: Path, device: str) -> None:
    study = study_of(device)
    for image in range(study.images + 1):
        is_loop = image == study.images
        pixels, masks = render_frames(study, image, N_FRAMES if is_loop else 1)
        name = f"{study.study_id}/{'loop' if is_loop else f'still-{image + 1}'}"
        data = (archive / "images" / f"{name}.dcm").read_bytes()
        stored = pydicom.dcmread(archive / "images" / f"{name}.dcm").pixel_array
        np.testing.assert_array_equal(stored if is_loop else stored[np.newaxis], pixels)
        with Image.open(archive / "masks" / f"{name}.tif") as file:
            for place, mask in enumerate(masks):
                file.seek(place)
                np.testing.assert_array_equal(np.asarray(file), mask)
        opened = open_image(data, DecodeLimits())
        assert opened.n_frames == len(pixels)
        for place, frame in enumerate(pixels):
            expected = frame if frame.ndim == 3 else np.repeat(frame[..., np.newaxis], 3, axis=2)
            np.testing.assert_array_equal(opened.frame(place), expected)
            metadata, parameters = opened.metadata(place), image_parameters(study, image)
            assert metadata.spacing_status == "ok"
            assert metadata.sector == sector_box(parameters.view, study.device)
            corner = np.zeros(1, np.intp)
            mm_per_pixel = pixel_positions(parameters.view, study.device, corner, corner).mm_per_pixel
            assert (metadata.pixel_height_mm, metadata.pixel_width_mm) == pytest.approx((mm_per_pixel, mm_per_pixel))
            time_ms = metadata.time_ms
            assert time_ms == (pytest.approx(FRAME_TIME_MS * place) if is_loop else None)


def test_stills_are_the_images_of_the_cohort_and_the_heart_of_a_loop_beats() -> None:
    study = study_of("device-A")
    (still,), (mask,) = render_frames(study, 0, 1)
    phantom = generate_study_image(study, 0)
    np.testing.assert_array_equal(still, phantom.pixels)
    np.testing.assert_array_equal(mask, phantom.mask_hw_u8)
    frames, masks = render_frames(study, study.images, 7)  # the contraction is strongest at 214 ms, near the last frame
    areas = [int(np.count_nonzero(mask)) for mask in masks]
    assert areas[0] > areas[-1] > areas[0] / 2
    assert len({frame.tobytes() for frame in frames}) == 7
    np.testing.assert_array_equal(frames[0, :, -2:], frames[-1, :, -2:])  # the border stands still


@pytest.mark.parametrize("device", [device.name for device in DEVICES])
def test_regions_are_sound(device: str) -> None:
    study = study_of(device)
    parameters = image_parameters(study, 0)
    dataset = dicom_object(study, 0, np.zeros((1, study.device.height, study.device.width), np.uint8))
    (region,) = dataset.SequenceOfUltrasoundRegions
    assert (region.RegionSpatialFormat, region.RegionDataType) == (1, 1)
    assert (region.PhysicalUnitsXDirection, region.PhysicalUnitsYDirection) == (3, 3)
    assert 0 <= region.RegionLocationMinX0 < region.RegionLocationMaxX1 < dataset.Columns
    assert 0 <= region.RegionLocationMinY0 < region.RegionLocationMaxY1 < dataset.Rows
    assert region.PhysicalDeltaX == region.PhysicalDeltaY
    top, left, height, width = sector_box(parameters.view, study.device)
    assert (region.RegionLocationMinY0, region.RegionLocationMinX0) == (top, left)
    assert (region.RegionLocationMaxY1, region.RegionLocationMaxX1) == (top + height - 1, left + width - 1)
    if study.device.margin > 0 and height < dataset.Rows - 2:
        # The sector reaches from the probe's surface, or the ends of its arc, down to the whole depth.
        rise_mm = parameters.view.probe_radius_mm * (1 - np.cos(parameters.view.half_angle))
        depth_mm = parameters.view.depth_mm + rise_mm
        assert height * region.PhysicalDeltaY * 10 == pytest.approx(depth_mm, rel=0.02)


def test_objects_say_that_they_are_simulated_and_name_nobody(archive: Path) -> None:
    uids = set()
    for name, dataset in objects(archive).items():
        for keyword in ("PatientName", "PatientID", "StudyDescription", "SeriesDescription", "ImageComments"):
            assert "SIMULATED" in str(dataset[keyword].value), (name, keyword)
        assert dataset.QualityControlSubject == "YES"
        assert not dataset.PatientBirthDate and not dataset.ReferringPhysicianName
        uids.add(dataset.SOPInstanceUID)
        for uid in (dataset.SOPInstanceUID, dataset.StudyInstanceUID, dataset.SeriesInstanceUID):
            assert uid.startswith("2.25.") and uid.is_valid
    assert len(uids) == len(objects(archive))
    assert len({dataset.StudyInstanceUID for dataset in objects(archive).values()}) == 2
    assert "SIMULATED" in (archive / "README.md").read_text()


def test_the_same_cohort_gives_the_same_bytes_and_another_seed_other_uids(archive: Path, tmp_path: Path) -> None:
    write_archive(tmp_path, [study_of("device-A"), study_of("device-C")], N_FRAMES)
    files = sorted(path.relative_to(archive) for path in archive.rglob("*") if path.is_file())
    assert [path for path in files if (archive / path).read_bytes() != (tmp_path / path).read_bytes()] == []
    one, other = draw_study(7, Split.OTHER, 0), draw_study(8, Split.OTHER, 0)
    assert uid_of(one) != uid_of(other)
    assert uid_of(one) != uid_of(draw_study(7, Split.SAMPLE, 0))


def test_the_manifest_names_every_object(archive: Path) -> None:
    with (archive / "studies.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["uri"] for row in rows} == set(objects(archive))
    assert all((archive / row["mask_uri"]).is_file() for row in rows)
    with (archive / "reference.csv").open(encoding="utf-8", newline="") as file:
        labels = {row["study_id"]: row["label"] for row in csv.DictReader(file)}
    assert {row["study_id"]: row["label"] for row in rows} == labels


@pytest.mark.parametrize("wrong", [["--studies", "0"], ["--seed", "-1"], ["--frames", "1"]])
def test_wrong_choices_are_refused(tmp_path: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main([*wrong, "--out", str(tmp_path / "x")])
    assert not (tmp_path / "x").exists()


def test_a_directory_with_files_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="2"):
        main(["--out", str(tmp_path)])
    assert "not empty" in capsys.readouterr().err
