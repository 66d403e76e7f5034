"""The size of a pixel as a header gives it, and why it is not known. The vocabulary of the column `spacing_status`."""

from dataclasses import dataclass
from enum import StrEnum

from diagchd_batch.images.regions.frame_region import Box


class SpacingStatus(StrEnum):
    """Whether millimetres can be computed for a frame."""

    OK = "ok"
    NOT_IN_FORMAT = "not_in_format"
    NO_REGIONS = "no_regions"
    NO_TISSUE_REGION = "no_tissue_region"
    INVALID_REGION = "invalid_region"
    OUTSIDE_PICTURE = "outside_picture"
    NOT_IN_CM = "not_in_cm"
    SCALES_DIFFER = "scales_differ"
    PER_FRAME = "per_frame"
    OVERLAPPED = "overlapped"
    IMPLAUSIBLE = "implausible"
    HEART_OUTSIDE_REGION = "heart_outside_region"


SPACING_STATUSES: dict[SpacingStatus, str] = {
    SpacingStatus.OK: "the size of a pixel is known, and there are millimetres",
    SpacingStatus.NOT_IN_FORMAT: "the file's format cannot say it",
    SpacingStatus.NO_REGIONS: "the header declares no ultrasound regions",
    SpacingStatus.NO_TISSUE_REGION: "no region shows 2D tissue",
    SpacingStatus.INVALID_REGION: "a region lacks a value, or has one that is impossible",
    SpacingStatus.OUTSIDE_PICTURE: "a region lies outside the picture, which was cropped or resized since",
    SpacingStatus.NOT_IN_CM: "the unit of a region of tissue is not cm in both directions",
    SpacingStatus.SCALES_DIFFER: "regions of tissue have different scales",
    SpacingStatus.PER_FRAME: "the frames have regions of their own",
    SpacingStatus.OVERLAPPED: "another picture, such as an M-mode, takes pixels of the region of tissue",
    SpacingStatus.IMPLAUSIBLE: "the region would be less than 10 mm or more than 500 mm long, or its pixels more "
    "than 4 times as long as wide",
    SpacingStatus.HEART_OUTSIDE_REGION: "more than 1 % of the predicted heart lies outside the region of tissue",
}
"""What each status means."""


@dataclass(frozen=True, slots=True)
class RegionCalibration:
    """What a file says about the size of a pixel, for each of its frames.

    Attributes:
        pixel_height_mm: Height of a pixel; None unless the status is `ok`.
        pixel_width_mm: Width of a pixel; None unless the status is `ok`.
        spacing_status: Whether the size of a pixel is known, or why it is not.
        sector: The largest region of 2D tissue, also where its scale cannot be used; None if there is none, or if it
            does not fit into the picture. The size of a pixel holds within it.
    """

    pixel_height_mm: float | None
    pixel_width_mm: float | None
    spacing_status: SpacingStatus
    sector: Box | None
