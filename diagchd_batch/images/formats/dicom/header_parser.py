"""The safe parser of DICOM headers. Nothing is allocated because the file claims a length."""

import io
import struct
import zlib
from dataclasses import dataclass

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian
from pydicom.valuerep import VR

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges, BytesInMemory
from diagchd_batch.images.formats.dicom.element_values import text_of

MAX_HEADER_BYTES = 32 << 20
"""The largest header that is parsed, without elements that are skipped because they are larger than `MAX_VALUE`."""

MAX_VALUE_BYTES = 1 << 20
"""Elements with a larger value are skipped. The largest that are needed are palettes of 128 KiB."""

MAX_READS = 200_000
"""The largest number of elements and sequence items in a header, which bounds the memory of the parsed header."""

UNDEFINED_LENGTH = 0xFFFFFFFF

_PREAMBLE_BYTES = 128
_MAGIC = b"DICM"
_LAST_HEADER_TAG = 0x7FE00002  # the extended offset table; what follows are the pixels
_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)
_LONG_VRS = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))


@dataclass(frozen=True, slots=True)
class PixelElement:
    """Where the pixels of a file lie.

    Attributes:
        tag: The element's tag: 0x7FE00010 for pixel data, 0x7FE00008 and 0x7FE00009 for floating point.
        vr: The value representation as the file has it, such as ``OW``; empty in an implicit syntax.
        start: Offset of the first byte of the value in `DicomHeader.body`.
        length: Bytes of the value as the element claims them; None if the length is undefined (encapsulated pixels).
    """

    tag: int
    vr: str
    start: int
    length: int | None


@dataclass(frozen=True, slots=True)
class DicomHeader:
    """The elements of a file before its pixels, and where the pixels are.

    Attributes:
        dataset: The elements. Values of more than 1 MiB are left out. Use `value_of` to read them: values are
            converted when they are first read, and a damaged one raises almost anything.
        transfer_syntax: The UID of the encoding. If the file does not say it, the one that its first bytes show.
        body: The bytes that `pixels` lies in: those of the file, inflated if the file is deflated.
        pixels: Where the pixels are; None if the header ends without them.
    """

    dataset: Dataset
    transfer_syntax: UID
    body: ByteRanges
    pixels: PixelElement | None

    @property
    def sop_class(self) -> UID:
        """The kind of object, as a UID; empty if the file does not say it."""
        return UID(text_of(self.dataset, "SOPClassUID"))

    @property
    def is_big_endian(self) -> bool:
        """Whether uncompressed values have their high byte first."""
        return self.transfer_syntax == ExplicitVRBigEndian


def looks_like_dicom(head: bytes) -> bool:
    """Return whether a file is DICOM, with or without a preamble.

    Args:
        head: The first bytes of the file; at least 132 of them, unless it is shorter.
    """
    if head[_PREAMBLE_BYTES : _PREAMBLE_BYTES + len(_MAGIC)] == _MAGIC:
        return True
    if len(head) < 24:
        return False
    for endian in "<>":
        group, element = struct.unpack_from(f"{endian}HH", head)
        # A data set begins with the elements of its file or of its object. Others would be taken for text or tables.
        if group == 0x0002 and element in (0x0000, 0x0001, 0x0002, 0x0010) and head[4:6] in _VRS:
            return True
        if group == 0x0008 and element <= 0x0018 and _begins_an_object(head, endian):
            return True
    return False


def read_header(file: bytes | ByteRanges, max_inflated_bytes: int) -> DicomHeader:
    """Parse the elements of a DICOM file up to its pixels.

    All code that needs elements of a file calls this function. It reads no pixels, it takes a damaged file within
    fixed bounds of memory and time, and from a `RangedFile` it reads little more than the header.

    Args:
        file: The whole file, or access to its parts.
        max_inflated_bytes: The largest size to which a deflated file is inflated.

    Returns:
        The header. Whether the object is an image, and whether its pixels are sound, is not checked.

    Raises:
        ItemError: The header is damaged (`decode_error`), or is too large when inflated (`too_large`).
    """
    ranges = BytesInMemory(file) if isinstance(file, bytes) else file
    try:
        return _parse(ranges, max_inflated_bytes)
    except (ItemError, MemoryError):
        raise
    except Exception as error:  # also RecursionError, for sequences in sequences without end
        # The text of the exception may quote a value of the file.
        raise ItemError(FailureCode.DECODE_ERROR, f"the DICOM header is damaged ({type(error).__name__})") from error


