"""Bounds on image files, which are checked before anything is decoded."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DecodeLimits:
    """Largest file that is decoded. A larger one fails with `too_large`.

    Attributes:
        max_pixels: Pixels of one frame (height times width), as its header declares them.
        max_file_bytes: Bytes of the file.
        max_frames: Pages of a TIFF, or frames of a DICOM loop.
    """

    max_pixels: int = 50_000_000
    max_file_bytes: int = 1_073_741_824
    max_frames: int = 10_000
