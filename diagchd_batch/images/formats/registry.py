"""Which reader opens a file, by its content. A new format is one module and one entry in `READERS`.

What others need to know of formats (names for messages, suffixes of files) follows from the readers."""

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom import DicomReader
from diagchd_batch.images.formats.image_file import ImageFile, ImageReader
from diagchd_batch.images.formats.raster import RasterReader
from diagchd_batch.images.limits import DecodeLimits

READERS: tuple[ImageReader, ...] = (DicomReader(), RasterReader())
"""All readers. The first one that recognises a file opens it. The preamble of a DICOM file may look like a TIFF."""


def open_image(data: bytes, limits: DecodeLimits) -> ImageFile:
    """Read the headers of an image file with the reader that recognises its content.

    Args:
        data: The whole file.
        limits: Bounds that are checked before anything is decoded.

    Returns:
        The opened file. Its pixels are decoded frame by frame.

    Raises:
        ItemError: `empty_image`, `not_an_image`, `unsupported_format`, `too_large` or `decode_error`.
    """
    if not data:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the file has no bytes")
    if len(data) > limits.max_file_bytes:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{len(data)} bytes, over limits.max_file_bytes ({limits.max_file_bytes})"
        )
    for reader in READERS:
        if reader.recognizes(data):
            return reader.open(data, limits)
    raise ItemError(FailureCode.UNSUPPORTED_FORMAT, f"the content is not that of a {format_names()} file")


def format_names() -> str:
    """Return the names of all formats for a sentence, such as ``PNG, JPEG or TIFF``."""
    formats = [name for reader in READERS for name in reader.formats]
    return f"{', '.join(formats[:-1])} or {formats[-1]}" if len(formats) > 1 else formats[0]


def image_suffixes() -> tuple[str, ...]:
    """Return the ends of the names of image files, in lower case, each with its dot."""
    return tuple(suffix for reader in READERS for suffix in reader.suffixes)
