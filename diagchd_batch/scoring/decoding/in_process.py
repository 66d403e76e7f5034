"""Turns one file's bytes into frames and masks on the model's grid, in this process."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from diagchd_batch.images.decode import ImageFile, open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from diagchd_batch.images.resize import resize_labels, resize_to_grid
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget


@dataclass(frozen=True, slots=True)
class DecodeSettings:
    """What decides how a file is decoded: limits, the model's grid, the grey values of masks."""

    limits: DecodeLimits
    height: int
    width: int
    label_map: dict[int, int] | None


@dataclass(frozen=True, slots=True)
class GridFrame:
    """A frame on the model's grid: uint8 [height, width, 3], red, green, blue; and the source's size in pixels."""

    image_hwc_u8: np.ndarray
    source_height: int
    source_width: int


@dataclass(frozen=True, slots=True)
class MaskRequest:
    """Which mask is wanted: that of frame `frame` of an image of this size, its only chosen one or one of several."""

    source_height: int
    source_width: int
    frame: int
    lone_frame: bool


class Decoder(Protocol):
    """Decodes one file at a time, for one thread. Its methods raise ItemError where the file is at fault."""

    def open(self, data: bytes) -> int:
        """Begin with another file; the number of its frames."""
        ...

    def frame(self, index: int) -> GridFrame:
        """Frame `index` of the file opened last."""
        ...

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
        """A reference mask: uint8 classes [height, width] on the model's grid."""
        ...

    def close(self) -> None:
        """Let go of the file and of whatever the decoder runs in."""
        ...


class InProcessDecoder:
    """Decodes in the calling thread; decoded pixels, before their resize, count against `budget`."""

    def __init__(self, settings: DecodeSettings, budget: ByteBudget) -> None:
        self._settings = settings
        self._budget = budget
        self._file: ImageFile | None = None

    def open(self, data: bytes) -> int:
        self._file = None
        self._file = open_image(data, self._settings.limits)
        return self._file.n_frames

    def frame(self, index: int) -> GridFrame:
        if self._file is None:
            raise ValueError("no file is open")
        with self._budget.borrow(self._file.frame_bytes(index)):
            image_hwc_u8 = self._file.frame(index)
            height, width = image_hwc_u8.shape[:2]
            grid = resize_to_grid(image_hwc_u8, self._settings.height, self._settings.width)
        return GridFrame(grid, height, width)

    def mask(self, data: bytes, request: MaskRequest) -> np.ndarray:
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
            return resize_labels(label_map_hw_u8, settings.height, settings.width)

    def close(self) -> None:
        self._file = None
