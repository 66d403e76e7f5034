"""The rows of scored and failed frames."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import FrameMetadata
from diagchd_batch.images.regions.frame_region import FrameRegion, RegionSource, whole_frame
from diagchd_batch.scoring.decoding.file_reader import FrameInput, Reference
from diagchd_batch.scoring.decoding.in_process import GridFrame
from diagchd_batch.scoring.worker.score_rows import failed_row, scored_row
from diagchd_batch.studies.plan.planned_images import PlannedImage
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, PlainModel, plan_files, png
from tests.unit.scoring.made_runs import make_run


@pytest.mark.parametrize("time_ms", [None, 0.0, 33.3666])
def test_a_row_has_the_time_of_its_frame_in_the_clip(tmp_path: Path, time_ms: float | None) -> None:
    (image,) = plan_files(tmp_path, {"a.png": png(0)})
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    decoded = GridFrame(pixels, 100, 200, FrameMetadata(time_ms=time_ms), whole_frame(100, 200))
    frame = FrameInput(image, 7, 30, decoded)
    prediction = PlainModel(1).predict(pixels[np.newaxis])
    assert scored_row(frame, prediction, 0, 0.5)["frame_time_ms"] == time_ms
    failed = replace(frame, decoded=None, error=FailureCode.DECODE_ERROR)
    assert failed_row(failed).get("frame_time_ms") is None


def test_stills_and_formats_without_times_have_no_time(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a/still.png": png(10)})
    run.score_all()
    assert [row["frame_time_ms"] for row in run.rows()] == [None]


CALIBRATED = FrameMetadata(pixel_height_mm=0.2, pixel_width_mm=0.3, spacing_status="ok", sector=(0, 0, 120, 640))


def scored(image: PlannedImage, metadata: FrameMetadata, region: FrameRegion, reference: np.ndarray) -> dict[str, Any]:
    """Return the row of a frame of 240 x 640 source pixels, half septum (left) and half heart in a block."""
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    pixels[2:6, 8:12], pixels[2:6, 12:16] = 100, 200
    decoded = GridFrame(pixels, 240, 640, metadata, region)
    frame = FrameInput(image, 0, 1, decoded, reference=Reference("ok", reference))
    return scored_row(frame, PlainModel(1).predict(pixels[np.newaxis], reference[np.newaxis]), 0, 0.5)


def block(rows: slice, columns: slice) -> np.ndarray:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[rows, columns] = 2
    return labels


@pytest.fixture
def image(tmp_path: Path) -> PlannedImage:
    (image,) = plan_files(tmp_path, {"a.png": png(0)})
    return image


def test_millimetres_are_those_of_the_source_stretched_to_the_grid(image: PlannedImage) -> None:
    """A pixel of the grid of 24 x 32 is 10 x 20 source pixels, which is 2 mm by 6 mm."""
    row = scored(image, CALIBRATED, whole_frame(240, 640), block(slice(2, 6), slice(13, 16)))
    assert row["spacing_status"] == "ok"
    assert (row["pixel_height_mm"], row["pixel_width_mm"]) == (0.2, 0.3)
    assert row["septum_area_mm2"] == row["heart_area_mm2"] == pytest.approx(16 * 12)
    assert row["whole_heart_area_mm2"] == pytest.approx(2 * 16 * 12)
    assert row["septum_length_mm"] == pytest.approx(math.hypot(4 * 2, 4 * 6))
    assert row["hd95_source_px_heart"] == pytest.approx(20)
    assert row["hd95_mm_heart"] == pytest.approx(6)
    assert row["hd95_mm_septum"] is None  # the reference has no septum


def test_a_cropped_frame_has_smaller_grid_pixels(image: PlannedImage) -> None:
    region = FrameRegion(0, 320, 120, 320, RegionSource.TAGGED)
    row = scored(image, CALIBRATED, region, block(slice(2, 6), slice(13, 16)))
    assert row["heart_area_mm2"] == pytest.approx(16 * (5 * 0.2) * (10 * 0.3))
    assert row["hd95_source_px_heart"] == pytest.approx(10)
    assert row["hd95_mm_heart"] == pytest.approx(3)
    of_region = {name: row[f"region_{name}"] for name in ("top", "left", "height", "width", "source")}
    assert of_region == {"top": 0, "left": 320, "height": 120, "width": 320, "source": "tagged"}


def test_a_heart_outside_the_calibrated_region_has_no_millimetres(image: PlannedImage) -> None:
    beside = replace(CALIBRATED, sector=(0, 300, 120, 300))
    row = scored(image, beside, whole_frame(240, 640), block(slice(2, 6), slice(8, 16)))
    assert row["spacing_status"] == "heart_outside_region"
    assert not [name for name, value in row.items() if "mm" in name and value is not None]
    assert row["hd95_source_px_heart"] is not None


def test_a_reference_outside_the_calibrated_region_has_no_distance_in_mm(image: PlannedImage) -> None:
    row = scored(image, CALIBRATED, whole_frame(240, 640), block(slice(20, 24), slice(8, 16)))
    assert row["heart_area_mm2"] is not None
    assert row["hd95_source_px_heart"] is not None
    assert row.get("hd95_mm_heart") is None and row.get("assd_mm_whole_heart") is None


def test_formats_without_calibration_say_so(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a/still.png": png(10)})
    run.score_all()
    (row,) = run.rows()
    assert row["spacing_status"] == "not_in_format"
    assert row["heart_area_mm2"] is None
    assert (row["region_source"], row["region_top"], row["region_height"]) == ("whole", 0, HEIGHT)
