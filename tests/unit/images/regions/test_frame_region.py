"""The scored part of a frame: how it is chosen, and how a mask is put back on the frame."""

import numpy as np
import pytest

from diagchd_batch.images.regions.frame_region import (
    Box,
    FrameRegion,
    RegionSource,
    box_around,
    box_on_grid,
    crop,
    labels_on_box,
    labels_on_source,
    recorded_region,
    whole_frame,
)
from diagchd_batch.images.regions.scored_region import scored_region
from diagchd_batch.images.resize import resize_labels

SECTOR = (30, 40, 60, 90)
SLACK_PX = 4


def screen() -> np.ndarray:
    """Return a black picture of 120 x 200 pixels with a textured rectangle at `SECTOR`."""
    picture = np.zeros((120, 200, 3), np.uint8)
    top, left, height, width = SECTOR
    speckle = np.random.default_rng(1).integers(20, 200, (height, width, 1), np.uint8)
    picture[top : top + height, left : left + width] = speckle
    return picture


@pytest.mark.parametrize(
    ("rule", "sector", "source", "box"),
    [
        ("whole", (10, 10, 50, 50), "whole", (0, 0, 120, 200)),
        ("tagged", (10, 10, 50, 50), "tagged", (10, 10, 50, 50)),
        ("tagged", None, "found", SECTOR),
        ("tagged", (100, 10, 50, 50), "found", SECTOR),  # not in the frame
        ("tagged", (10, 10, 0, 50), "found", SECTOR),
        ("found", (10, 10, 50, 50), "found", SECTOR),
    ],
)
def test_the_rule_chooses_and_the_row_says_what_was_taken(rule: str, sector: Box | None, source: str, box: Box) -> None:
    region = scored_region(screen(), sector, rule)  # type: ignore[arg-type]
    assert region.source == source
    found, expected = region.box, box
    assert all(abs(one - other) <= SLACK_PX for one, other in zip(found, expected, strict=True)), found
    if source != "found":
        assert found == expected


@pytest.mark.parametrize("rule", ["tagged", "found"])
def test_where_nothing_is_found_the_frame_is_scored_whole(rule: str) -> None:
    region = scored_region(np.zeros((120, 200, 3), np.uint8), None, rule)  # type: ignore[arg-type]
    assert region == whole_frame(120, 200)


@pytest.mark.parametrize("grid", [(12, 18), (120, 180), (7, 5)])
def test_a_mask_comes_back_to_where_it_was(grid: tuple[int, int]) -> None:
    on_frame = np.zeros((120, 200), np.uint8)
    on_frame[45:60, 70:100] = 2
    on_grid = resize_labels(crop(on_frame, SECTOR), *grid)
    back = labels_on_source(on_grid, SECTOR, 120, 200)
    assert back.shape == on_frame.shape
    outside = np.ones(back.shape, bool)
    outside[30:90, 40:130] = False
    assert not back[outside].any()
    rows, columns = (np.flatnonzero((back > 0).any(axis=axis)) for axis in (1, 0))
    steps = 60 / grid[0], 90 / grid[1]  # an edge moves by less than one pixel of the grid
    assert abs(rows[0] - 45) < steps[0] and abs(rows[-1] - 59) < steps[0]
    assert abs(columns[0] - 70) < steps[1] and abs(columns[-1] - 99) < steps[1]


def test_each_source_pixel_gets_the_grid_pixel_over_its_centre() -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3) % 3
    back = labels_on_source(labels, (1, 2, 4, 9), 8, 12)
    for row in range(8):
        for column in range(12):
            inside = 1 <= row < 5 and 2 <= column < 11
            assert back[row, column] == (labels[(row - 1) // 2, (column - 2) // 3] if inside else 0)


@pytest.mark.parametrize("region", [(-1, 0, 5, 5), (0, 0, 9, 5), (0, 8, 5, 5), (0, 0, 0, 5)])
def test_a_region_outside_the_frame_is_refused(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie in a frame of 8 x 12 pixels"):
        labels_on_source(np.zeros((2, 3), np.uint8), region, 8, 12)


def test_a_rectangle_on_the_grid() -> None:
    on_grid = box_on_grid((2, 3, 4, 3), (0, 0, 8, 12), 4, 4)
    np.testing.assert_array_equal(on_grid.any(axis=1), [False, True, True, False])
    np.testing.assert_array_equal(on_grid.any(axis=0), [False, True, False, False])


def test_the_size_of_a_grid_pixel_is_that_of_the_region() -> None:
    region = FrameRegion(5, 5, 240, 640, RegionSource.FOUND)
    assert region.source_pixels_per_grid_pixel(24, 32) == (10.0, 20.0)


def test_masks_of_two_regions_meet_on_the_rectangle_around_both() -> None:
    regions = (0, 0, 120, 200), (30, 40, 60, 90)
    on_frame = np.zeros((120, 200), np.uint8)
    on_frame[42:60, 70:100] = 2
    around = box_around(*regions)
    assert around == (0, 0, 120, 200)
    for region in regions:
        grid = resize_labels(crop(on_frame, region), region[2], region[3])
        np.testing.assert_array_equal(labels_on_box(grid, region, around, 120, 200), on_frame)


@pytest.mark.parametrize("row", [{}, dict.fromkeys(("region_top", "region_left", "region_height", "region_width"))])
def test_rows_without_a_region_scored_the_whole_frame(row: dict[str, int | None]) -> None:
    assert recorded_region({"source_height": 7, "source_width": 9, **row}) == (0, 0, 7, 9)
