"""Finding the bytes of a single frame, without reading the others."""

import struct
from itertools import pairwise
from typing import Protocol

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom.element_values import value_of
from diagchd_batch.images.formats.dicom.header_parser import UNDEFINED_LENGTH, DicomHeader, PixelElement
from diagchd_batch.images.formats.dicom.pixel_description import SUBSAMPLED, PixelDescription

_ITEM = 0xFFFEE000
_SEQUENCE_END = 0xFFFEE0DD
MAX_FRAGMENTS = 200_000
"""The largest number of fragments of a file that are looked at."""

# What a frame begins with: JPEG and JPEG-LS, or JPEG 2000.
_FRAME_STARTS = (b"\xff\xd8", b"\xff\x4f\xff\x51")

Span = tuple[int, int]
"""Offset and length of bytes in the body of the file."""


class FrameLocations(Protocol):
    """Where the frames of a file lie.

    Attributes:
        n_frames: Number of frames that the file has or claims to have.
        is_subsampled: Whether the frames are uncompressed and hold the colours of two neighbours once.
        has_frame_offsets: Whether a frame can be found without passing those before it.
    """

    n_frames: int
    is_subsampled: bool
    has_frame_offsets: bool

    def read(self, index: int) -> bytes:
        """Return the bytes of a frame, counted from 0.

        Raises:
            ItemError: The file does not hold them (`decode_error`).
        """
        ...


def locate_frames(header: DicomHeader, pixels: PixelElement, description: PixelDescription) -> FrameLocations:
    """Return where the frames of a file lie.

    Args:
        header: The header.
        pixels: Where its pixels lie.
        description: What it says about them.

    Raises:
        ItemError: The pixels are not stored in the way that the transfer syntax demands (`decode_error`).
    """
    if header.transfer_syntax.is_encapsulated:
        if pixels.length is not None:
            raise ItemError(FailureCode.DECODE_ERROR, "compressed pixels that do not lie in fragments")
        return EncapsulatedFrames(header, pixels, description)
    if pixels.length is None:
        raise ItemError(FailureCode.DECODE_ERROR, "uncompressed pixels whose length is not given")
    return UncompressedFrames(header, pixels, description)


