"""Areas and lengths in millimetres, against values worked out by hand."""

import math

import numpy as np
import pytest
from scipy.spatial.distance import pdist

from diagchd_batch.images.regions.frame_region import FrameRegion, RegionSource, whole_frame
from diagchd_batch.images.spacing.heart_measurements import largest_caliper, measure_heart, spacing_on_grid
from diagchd_batch.images.spacing.spacing_status import RegionCalibration, SpacingStatus

CALIBRATED = RegionCalibration(0.2, 0.3, SpacingStatus.OK, (50, 100, 500, 600))


def heart(rows: slice, columns: slice, shape: tuple[int, int] = (24, 32)) -> np.ndarray:
    labels = np.zeros(shape, np.uint8)
    labels[rows, columns] = 2
    return labels


def test_areas_are_pixels_of_the_grid_times_their_size() -> None:
    labels = heart(slice(2, 12), slice(4, 24))
    labels[5:8, 10:15] = 1
    found = measure_heart(labels, (0.5, 2.0))
    assert found.septum_area_mm2 == 15
    assert found.heart_area_mm2 == 185
    assert found.whole_heart_area_mm2 == 200
    assert found.septum_length_mm == pytest.approx(math.hypot(3 * 0.5, 5 * 2.0))


def test_a_mask_without_a_heart_has_areas_of_zero_and_no_length() -> None:
    found = measure_heart(np.zeros((5, 5), np.uint8), (1.0, 1.0))
    assert (found.heart_area_mm2, found.septum_area_mm2, found.whole_heart_area_mm2) == (0, 0, 0)
    assert found.septum_length_mm is None


def test_the_length_is_that_of_the_largest_piece_and_diagonals_connect() -> None:
    labels = np.zeros((20, 20), np.uint8)
    labels[np.arange(6), np.arange(6)] = 1
    labels[19, 14:19] = 1  # five pixels in a row, farther apart from the rest than either is long
    assert measure_heart(labels, (1.0, 1.0)).septum_length_mm == pytest.approx(6 * math.sqrt(2))


@pytest.mark.parametrize("seed", range(5))
def test_the_caliper_is_the_largest_distance_between_any_two_corners(seed: int) -> None:
    mask = np.random.default_rng(seed).random((9, 13)) < 0.1
    mask[4, 6] = True
    size = (0.7, 0.4)
    corners = np.concatenate([np.argwhere(mask) + shift for shift in ((0, 0), (0, 1), (1, 0), (1, 1))])
    assert largest_caliper(mask, size) == pytest.approx(pdist(corners * np.array(size)).max())


def test_a_single_pixel_is_as_long_as_its_diagonal() -> None:
    assert largest_caliper(np.ones((1, 1), bool), (3.0, 4.0)) == 5.0
    assert largest_caliper(np.zeros((2, 2), bool), (3.0, 4.0)) is None


@pytest.mark.parametrize(
    ("region", "expected"),
    [
        (whole_frame(600, 800), (600 / 24 * 0.2, 800 / 32 * 0.3)),
        (FrameRegion(50, 100, 500, 600, RegionSource.TAGGED), (500 / 24 * 0.2, 600 / 32 * 0.3)),
    ],
)
def test_the_grid_is_anisotropic_and_stretched_from_its_region(
    region: FrameRegion, expected: tuple[float, float]
) -> None:
    spacing = spacing_on_grid(CALIBRATED, region, heart(slice(8, 16), slice(10, 20)))
    assert spacing.status == "ok"
    assert spacing.source_pixel_mm == (0.2, 0.3)
    assert spacing.grid_pixel_mm == pytest.approx(expected)


def test_an_area_is_the_same_whichever_region_was_scored() -> None:
    """A rectangle of 200 x 300 source pixels is 40 mm by 90 mm."""
    for region in (whole_frame(600, 800), FrameRegion(100, 200, 400, 500, RegionSource.FOUND)):
        shape = (region.height // 10, region.width // 20)
        rows = slice((200 - region.top) // 10, (400 - region.top) // 10)
        columns = slice((300 - region.left) // 20, (600 - region.left) // 20)
        labels = heart(rows, columns, shape)
        spacing = spacing_on_grid(CALIBRATED, region, labels)
        assert spacing.grid_pixel_mm is not None
        assert measure_heart(labels, spacing.grid_pixel_mm).whole_heart_area_mm2 == pytest.approx(40 * 90)


@pytest.mark.parametrize(
    ("calibration", "status"),
    [
        (RegionCalibration(None, None, SpacingStatus.NOT_IN_FORMAT, None), "not_in_format"),
        (RegionCalibration(None, None, SpacingStatus.SCALES_DIFFER, (0, 0, 600, 800)), "scales_differ"),
        (CALIBRATED, "heart_outside_region"),
    ],
)
def test_without_a_sound_size_there_are_no_millimetres(calibration: RegionCalibration, status: str) -> None:
    """The last heart reaches out of the calibrated region, at the right."""
    spacing = spacing_on_grid(calibration, whole_frame(600, 800), heart(slice(8, 16), slice(20, 30)))
    assert spacing.status == status
    assert spacing.source_pixel_mm is None and spacing.grid_pixel_mm is None
