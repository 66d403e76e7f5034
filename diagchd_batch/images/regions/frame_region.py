"""The part of a frame that is scored, and the way between the frame's pixels and the model's grid.

The region is cut out of the frame and resized to the grid, without keeping the aspect ratio. Grid row r, counted from
0, therefore covers the source rows from `top + r · height / grid height` to `top + (r + 1) · height / grid height`,
where `top` and `height` are those of the region. The same holds for columns with `left` and `width`. The columns
`region_top`, `region_left`, `region_height` and `region_width` of the scores hold the region, and `labels_on_source`
puts a mask back.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from diagchd_batch.images.resize import resize_labels

RegionRule = Literal["whole", "tagged", "found"]
"""Which part of a frame is scored: all of it, the region that its header tags, or the one found in its pixels."""

Box = tuple[int, int, int, int]
"""A rectangle: top, left, height and width in pixels of the frame."""


class RegionSource(StrEnum):
    """How the region of one frame was determined. The vocabulary of the column `region_source`."""

    WHOLE = "whole"
    TAGGED = "tagged"
    FOUND = "found"


@dataclass(frozen=True, slots=True)
class FrameRegion:
    """The part of one frame that is scored.

    Attributes:
        top: The first row, in pixels of the frame, from 0.
        left: The first column.
        height: Number of rows.
        width: Number of columns.
        source: How it was determined.
    """

    top: int
    left: int
    height: int
    width: int
    source: RegionSource

    @property
    def box(self) -> Box:
        """Top, left, height and width."""
        return self.top, self.left, self.height, self.width

    def lies_in(self, source_height: int, source_width: int) -> bool:
        """Return whether the region has pixels, and all of them are pixels of a frame.

        Args:
            source_height: Rows of the frame.
            source_width: Columns of the frame.
        """
        fits = self.top + self.height <= source_height and self.left + self.width <= source_width
        return fits and min(self.top, self.left) >= 0 and min(self.height, self.width) >= 1

    def source_pixels_per_grid_pixel(self, grid_height: int, grid_width: int) -> tuple[float, float]:
        """Return the height and the width of one pixel of the grid, in pixels of the frame.

        Args:
            grid_height: Rows of the model's grid.
            grid_width: Columns of the model's grid.
        """
        return self.height / grid_height, self.width / grid_width


def crop(frame: np.ndarray, box: Box) -> np.ndarray:
    """Return a rectangle of a frame, as a view.

    Args:
        frame: [source height, source width, …].
        box: The rectangle, which lies in the frame.
    """
    top, left, height, width = box
    return frame[top : top + height, left : left + width]


def whole_frame(height: int, width: int) -> FrameRegion:
    """Return the region that is a whole frame.

    Args:
        height: Rows of the frame.
        width: Columns of the frame.
    """
    return FrameRegion(0, 0, height, width, RegionSource.WHOLE)


def recorded_region(row: Mapping[str, Any]) -> Box:
    """Return the scored region of a row of the scores.

    Args:
        row: The values by column. Rows before schema version 3 have no region, because whole frames were scored.
    """
    top, left, height, width = (row.get(f"region_{name}") for name in ("top", "left", "height", "width"))
    if top is None or left is None or height is None or width is None:
        return 0, 0, row["source_height"], row["source_width"]
    return top, left, height, width


def labels_on_source(label_map_hw_u8: np.ndarray, region: Box, source_height: int, source_width: int) -> np.ndarray:
    """Put a mask on the model's grid back on the frame that it was predicted for.

    Each pixel of the region gets the class of the grid pixel that covers its centre. Pixels outside the region are
    background.

    Args:
        label_map_hw_u8: Class numbers on the model's grid, uint8 [grid height, grid width]: column `mask_png`.
        region: Top, left, height and width of the scored region (`recorded_region`).
        source_height: Rows of the frame: column `source_height`.
        source_width: Columns of the frame: column `source_width`.

    Returns:
        Class numbers, uint8 [source height, source width].

    Raises:
        ValueError: The region does not lie in the frame.
    """
    top, left, height, width = region
    if not FrameRegion(*region, RegionSource.WHOLE).lies_in(source_height, source_width):
        raise ValueError(f"the region {region} does not lie in a frame of {source_height} x {source_width} pixels")
    labels = np.zeros((source_height, source_width), np.uint8)
    labels[top : top + height, left : left + width] = resize_labels(label_map_hw_u8, height, width)
    return labels


def box_around(one: Box, other: Box) -> Box:
    """Return the smallest rectangle with two rectangles in it.

    Args:
        one: A rectangle.
        other: Another rectangle of the same frame.
    """
    top, left = min(one[0], other[0]), min(one[1], other[1])
    bottom, right = max(one[0] + one[2], other[0] + other[2]), max(one[1] + one[3], other[1] + other[3])
    return top, left, bottom - top, right - left


def labels_on_box(label_map_hw_u8: np.ndarray, region: Box, box: Box, height: int, width: int) -> np.ndarray:
    """Put a mask of one region on a grid over another rectangle of the same frame.

    Args:
        label_map_hw_u8: Class numbers on a grid over the region, uint8.
        region: The region of the mask, in pixels of the frame.
        box: The other rectangle, likewise.
        height: Rows of the other grid.
        width: Columns of the other grid.

    Returns:
        Class numbers, uint8 [height, width]: at each pixel's centre that of the mask, and 0 outside the region.
    """
    grid_height, grid_width = label_map_hw_u8.shape
    rows = np.floor((_centres(box[0], box[2], height) - region[0]) * grid_height / region[2]).astype(np.int64)
    columns = np.floor((_centres(box[1], box[3], width) - region[1]) * grid_width / region[3]).astype(np.int64)
    in_rows, in_columns = (rows >= 0) & (rows < grid_height), (columns >= 0) & (columns < grid_width)
    labels = np.zeros((height, width), np.uint8)
    labels[np.ix_(in_rows, in_columns)] = label_map_hw_u8[np.ix_(rows[in_rows], columns[in_columns])]
    return labels


def box_on_grid(box: Box, region: Box, grid_height: int, grid_width: int) -> np.ndarray:
    """Return which pixels of the grid have their centre in a rectangle of the frame: bool [grid height, grid width].

    Args:
        box: The rectangle, in pixels of the frame.
        region: The scored region, likewise.
        grid_height: Rows of the model's grid.
        grid_width: Columns of the model's grid.
    """
    rows = _centres(region[0], region[2], grid_height)
    columns = _centres(region[1], region[3], grid_width)
    in_rows = (rows >= box[0]) & (rows < box[0] + box[2])
    in_columns = (columns >= box[1]) & (columns < box[1] + box[3])
    return in_rows[:, np.newaxis] & in_columns


def _centres(start: int, length: int, n: int) -> np.ndarray:
    return start + (np.arange(n) + 0.5) * length / n
