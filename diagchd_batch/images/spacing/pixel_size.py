"""The size of a pixel and the place of the ultrasound image, from the regions that a DICOM header declares.

The US Region Calibration Module (DICOM PS3.3, C.8.5.5) is the only calibration that the ultrasound image objects of
DICOM define. Its Sequence of Ultrasound Regions (0018,6011) says for each rectangle of the picture what it shows and
how much a step of one pixel means. Regions are used only where nothing contradicts them, because a wrong distance is
worse than none.

Other attributes are never used. Pixel Spacing (0028,0030) is not part of the ultrasound image objects, and a file that
has it does not say for which part of the picture it holds. Nominal Scanned Pixel Spacing (0018,2010) and Imager Pixel
Spacing (0018,1164) are distances on a film or a detector, not in the body.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydicom import Dataset

from diagchd_batch.images.regions.frame_region import Box
from diagchd_batch.images.spacing.spacing_status import RegionCalibration, SpacingStatus

_TWO_DIMENSIONAL, _M_MODE, _SPECTRAL = 1, 2, 3  # Region Spatial Format
_TISSUE = 1  # Region Data Type
_CENTIMETRES = 3  # Physical Units X and Y Direction
_LOW_PRIORITY = 1  # bit 0 of Region Flags; where regions overlap, the pixels belong to the one with high priority

_SAME_SCALE = 1e-3
"""Relative difference up to which two scales are one. Over a picture it amounts to about one pixel."""

_LEAST_EXTENT_MM, _LARGEST_EXTENT_MM = 10.0, 500.0
"""A region of tissue is at least as large as a fingertip. No ultrasound reaches deeper than half a metre."""
_LARGEST_ASPECT = 4.0
"""Pixels that are more elongated than this are taken for an error."""


@dataclass(frozen=True, slots=True)
class _Region:
    box: Box
    spatial_format: int | None
    shows_tissue: bool
    flags: int
    units: tuple[int | None, int | None]
    deltas: tuple[float | None, float | None]

    @property
    def area(self) -> int:
        return self.box[2] * self.box[3]


def region_calibration(header: Dataset) -> RegionCalibration:
    """Return the size of a pixel and the tagged sector of a DICOM image.

    Regions of 2D tissue count. All others (M-mode, Doppler, colour flow, colour bars, physiological traces) are
    ignored, except that they must lie in the picture, too: otherwise the picture was cropped or resized after the
    regions were written. Several regions of tissue must have one scale. The corners of a region are pixels that belong
    to it; some scanners write the first pixel behind it instead, so a corner right at the picture's end is accepted.

    Args:
        header: The header of the file. Pixel data are not needed.
    """
    items = _items(header, "SequenceOfUltrasoundRegions")
    if _has_regions_per_frame(header):
        return _unknown(SpacingStatus.PER_FRAME)
    if not items:
        return _unknown(SpacingStatus.NO_REGIONS)
    size = _integer(header, "Rows"), _integer(header, "Columns")
    regions = [region for item in items if (region := _region(item)) is not None]
    tissue = [region for region in regions if region.shows_tissue]
    if None in size or len(tissue) < sum(_shows_tissue(item) for item in items):
        return _unknown(SpacingStatus.INVALID_REGION)
    if not all(_fits(region.box, size) for region in regions):
        return _unknown(SpacingStatus.OUTSIDE_PICTURE)
    if not tissue:
        return _unknown(SpacingStatus.NO_TISSUE_REGION)
    largest = max(tissue, key=lambda region: region.area)
    sector = _clipped(largest.box, size)
    status = _scale_problem(tissue, largest, regions)
    if status is not None:
        return _unknown(status, sector)
    width_mm, height_mm = (10.0 * delta for delta in largest.deltas if delta is not None)
    return RegionCalibration(height_mm, width_mm, SpacingStatus.OK, sector)


def has_calibration(header: Dataset) -> bool:
    """Return whether the size of a pixel is known from the header of a DICOM image.

    Args:
        header: The header of the file.
    """
    return region_calibration(header).spacing_status is SpacingStatus.OK


def _scale_problem(tissue: list[_Region], largest: _Region, regions: list[_Region]) -> SpacingStatus | None:
    if any(region.units != (_CENTIMETRES, _CENTIMETRES) for region in tissue):
        return SpacingStatus.NOT_IN_CM
    if any(delta is None or not math.isfinite(delta) or delta <= 0 for region in tissue for delta in region.deltas):
        return SpacingStatus.INVALID_REGION
    if not all(_same_scale(region, largest) for region in tissue):
        return SpacingStatus.SCALES_DIFFER
    if not _is_plausible(largest):
        return SpacingStatus.IMPLAUSIBLE
    if any(_covers(region, largest) for region in regions):
        return SpacingStatus.OVERLAPPED
    return None


def _is_plausible(region: _Region) -> bool:
    _, _, height, width = region.box
    delta_x, delta_y = (float(delta or 0) for delta in region.deltas)
    extents_mm = 10 * delta_x * width, 10 * delta_y * height
    return all(_LEAST_EXTENT_MM <= extent_mm <= _LARGEST_EXTENT_MM for extent_mm in extents_mm) and max(
        delta_x, delta_y
    ) <= _LARGEST_ASPECT * min(delta_x, delta_y)


def _covers(region: _Region, tissue: _Region) -> bool:
    """Return whether pixels of the tissue belong to another picture with a scale of its own.

    Traces and graphics are drawn over the tissue and do not change its scale, and neither does colour flow on it.
    """
    is_picture = region.spatial_format in (_TWO_DIMENSIONAL, _M_MODE, _SPECTRAL)
    if region is tissue or not is_picture or region.shows_tissue or _same_scale(region, tissue):
        return False
    gives_way = bool(region.flags & _LOW_PRIORITY) and not tissue.flags & _LOW_PRIORITY
    return not gives_way and _overlap(region.box, tissue.box)


def _same_scale(one: _Region, other: _Region) -> bool:
    return one.units == other.units and all(
        a is not None and b is not None and math.isclose(a, b, rel_tol=_SAME_SCALE)
        for a, b in zip(one.deltas, other.deltas, strict=True)
    )


def _overlap(one: Box, other: Box) -> bool:
    """Return whether two rectangles share more than a border of one pixel, which inclusive corners may give them."""
    rows = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    columns = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return rows > 1 and columns > 1


def _region(item: Dataset) -> _Region | None:
    """Return an item of the sequence, or None if it has no sound rectangle."""
    names = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
    left, top, right, bottom = (_integer(item, name) for name in names)
    if left is None or top is None or right is None or bottom is None:
        return None
    if left < 0 or top < 0 or right <= left or bottom <= top:
        return None
    return _Region(
        (top, left, bottom - top + 1, right - left + 1),
        _integer(item, "RegionSpatialFormat"),
        _shows_tissue(item),
        _integer(item, "RegionFlags") or 0,
        (_integer(item, "PhysicalUnitsXDirection"), _integer(item, "PhysicalUnitsYDirection")),
        (_number(item, "PhysicalDeltaX"), _number(item, "PhysicalDeltaY")),
    )


def _shows_tissue(item: Dataset) -> bool:
    return _integer(item, "RegionSpatialFormat") == _TWO_DIMENSIONAL and _integer(item, "RegionDataType") == _TISSUE


def _fits(box: Box, size: tuple[int | None, int | None]) -> bool:
    top, left, height, width = box
    rows, columns = (length or 0 for length in size)
    return top + height <= rows + 1 and left + width <= columns + 1


def _clipped(box: Box, size: tuple[int | None, int | None]) -> Box:
    top, left, height, width = box
    rows, columns = (length or 0 for length in size)
    return top, left, min(height, rows - top), min(width, columns - left)


def _has_regions_per_frame(header: Dataset) -> bool:
    """Return whether functional groups give frames regions of their own, which may differ."""
    groups = _items(header, "PerFrameFunctionalGroupsSequence")
    return any("SequenceOfUltrasoundRegions" in group for group in groups)


def _items(header: Dataset, keyword: str) -> list[Dataset]:
    value = _value(header, keyword)
    is_sequence = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    return [item for item in value if isinstance(item, Dataset)] if is_sequence else []


def _integer(item: Dataset, keyword: str) -> int | None:
    number = _number(item, keyword)
    return None if number is None or not number.is_integer() else int(number)


def _number(item: Dataset, keyword: str) -> float | None:
    """Return an element's only value; None if it is absent, empty, damaged, or several."""
    value = _value(item, keyword)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value)


def _value(item: Dataset, keyword: str) -> Any:
    try:
        return item.get(keyword)
    except MemoryError:
        raise
    except Exception:  # values are converted when they are first read, and pydicom raises almost anything
        return None


def _unknown(status: SpacingStatus, sector: Box | None = None) -> RegionCalibration:
    return RegionCalibration(None, None, status, sector)
