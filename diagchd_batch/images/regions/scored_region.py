"""Chooses the part of a frame that is scored."""

import numpy as np

from diagchd_batch.images.regions.frame_region import Box, FrameRegion, RegionRule, RegionSource, whole_frame
from diagchd_batch.images.regions.sector import find_sector


def scored_region(image_hwc_u8: np.ndarray, tagged: Box | None, rule: RegionRule) -> FrameRegion:
    """Return the part of a frame that a rule chooses.

    `whole` takes the frame as it is. `tagged` takes the sector of the header; a frame whose header has none, or none
    that lies in the frame, is treated as with `found`. `found` takes the ultrasound image that is found in the pixels;
    a frame in which nothing is found, or that is filled by it, is scored whole.

    Args:
        image_hwc_u8: The frame, uint8 [height, width, 3].
        tagged: The sector in the file's header, or None.
        rule: The rule of the run.
    """
    height, width = image_hwc_u8.shape[:2]
    if rule == "tagged" and tagged is not None:
        region = FrameRegion(*tagged, RegionSource.TAGGED)
        if region.lies_in(height, width):
            return region
    if rule != "whole" and (box := find_sector(image_hwc_u8)) is not None:
        return FrameRegion(*box, RegionSource.FOUND)
    return whole_frame(height, width)
