"""The `ImageReader` of DICOM, and which objects are no images."""

from collections.abc import Iterator

from pydicom.uid import UID

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges, BytesInMemory
from diagchd_batch.images.formats.dicom.dicom_file import DicomFile
from diagchd_batch.images.formats.dicom.header_parser import DicomHeader, looks_like_dicom, read_header
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.identifying.dicom_elements import identifying_elements
from diagchd_batch.images.limits import DecodeLimits

RESULT_MANUFACTURER = "diagchd-batch"
"""Manufacturer (0008,0070) of the objects that `export dicom` makes."""

_MANUFACTURER = 0x00080070
_IMAGE_WORDS = ("Image Storage", "Photography", "Multi-frame")
_PIXELS_BUT_NO_PICTURE = (
    "Segmentation Storage",
    "RT Dose Storage",
    "Parametric Map Storage",
    "Real World Value Mapping Storage",
    "Raw Data Storage",
)


class DicomReader:
    """The `ImageReader` of DICOM. It also opens files that are read by ranges."""

    formats: tuple[str, ...] = ("DICOM",)
    suffixes: tuple[str, ...] = (".dcm", ".dicom")

    def recognizes(self, data: bytes) -> bool:
        """See `ImageReader.recognizes`."""
        return looks_like_dicom(data)

    def open(self, data: bytes, limits: DecodeLimits) -> DicomFile:
        """See `ImageReader.open`."""
        return self.open_parts(BytesInMemory(data), limits)

    def open_parts(self, file: ByteRanges, limits: DecodeLimits) -> DicomFile:
        """See `PartsReader.open_parts`.

        Raises:
            ItemError: As `ImageReader.open` says, and `not_an_image` for an object without a picture.
        """
        header = read_header(file, limits.max_file_bytes)
        kind = object_without_picture(header)
        if kind is not None:
            raise ItemError(FailureCode.NOT_AN_IMAGE, f"the DICOM object is no image but: {kind}")
        if header.pixels is None:
            raise ItemError(FailureCode.DECODE_ERROR, "the DICOM file ends before its pixels")
        if header.pixels.tag != 0x7FE00010:
            raise ItemError(FailureCode.UNSUPPORTED_FORMAT, "pixels in floating point; export them as 8-bit grey")
        return DicomFile(header, header.pixels, limits)

    def identifying_values(self, data: bytes | ByteRanges, limits: DecodeLimits) -> Iterator[IdentifyingValue]:
        """See `ImageReader.identifying_values`."""
        yield from identifying_elements(read_header(data, limits.max_file_bytes).dataset)


def object_without_picture(header: DicomHeader) -> str | None:
    """Return the kind of an object that holds no picture, such as a report or a DICOMDIR; None for an image.

    Segmentations, dose and parametric maps have pixels, but no picture that a model could score. Neither has a capture
    that `export dicom` sent to the archive: it is a result of this program, and scoring it would count its study twice.
    """
    sop_class = header.sop_class
    name = sop_class.name if sop_class else ""
    if name in _PIXELS_BUT_NO_PICTURE:
        return name
    if _manufacturer(header) == RESULT_MANUFACTURER:
        return f"{name}, a result of {RESULT_MANUFACTURER}"
    if header.pixels is not None or "Rows" in header.dataset or any(word in name for word in _IMAGE_WORDS):
        return None
    if not sop_class:
        return None
    return name if UID(sop_class).is_valid and name != sop_class else "an object of an unknown class"


def _manufacturer(header: DicomHeader) -> str:
    """Return the manufacturer without converting the element, which may be damaged."""
    element = header.dataset.get_item(_MANUFACTURER)
    value = None if element is None else element.value
    text = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return text.rstrip(" \0")
