"""Readers of image files, chosen by content: `open_image(data, limits)` returns an `ImageFile`, whatever the format."""

from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata, ImageFile, ImageReader
from diagchd_batch.images.formats.registry import format_names, image_suffixes, open_image

__all__ = ["FrameGeometry", "FrameMetadata", "ImageFile", "ImageReader", "format_names", "image_suffixes", "open_image"]
