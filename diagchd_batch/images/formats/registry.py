"""Which reader opens a file, by its content. A new format is one module and one entry in `READERS`.

What others need to know of formats (names for messages, suffixes of files) follows from the readers."""

from collections.abc import Iterator

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges
from diagchd_batch.images.formats.dicom import DicomReader
from diagchd_batch.images.formats.image_file import HEAD_BYTES, ImageFile, ImageReader, PartsReader
from diagchd_batch.images.formats.raster import RasterReader
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.limits import DecodeLimits

READERS: tuple[ImageReader, ...] = (DicomReader(), RasterReader())
"""All readers. The first one that recognises a file opens it. The preamble of a DICOM file may look like a TIFF."""


def is_read_in_parts(head: bytes) -> bool:
    """Return whether a file can be opened without reading all of it.

    Args:
        head: The first `HEAD_BYTES` of the file.
    """
    return _parts_reader(head) is not None


def open_image(data: bytes | ByteRanges, limits: DecodeLimits) -> ImageFile:
    """Read the headers of an image file with the reader that recognises its content.

    Args:
        data: The whole file, or access to its parts. If the format cannot be opened in parts, all of it is read.
        limits: Bounds that are checked before anything is decoded.

    Returns:
        The opened file. Its pixels are decoded frame by frame.

    Raises:
        ItemError: `empty_image`, `not_an_image`, `unsupported_format`, `too_large` or `decode_error`.
    """
    size_bytes = len(data) if isinstance(data, bytes) else data.size_bytes
    if not size_bytes:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the file has no bytes")
    if size_bytes > limits.max_file_bytes:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{size_bytes} bytes, over limits.max_file_bytes ({limits.max_file_bytes})"
        )
    if not isinstance(data, bytes):
        if (parts_reader := _parts_reader(data.read(0, HEAD_BYTES))) is not None:
            return parts_reader.open_parts(data, limits)
        data = data.read(0, size_bytes)
    for reader in READERS:
        if reader.recognizes(data):
            return reader.open(data, limits)
    raise _unrecognised()


def header_values(data: bytes | ByteRanges, limits: DecodeLimits) -> Iterator[IdentifyingValue]:
    """Return the texts in a file's headers that can tell who the patient is, also of one that cannot be opened.

    Args:
        data: The whole file, or access to its parts.
        limits: Bounds that are checked before anything is read.

    Returns:
        What `ImageFile.identifying_values` yields.

    Raises:
        ItemError: No reader recognises the content (`unsupported_format`).
    """
    if not isinstance(data, bytes):
        if (parts_reader := _parts_reader(data.read(0, HEAD_BYTES))) is not None:
            return parts_reader.identifying_values(data, limits)
        data = data.read(0, data.size_bytes)
    for reader in READERS:
        if reader.recognizes(data):
            return reader.identifying_values(data, limits)
    raise _unrecognised()


def _unrecognised() -> ItemError:
    return ItemError(FailureCode.UNSUPPORTED_FORMAT, f"the content is not that of a {format_names()} file")


def _parts_reader(head: bytes) -> PartsReader | None:
    """Return the reader that recognises a file, if it opens files in parts."""
    reader = next((reader for reader in READERS if reader.recognizes(head)), None)
    return reader if isinstance(reader, PartsReader) else None


def format_names() -> str:
    """Return the names of all formats for a sentence, such as ``PNG, JPEG or TIFF``."""
    formats = [name for reader in READERS for name in reader.formats]
    return f"{', '.join(formats[:-1])} or {formats[-1]}" if len(formats) > 1 else formats[0]


def image_suffixes() -> tuple[str, ...]:
    """Return the ends of the names of image files, in lower case, each with its dot."""
    return tuple(suffix for reader in READERS for suffix in reader.suffixes)
