"""A DICOM loop of which only the header and some frames were retrieved, as a file that any decoder can open."""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats.byte_ranges import ByteRanges, BytesInMemory
from diagchd_batch.images.formats.dicom.dicom_reader import object_without_picture
from diagchd_batch.images.formats.dicom.frame_locations import UncompressedFrames
from diagchd_batch.images.formats.dicom.header_parser import DicomHeader, looks_like_dicom, read_header
from diagchd_batch.images.formats.dicom.pixel_description import PixelDescription, describe_pixels
from diagchd_batch.images.limits import DecodeLimits

_PIXEL_DATA = 0x7FE00010
_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0" + bytes(4)
_UNCOMPRESSED = frozenset({ExplicitVRLittleEndian, ImplicitVRLittleEndian})


@dataclass(frozen=True, slots=True)
class LoopHead:
    """The head of a loop, which is known up to its pixels.

    Attributes:
        head: The first bytes of the file, at least up to its pixels.
        header: The header.
        description: What it says about the pixels.
        n_frames: Number of frames that the header declares.
    """

    head: bytes
    header: DicomHeader
    description: PixelDescription
    n_frames: int

    @property
    def transfer_syntax(self) -> str:
        """UID of the encoding."""
        return str(self.header.transfer_syntax)

    def with_frames(self, frames: Mapping[int, bytes]) -> ByteRanges | None:
        """Return a file with the header and some frames.

        Opened as an image, it gives these frames as the whole file does. Other frames must not be asked for: they are
        empty.

        Args:
            frames: The bytes of each frame as the file has them, by its number from 0.

        Returns:
            Access to the file, or None if the frames do not have the size that the header gives.
        """
        pixels = self.header.pixels
        assert pixels is not None
        if self.header.transfer_syntax.is_encapsulated:
            return BytesInMemory(self.head[: pixels.start] + _encapsulated(frames, self.n_frames))
        frame_bytes = UncompressedFrames(self.header, pixels, self.description).frame_bytes
        if any(len(frame) != frame_bytes for frame in frames.values()):
            return None
        assert pixels.length is not None
        pixel_bytes = min(pixels.length, frame_bytes * self.n_frames)
        return _SparseFile(self.head[: pixels.start], pixel_bytes, frame_bytes, frames)


def read_loop_head(head: bytes, limits: DecodeLimits) -> LoopHead | None:
    """Return the head of a loop whose frames can be retrieved one by one.

    Args:
        head: The first bytes of a file.
        limits: Bounds on the frames.

    Returns:
        The head, or None if the bytes do not reach the pixels, so that more are needed.

    Raises:
        ItemError: The header is one that no decoder accepts.
        ValueError: All of the file is needed, because it is not a loop, or its frames are stored in a way in which
            they are not sent.
    """
    if not looks_like_dicom(head):
        raise ValueError("not DICOM")
    try:
        header = read_header(head, limits.max_file_bytes)
    except ItemError:  # a header that was cut looks like a damaged one
        return None
    pixels = header.pixels
    if pixels is None:
        return None
    if pixels.tag != _PIXEL_DATA or object_without_picture(header) is not None:
        raise ValueError("no picture")
    syntax = header.transfer_syntax
    if syntax not in _UNCOMPRESSED and not syntax.is_encapsulated:
        raise ValueError("big endian or deflated")
    if syntax.is_encapsulated == (pixels.length is not None):
        raise ValueError("pixels that are not stored as the transfer syntax demands")
    description = describe_pixels(header, limits)
    if description.n_frames is None or description.n_frames == 1:
        raise ValueError("not a loop")
    return LoopHead(head, header, description, description.n_frames)


def _encapsulated(frames: Mapping[int, bytes], n_frames: int) -> bytes:
    """Return encapsulated pixels with an offset table, in which frames that are not known are empty."""
    items: list[bytes] = []
    offsets: list[int] = []
    offset = 0
    for number in range(n_frames):
        frame = frames.get(number, b"")
        padding = b"\0" * (len(frame) % 2)  # some servers leave the padding of a fragment out
        items.append(_ITEM + struct.pack("<I", len(frame) + len(padding)) + frame + padding)
        offsets.append(offset)
        offset += len(items[-1])
    table = struct.pack(f"<{n_frames}I", *offsets)
    return b"".join([_ITEM, struct.pack("<I", len(table)), table, *items, _SEQUENCE_END])


class _SparseFile:
    """The `ByteRanges` of a file with uncompressed pixels, of which only the header and some frames are known."""

    def __init__(self, head: bytes, pixel_bytes: int, frame_bytes: int, frames: Mapping[int, bytes]) -> None:
        self.size_bytes = len(head) + pixel_bytes
        self._parts: Sequence[tuple[int, bytes]] = [
            (0, head),
            *((len(head) + number * frame_bytes, frame) for number, frame in frames.items()),
        ]

    def read(self, start: int, length: int) -> bytes:
        """See `ByteRanges.read`. Bytes that are not known are 0."""
        length = max(0, min(length, self.size_bytes - start))
        for offset, part in self._parts:
            if offset <= start and start + length <= offset + len(part):
                return part[start - offset : start - offset + length]
        found = bytearray(length)
        for offset, part in self._parts:
            begin, end = max(start, offset), min(start + length, offset + len(part))
            if begin < end:
                found[begin - start : end - start] = part[begin - offset : end - offset]
        return bytes(found)