class UncompressedFrames:
    """Frames of equal length, one after the other.

    Attributes:
        n_frames: See `FrameLocations`.
        is_subsampled: See `FrameLocations`. Files that declare it often store RGB.
        has_frame_offsets: See `FrameLocations`.
    """

    has_frame_offsets = True

    def __init__(self, header: DicomHeader, pixels: PixelElement, description: PixelDescription) -> None:
        assert pixels.length is not None
        self._body = header.body
        self._start = pixels.start
        self._length = min(pixels.length, self._body.size_bytes - pixels.start)
        self._swapped = header.is_big_endian and description.bytes_per_sample == 1 and pixels.vr == "OW"
        n_pixels = description.height * description.width * description.bytes_per_sample
        whole = n_pixels * description.samples
        halved = n_pixels * 2 if description.photometric in SUBSAMPLED else whole
        claimed_frames = description.n_frames or 1
        # The length of the element decides, because many files declare YBR_FULL_422 and store RGB.
        self.is_subsampled = halved < whole and pixels.length < whole * claimed_frames
        self.frame_bytes = halved if self.is_subsampled else whole
        self.n_frames = description.n_frames or max(1, self._length // self.frame_bytes)

    def read(self, index: int) -> bytes:
        """See `FrameLocations.read`."""
        start, end = index * self.frame_bytes, (index + 1) * self.frame_bytes
        if end > self._length:
            raise ItemError(FailureCode.DECODE_ERROR, f"the pixels of frame {index} are missing or cut off")
        if not self._swapped:
            return self._body.read(self._start + start, self.frame_bytes)
        # In words of two bytes with the high byte first, each second pixel comes first.
        aligned = start - start % 2
        words = bytearray(self._body.read(self._start + aligned, end + end % 2 - aligned))
        words[0:-1:2], words[1::2] = words[1::2], words[0:-1:2]
        return bytes(words[start - aligned :][: self.frame_bytes])


class EncapsulatedFrames:
    """Frames in fragments. One frame has one or more of them, and an offset table may tell where each frame begins.

    The table is used if it has an entry for each frame and the entry leads to a fragment. Else the fragments are walked
    through, and a frame begins where the codec's first bytes are.

    Attributes:
        n_frames: See `FrameLocations`.
        is_subsampled: See `FrameLocations`.
        has_frame_offsets: See `FrameLocations`.
    """

    is_subsampled = False

    def __init__(self, header: DicomHeader, pixels: PixelElement, description: PixelDescription) -> None:
        self._body = header.body
        tag, length = self._item(pixels.start)
        if tag != _ITEM:
            raise ItemError(FailureCode.DECODE_ERROR, "compressed pixels that do not begin with an offset table")
        self._first = pixels.start + 8 + length
        self._offsets = self._offset_table(header, pixels.start + 8, length)
        self._frames: list[list[Span]] | None = None
        if description.n_frames is None:
            self.n_frames = len(self._offsets) or max(1, len(self._walk(None)))
        else:
            self.n_frames = description.n_frames
        if len(self._offsets) != self.n_frames:
            self._offsets = []
        self.has_frame_offsets = bool(self._offsets) or self.n_frames == 1

    def read(self, index: int) -> bytes:
        """See `FrameLocations.read`."""
        spans = self._by_table(index) or self._by_walk(index)
        if any(start + length > self._body.size_bytes for start, length in spans):
            raise ItemError(FailureCode.DECODE_ERROR, f"the pixels of frame {index} are cut off")
        if len(spans) == 1:
            return self._body.read(*spans[0])
        begin = spans[0][0]
        together = self._body.read(begin, spans[-1][0] + spans[-1][1] - begin)
        return b"".join(together[start - begin : start - begin + length] for start, length in spans)

    def _offset_table(self, header: DicomHeader, start: int, length: int) -> list[int]:
        """Return where each frame begins, from the extended or the basic table; nothing if there is no sound one."""
        table, code = value_of(header.dataset, "ExtendedOffsetTable"), "Q"
        if not isinstance(table, bytes) or not table:
            # A table has four bytes for each frame, and a longer one is not read. It would be no table.
            table, code = (self._body.read(start, length) if length <= 4 * MAX_FRAGMENTS else b""), "I"
        size = struct.calcsize(code)
        offsets = list(struct.unpack(f"<{len(table) // size}{code}", table[: len(table) // size * size]))
        ascending = all(before < after for before, after in pairwise(offsets))
        return offsets if offsets and offsets[0] == 0 and ascending else []

    def _by_table(self, index: int) -> list[Span]:
        """Return the fragments of a frame that the table leads to, or nothing if it leads elsewhere."""
        if not self._offsets:
            return []
        position = self._first + self._offsets[index]
        is_last = index + 1 == len(self._offsets)
        end = self._body.size_bytes if is_last else self._first + self._offsets[index + 1]
        spans: list[Span] = []
        while position < end and len(spans) < MAX_FRAGMENTS:
            tag, length = self._item(position)
            if tag == _SEQUENCE_END and is_last:
                break
            if tag != _ITEM or length == UNDEFINED_LENGTH:
                return []
            spans.append((position + 8, length))
            position += 8 + length
        return spans if is_last or position == end else []

    def _by_walk(self, index: int) -> list[Span]:
        frames = self._frames
        if frames is None:
            frames = self._frames = self._walk(self.n_frames)
        if index >= len(frames):
            raise ItemError(FailureCode.DECODE_ERROR, f"the pixels of frame {index} are missing or cut off")
        return frames[index]

    def _walk(self, n_frames: int | None) -> list[list[Span]]:
        """Return the fragments of each frame, from all fragments of the file."""
        spans: list[Span] = []
        starts: list[bool] = []
        position = self._first
        while len(spans) < MAX_FRAGMENTS:
            tag, length = self._item(position)
            if tag != _ITEM or length == UNDEFINED_LENGTH:
                break
            spans.append((position + 8, length))
            starts.append(self._body.read(position + 8, 4).startswith(_FRAME_STARTS))
            position += 8 + length
        if n_frames == 1:
            return [spans] if spans else []
        if len(spans) == n_frames or not any(starts[:1]):
            return [[span] for span in spans]
        frames: list[list[Span]] = []
        for span, begins in zip(spans, starts, strict=True):
            if begins:
                frames.append([])
            frames[-1].append(span)
        return frames

    def _item(self, position: int) -> tuple[int, int]:
        """Return the tag and length of the item at an offset; a tag of 0 behind the end of the file."""
        head = self._body.read(position, 8)
        if len(head) < 8:
            return 0, 0
        group, element, length = struct.unpack("<HHI", head)
        return group << 16 | element, length