class _BoundedStream(io.RawIOBase):
    """What pydicom reads a header from. It refuses more reads and bytes than a header can need."""

    def __init__(self, ranges: ByteRanges, position: int) -> None:
        self._ranges = ranges
        self._position = position
        self._reads_left = MAX_READS
        self._bytes_left = MAX_HEADER_BYTES

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = self._ranges.size_bytes - self._position if size is None or size < 0 else size
        data = self._ranges.read(self._position, min(wanted, self._bytes_left + 1))
        self._position += len(data)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise ItemError(
                FailureCode.DECODE_ERROR,
                f"the DICOM header has more than {MAX_READS:,} elements or {MAX_HEADER_BYTES >> 20} MiB",
            )
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._ranges.size_bytes}[whence]
        self._position = max(0, origin + offset)
        return self._position

    def tell(self) -> int:
        return self._position


def _parse(ranges: ByteRanges, max_inflated_bytes: int) -> DicomHeader:
    has_preamble = ranges.read(_PREAMBLE_BYTES, len(_MAGIC)) == _MAGIC
    stream = _BoundedStream(ranges, _PREAMBLE_BYTES + len(_MAGIC) if has_preamble else 0)
    meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 0x0002)  # type: ignore[arg-type]
    start = stream.tell()
    syntax = UID(text_of(meta, "TransferSyntaxUID")) or _visible_syntax(ranges.read(start, 8))
    body: ByteRanges = ranges
    if syntax == DeflatedExplicitVRLittleEndian:
        body, start = BytesInMemory(_inflate(ranges.read(start, ranges.size_bytes), max_inflated_bytes)), 0
    stream = _BoundedStream(body, start)
    dataset = read_dataset(
        stream,  # type: ignore[arg-type]
        syntax == ImplicitVRLittleEndian,
        syntax != ExplicitVRBigEndian,
        stop_when=lambda tag, vr, length: tag > _LAST_HEADER_TAG,
        defer_size=MAX_VALUE_BYTES,
    )
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.update(meta)
    dataset.file_meta.TransferSyntaxUID = syntax  # by which pydicom knows the order of bytes
    if "SOPClassUID" not in dataset and "MediaStorageSOPClassUID" in meta:  # a DICOMDIR has it in its meta alone
        dataset.SOPClassUID = text_of(meta, "MediaStorageSOPClassUID")
    endian = ">" if syntax == ExplicitVRBigEndian else "<"
    return DicomHeader(dataset, syntax, body, _pixel_element(body.read(stream.tell(), 12), stream.tell(), endian))


def _pixel_element(head: bytes, position: int, endian: str) -> PixelElement | None:
    if len(head) < 12:
        return None
    group, element, length = struct.unpack_from(f"{endian}HHI", head)
    tag, vr, start = group << 16 | element, "", position + 8
    if head[4:6] in _VRS:
        vr = head[4:6].decode()
        length, start = struct.unpack_from(f"{endian}I", head, 8)[0], position + 12
    if tag not in (0x7FE00008, 0x7FE00009, 0x7FE00010):
        return None
    return PixelElement(tag, vr, start, None if length == UNDEFINED_LENGTH else length)


def _visible_syntax(first_element: bytes) -> UID:
    """Return the uncompressed encoding that the first element of a data set shows."""
    if first_element[4:6] not in _VRS:
        return ImplicitVRLittleEndian
    group = int.from_bytes(first_element[:2], "little")
    return ExplicitVRBigEndian if group >= 0x0100 else UID("1.2.840.10008.1.2.1")


def _inflate(deflated: bytes, max_bytes: int) -> bytes:
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    data = decompressor.decompress(deflated, max_bytes + 1)
    if len(data) > max_bytes:
        raise ItemError(FailureCode.TOO_LARGE, f"over limits.max_file_bytes ({max_bytes}) when it is inflated")
    return data


def _begins_an_object(head: bytes, endian: str) -> bool:
    """Return whether two elements of group 8 in ascending order are at the start of a file."""
    if head[4:6] in _VRS:
        if head[4:6] in _LONG_VRS:
            return False
        length = struct.unpack_from(f"{endian}H", head, 6)[0]
    elif endian == "<":
        length = struct.unpack_from("<I", head, 4)[0]
    else:
        return False
    after = 8 + length
    if length % 2 or len(head) < after + 4:
        return False
    first = struct.unpack_from(f"{endian}HH", head)
    return first < struct.unpack_from(f"{endian}HH", head, after) <= (0x0010, 0xFFFF)
