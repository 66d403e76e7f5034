"""Areas and lengths of a mask in millimetres, where the size of a pixel is known."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from diagchd_batch.images.label_map_shapes import HEART, SEPTUM
from diagchd_batch.images.regions.frame_region import FrameRegion, box_on_grid
from diagchd_batch.images.spacing.spacing_status import RegionCalibration, SpacingStatus

_DIAGONALS_CONNECT = np.ones((3, 3), bool)
_TOLERATED_OUTSIDE = 0.01
"""Share of a mask that may lie outside the calibrated region, for the rounding of its edges to the grid."""


@dataclass(frozen=True, slots=True)
class GridSpacing:
    """The size of a pixel for one mask.

    Attributes:
        status: Whether millimetres hold for the mask, or why they do not.
        source_pixel_mm: Height and width of a pixel of the frame; None unless the status is `ok`.
        grid_pixel_mm: Height and width of a pixel of the model's grid; None unless the status is `ok`.
    """

    status: SpacingStatus
    source_pixel_mm: tuple[float, float] | None = None
    grid_pixel_mm: tuple[float, float] | None = None


def spacing_on_grid(calibration: RegionCalibration, region: FrameRegion, label_map_hw_u8: np.ndarray) -> GridSpacing:
    """Return the size of a pixel of the model's grid. It holds only if the mask lies in the calibrated region.

    Args:
        calibration: What the file says about the size of a pixel.
        region: The part of the frame that was resized to the grid.
        label_map_hw_u8: Classes on the grid, uint8 [height, width].
    """
    status = calibration.spacing_status
    height_mm, width_mm = calibration.pixel_height_mm, calibration.pixel_width_mm
    if status is not SpacingStatus.OK or height_mm is None or width_mm is None:
        return GridSpacing(status)
    if not lies_in_calibrated_region(calibration, region, label_map_hw_u8):
        return GridSpacing(SpacingStatus.HEART_OUTSIDE_REGION)
    rows, columns = region.source_pixels_per_grid_pixel(*label_map_hw_u8.shape)
    return GridSpacing(status, (height_mm, width_mm), (rows * height_mm, columns * width_mm))


def lies_in_calibrated_region(calibration: RegionCalibration, region: FrameRegion, label_map_hw_u8: np.ndarray) -> bool:
    """Return whether at most 1 % of a mask's septum and heart lie outside the region that the pixel size holds for.

    Args:
        calibration: What the file says about the size of a pixel. Without a sector, that size holds everywhere.
        region: The part of the frame that was resized to the grid.
        label_map_hw_u8: Classes on the grid, uint8 [height, width].
    """
    if calibration.sector is None:
        return True
    whole_heart = label_map_hw_u8 > 0
    outside = whole_heart & ~box_on_grid(calibration.sector, region.box, *label_map_hw_u8.shape)
    return bool(np.count_nonzero(outside) <= _TOLERATED_OUTSIDE * np.count_nonzero(whole_heart))


@dataclass(frozen=True, slots=True)
class HeartMeasurements:
    """Measurements of one mask.

    Attributes:
        heart_area_mm2: Area of the class heart, which is the heart without its septum.
        septum_area_mm2: Area of the class septum.
        whole_heart_area_mm2: Sum of the two.
        septum_length_mm: Largest caliper of the septum's largest piece (`largest_caliper`); None without a septum.
    """

    heart_area_mm2: float
    septum_area_mm2: float
    whole_heart_area_mm2: float
    septum_length_mm: float | None


def measure_heart(label_map_hw_u8: np.ndarray, grid_pixel_mm: tuple[float, float]) -> HeartMeasurements:
    """Return the areas of a mask and the length of its septum.

    Args:
        label_map_hw_u8: Classes on the model's grid, uint8 [height, width]: 0 background, 1 septum, 2 heart.
        grid_pixel_mm: Height and width of one pixel of the grid. The grid is anisotropic, so they differ.
    """
    pixel_mm2 = grid_pixel_mm[0] * grid_pixel_mm[1]
    septum, heart = (int(np.count_nonzero(label_map_hw_u8 == label)) for label in (SEPTUM, HEART))
    return HeartMeasurements(
        heart_area_mm2=heart * pixel_mm2,
        septum_area_mm2=septum * pixel_mm2,
        whole_heart_area_mm2=(septum + heart) * pixel_mm2,
        septum_length_mm=largest_caliper(_largest_piece(label_map_hw_u8 == SEPTUM), grid_pixel_mm),
    )


def largest_caliper(mask_hw_bool: np.ndarray, pixel_size: tuple[float, float]) -> float | None:
    """Return the maximum Feret diameter of a mask: the largest distance between two points of its outline.

    Pixels are rectangles, so the points are their corners. The definition is that of ISO 9276-6:2008 and of ImageJ: the
    largest distance between two parallel lines that touch the mask on either side.

    Args:
        mask_hw_bool: The mask, bool [height, width].
        pixel_size: Height and width of a pixel.

    Returns:
        The length in the unit of `pixel_size`, or None for an empty mask.
    """
    rows = np.flatnonzero(mask_hw_bool.any(axis=1))
    if not rows.size:
        return None
    first = mask_hw_bool[rows].argmax(axis=1)
    last = mask_hw_bool.shape[1] - mask_hw_bool[rows, ::-1].argmax(axis=1)
    corners = [np.stack([row, column], axis=1) for row in (rows, rows + 1) for column in (first, last)]
    points = np.concatenate(corners) * np.asarray(pixel_size)
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _largest_piece(mask_hw_bool: np.ndarray) -> np.ndarray:
    """Return the largest connected piece, with pixels that touch at a corner connected."""
    pieces, n_pieces = ndimage.label(mask_hw_bool, _DIAGONALS_CONNECT)
    if n_pieces <= 1:
        return mask_hw_bool
    return pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
