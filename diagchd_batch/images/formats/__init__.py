"""Readers of image files, chosen by content: `open_image(data, limits)` returns an `ImageFile`, whatever the format."""

from diagchd_batch.images.formats.byte_ranges import ByteRanges, BytesInMemory, RangedFile
from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata, ImageFile, ImageReader
from diagchd_batch.images.formats.registry import (
    format_names,
    header_values,
    image_suffixes,
    is_read_in_parts,
    open_image,
)

__all__ = [
    "ByteRanges",
    "BytesInMemory",
    "FrameGeometry",
    "FrameMetadata",
    "ImageFile",
    "ImageReader",
    "RangedFile",
    "format_names",
    "header_values",
    "image_suffixes",
    "is_read_in_parts",
    "open_image",
]
