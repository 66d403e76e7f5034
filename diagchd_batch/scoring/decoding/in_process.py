"""Decodes the bytes of a file to frames and masks on the model's grid, in this process."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from diagchd_batch.images.formats import ByteRanges, FrameMetadata, ImageFile, header_values, open_image
from diagchd_batch.images.formats.image_file import PartsFile
from diagchd_batch.images.identifying import CollectedValues, collect
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from diagchd_batch.images.regions.frame_region import Box, FrameRegion, RegionRule, crop
from diagchd_batch.images.regions.scored_region import scored_region
from diagchd_batch.images.resize import resize_labels, resize_to_grid
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """How files are decoded.

    Attributes:
        limits: Limits on pixels and bytes.
        height: Rows of the model's grid.
        width: Columns of the model's grid.
        label_map: Grey value in a mask -> class 0, 1 or 2; None if the values are the classes.
        region: Which part of a frame is resized to the grid.
    """

    limits: DecodeLimits
    height: int
    width: int
    label_map: dict[int, int] | None
    region: RegionRule = "whole"


@dataclass(frozen=True, slots=True)
class GridFrame:
    """A decoded frame on the model's grid.

    Attributes:
        image_hwc_u8: uint8 ``[height, width, 3]``, red, green and blue.
        source_height: Rows of the frame in its file, in pixels.
        source_width: Columns of the frame in its file, in pixels.
        metadata: What the file says about the frame besides its pixels.
        region: The part of the frame that was resized to the grid.
    """

    image_hwc_u8: np.ndarray
    source_height: int
    source_width: int
    metadata: FrameMetadata
    region: FrameRegion


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """Which mask of a mask file is wanted.

    Attributes:
        source_height: Rows of the image; the mask must have the same.
        source_width: Columns of the image; the mask must have the same.
        region: Top, left, height and width of the part of the frame that is on the grid.
        frame: The number of the image's frame, from 0.
        lone_frame: Whether it is the only chosen frame of the image. A mask file with one frame then belongs to it.
    """

    source_height: int
    source_width: int
    region: Box
    frame: int
    lone_frame: bool


class Decoder(Protocol):
    """Decodes one file at a time, for one thread. Its methods raise ItemError if the file is at fault.

    Attributes:
        opens_parts: Whether `open` also takes access to the parts of a file.
    """

    opens_parts: bool

    @property
    def concurrent_frames(self) -> bool:
        """Whether several threads may call `frame` at once for the file that was opened last."""
        ...

    def open(self, data: bytes | ByteRanges) -> int:
        """Open another file and return the number of its frames.

        Args:
            data: The whole file, or access to its parts if the decoder opens parts.
        """
        ...

    @property
    def has_frame_offsets(self) -> bool:
        """Whether a frame of the file that was opened last can be found without passing those before it."""
        ...

    def stored_bytes(self, index: int) -> bytes:
        """Return the bytes of frame `index` (from 0) of a file that was opened in parts, as the file has them."""
        ...

    def frame(self, index: int) -> GridFrame:
        """Return frame `index` (from 0) of the file that was opened last."""
        ...

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
        """Decode a reference mask and resize it to the grid.

        Args:
            data: The bytes of the mask file.
            request: Which mask of the file is wanted, and the size that it must have.

        Returns:
            uint8 ``[height, width]`` on the model's grid, with classes 0, 1 and 2.

        Raises:
            ItemError: The file cannot be decoded, or is not a mask of the image.
        """
        ...

    def identifying_values(self, mask: bytes | None = None) -> CollectedValues:
        """Return the texts in a file's headers and metadata that can tell who the patient is.

        Args:
            mask: The bytes of a mask file; None for the file that `open` was called with last. Files that cannot be
                opened also have headers.

        Raises:
            ItemError: The file is of no known format.
        """
        ...

    def close(self) -> None:
        """Release the file, and the process of the decoder if it has one."""
        ...


class InProcessDecoder:
    """A `Decoder` in the calling thread."""

    opens_parts = True

    def __init__(self, settings: DecodeSettings, budget: ByteBudget) -> None:
        """Prepare a decoder.

        Args:
            settings: How files are decoded.
            budget: The limit on decoded pixels before their resize, shared with other decoders.
        """
        self._settings = settings
        self._budget = budget
        self._file: ImageFile | None = None
        self._refused: bytes | ByteRanges | None = None

    @property
    def concurrent_frames(self) -> bool:
        """See `Decoder`."""
        return self._file is not None and self._file.concurrent_frames

    @property
    def has_frame_offsets(self) -> bool:
        """See `Decoder`."""
        return isinstance(self._file, PartsFile) and self._file.has_frame_offsets

    def open(self, data: bytes | ByteRanges) -> int:
        """See `Decoder.open`."""
        self._file, self._refused = None, data
        self._file = open_image(data, self._settings.limits)
        self._refused = None
        return self._file.n_frames

    def stored_bytes(self, index: int) -> bytes:
        """See `Decoder.stored_bytes`.

        Raises:
            ValueError: No file is open that was opened in parts.
        """
        if not isinstance(self._file, PartsFile):
            raise ValueError("no file is open in parts")
        return self._file.stored_bytes(index)

    def frame(self, index: int) -> GridFrame:
        """See `Decoder.frame`.

        Raises:
            ValueError: No file is open.
        """
        file = self._file
        if file is None:
            raise ValueError("no file is open")
        with self._budget.borrow(file.geometry(index).decoded_bytes):
            image_hwc_u8 = file.frame(index)
            height, width = image_hwc_u8.shape[:2]
            metadata = file.metadata(index)
            region = scored_region(image_hwc_u8, metadata.sector, self._settings.region)
            grid = resize_to_grid(crop(image_hwc_u8, region.box), self._settings.height, self._settings.width)
        return GridFrame(grid, height, width, metadata, region)

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
        """See `Decoder.mask`."""
        settings = self._settings
        with self._budget.borrow(request.source_height * request.source_width):
            label_map_hw_u8 = read_label_mask(
                data,
                settings.label_map,
                settings.limits,
                (request.source_height, request.source_width),
                frame=request.frame,
                lone_frame=request.lone_frame,
            )
            return resize_labels(crop(label_map_hw_u8, request.region), settings.height, settings.width)

    def identifying_values(self, mask: bytes | None = None) -> CollectedValues:
        """See `Decoder.identifying_values`."""
        if mask is None and self._file is not None:
            return collect(self._file.identifying_values())
        data = self._refused if mask is None else mask
        if data is None:
            raise ValueError("no file is open")
        return collect(header_values(data, self._settings.limits))

    def close(self) -> None:
        """See `Decoder.close`."""
        self._file = self._refused = None
