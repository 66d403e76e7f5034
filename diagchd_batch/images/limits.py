"""Bounds on a file, checked before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """What a file may hold; more is `too_large`.

    `max_pixels` counts the pixels (height times width) of one frame as its header declares them, `max_file_bytes` the
    bytes of the file, `max_frames` the pages of a TIFF.
    """

    max_pixels: int = 50_000_000
    max_file_bytes: int = 1_073_741_824
    max_frames: int = 10_000
