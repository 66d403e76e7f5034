"""The protocol of image readers: what a format must offer so that its files can be scored."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from diagchd_batch.images.formats.byte_ranges import ByteRanges
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.limits import DecodeLimits


@dataclass(frozen=True, slots=True)
class FrameGeometry:
    """Size of one frame as its header declares it, before an EXIF orientation turns it.

    Attributes:
        height: Number of rows, in pixels.
        width: Number of columns, in pixels.
    """

    height: int
    width: int

    @property
    def decoded_bytes(self) -> int:
        """Bytes of the frame once it is decoded to uint8 RGB."""
        return 3 * self.height * self.width


@dataclass(frozen=True, slots=True)
class FrameMetadata:
    """What a file says about one of its frames besides the pixels. A format that cannot say it leaves the value None.

    Attributes:
        time_ms: Milliseconds since the first frame of the clip.
        pixel_height_mm: Height of a pixel of the upright frame.
        pixel_width_mm: Width of a pixel of the upright frame.
        spacing_status: ``ok`` if the size of a pixel is known, else the reason why it is not.
        sector: The rectangle of the ultrasound image that the file tags: top, left, height and width in pixels.
        colour_from: ``declared`` if the colours were decoded as the file declares them, ``data`` if the pixel data
            contradicted the declaration and were followed.
    """

    time_ms: float | None = None
    pixel_height_mm: float | None = None
    pixel_width_mm: float | None = None
    spacing_status: str | None = None
    sector: tuple[int, int, int, int] | None = None
    colour_from: str | None = None


class ImageFile(Protocol):
    """An opened image file. Its headers have been read; nothing has been decoded.

    One instance must not be shared among threads, unless its `concurrent_frames` says otherwise. Any number of files
    can be open in different threads.

    All methods take a frame index that is counted from 0 and raise `ItemError`: `frame_not_found`, `too_large`,
    `decode_error` or `unsupported_format`. MemoryError passes through, because it says nothing about the file.

    Attributes:
        n_frames: Number of frames in the file.
        concurrent_frames: Whether several threads may call the methods at once.
    """

    n_frames: int
    concurrent_frames: bool

    def geometry(self, index: int) -> FrameGeometry:
        """Return the size of a frame from its header. Nothing is decoded."""
        ...

    def metadata(self, index: int) -> FrameMetadata:
        """Return what the file says about a frame besides its pixels. Nothing is decoded."""
        ...

    def frame(self, index: int) -> np.ndarray:
        """Return a frame, upright: uint8 [height, width, 3] with red, green and blue."""
        ...

    def grey_values(self, index: int) -> np.ndarray:
        """Return the grey values of a frame, upright and as stored, without scaling: integers [height, width].

        Colour with red = green = blue counts as grey. Other colour, and floating point, is `unsupported_format`.
        """
        ...

    def identifying_values(self) -> Iterator[IdentifyingValue]:
        """Yield the texts of the headers and metadata that can tell who the patient is. Nothing is decoded.

        `images.identifying.collect` takes them. An exception of any kind means that the rest cannot be read.
        """
        ...


HEAD_BYTES = 64 << 10
"""The first bytes of a file, which are enough to recognise its format."""


class ImageReader(Protocol):
    """A reader of one or more formats. It is registered in `READERS`.

    Attributes:
        formats: Names of the formats, for messages.
        suffixes: Ends of file names in lower case, each with its dot, by which layouts without a manifest find images.
    """

    formats: tuple[str, ...]
    suffixes: tuple[str, ...]

    def recognizes(self, data: bytes) -> bool:
        """Return whether the content of a file is in one of the formats. A file's name says nothing.

        Args:
            data: The whole file, or at least its first `HEAD_BYTES`.
        """
        ...

    def open(self, data: bytes, limits: DecodeLimits) -> ImageFile:
        """Read the headers of a file that `recognizes` accepted.

        Args:
            data: The whole file.
            limits: Bounds that are checked before anything is decoded. The size of the file has been checked already.

        Returns:
            The opened file. Its pixels are decoded frame by frame.

        Raises:
            ItemError: `empty_image`, `unsupported_format`, `too_large` or `decode_error`.
        """
        ...

    def identifying_values(self, data: bytes | ByteRanges, limits: DecodeLimits) -> Iterator[IdentifyingValue]:
        """Yield what `ImageFile.identifying_values` yields, also of a file that `open` refuses.

        Args:
            data: A file that `recognizes` accepted. It lies in memory, unless the reader is a `PartsReader`.
            limits: Bounds that are checked before anything is decoded.
        """
        ...


@runtime_checkable
class PartsReader(ImageReader, Protocol):
    """An `ImageReader` of files of which only the header and the frames that are asked for need to be read."""

    def open_parts(self, file: ByteRanges, limits: DecodeLimits) -> "PartsFile":
        """Return an opened file that `recognizes` accepted, of which only the header was read. See `ImageReader.open`.

        Args:
            file: Access to the parts of the file.
            limits: Bounds that are checked before anything is decoded.
        """
        ...


@runtime_checkable
class PartsFile(ImageFile, Protocol):
    """An `ImageFile` that knows where the bytes of each frame are.

    Attributes:
        has_frame_offsets: Whether a frame can be found without passing those before it.
    """

    has_frame_offsets: bool

    def stored_bytes(self, index: int) -> bytes:
        """Return the bytes of a frame as the file has them, compressed or not.

        Raises:
            ItemError: The file does not hold them (`decode_error`), or has no such frame (`frame_not_found`).
        """
        ...
