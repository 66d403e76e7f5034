"""Image files, as bytes, to uint8 RGB frames."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image
from PIL.ImageFile import ImageFile as PilImageFile
from PIL.TiffImagePlugin import TiffImageFile

from diagchd_batch.errors import ItemError
from diagchd_batch.failures import FailureCode
from diagchd_batch.images.formats import declares_no_pixels, sniff
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.pixels import to_rgb

T = TypeVar("T")

_TIFF_SUBFILE_TYPE = 254
_REDUCED_OR_TRANSPARENCY = 0b101  # a thumbnail or a transparency mask: a page that is not a frame

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation → what turns the picture upright."""

# How Pillow words a sound file of a kind that it cannot read, as against a damaged one.
_PILLOW_CANNOT = re.compile(r"unknown pixel mode|cannot handle|unsupported|unknown data organization", re.IGNORECASE)


class ImageFile:
    """An opened image file: headers read, nothing decoded.

    A TIFF has as many frames as it has full-size pages; every other file has one. Not to be shared among threads, but
    any number may be open in different threads.
    """

    def __init__(self, file: PilImageFile, pages: list[int], limits: DecodeLimits) -> None:
        self._file = file
        self._pages = pages
        self._limits = limits
        self.n_frames = len(pages)

    def frame(self, index: int) -> np.ndarray:
        """Frame `index` (from 0), upright (EXIF): uint8 [height, width, 3], red, green, blue.

        Raises ItemError: `frame_not_found`, `too_large`, `decode_error`, `unsupported_format`. MemoryError passes
        through, because it says something of the machine rather than of the file.
        """
        return self._read(index, to_rgb)

    def picture_values(self, index: int, convert: Callable[[Image.Image], T]) -> T:
        """As `frame`, with a conversion of the caller's own instead of that to RGB."""
        return self._read(index, convert)

    def frame_bytes(self, index: int) -> int:
        """Bytes that frame `index` takes once decoded, from its header alone. Raises ItemError as `frame` does."""
        self._seek(index)
        width, height = self._file.size
        return 3 * height * width

    def _read(self, index: int, convert: Callable[[Image.Image], T]) -> T:
        self._seek(index)
        with _pillow_errors():
            self._file.load()
            return convert(_upright(self._file))

    def _seek(self, index: int) -> None:
        if not 0 <= index < self.n_frames:
            raise ItemError(
                FailureCode.FRAME_NOT_FOUND, f"frame {index} of a file with {self.n_frames}, counted from 0"
            )
        with _pillow_errors():
            if isinstance(self._file, TiffImageFile):
                self._file.seek(self._pages[index])
        _check_pixels(self._file, self._limits)


def open_image(data: bytes, limits: DecodeLimits) -> ImageFile:
    """Reads the headers of a PNG, JPEG, TIFF or BMP file, recognised by its content.

    Raises ItemError: `empty_image`, `unsupported_format`, `too_large`, `decode_error`.
    """
    if not data:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the file has no bytes")
    if len(data) > limits.max_file_bytes:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{len(data)} bytes, over limits.max_file_bytes ({limits.max_file_bytes})"
        )
    reader = sniff(data)
    if reader is None:
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, "the content is not that of a PNG, JPEG, TIFF or BMP file")
    if declares_no_pixels(data):
        raise ItemError(FailureCode.EMPTY_IMAGE, "the header gives a width or height of 0")
    with _pillow_errors():
        file = reader(io.BytesIO(data))
        pages = _full_size_pages(file, limits) if isinstance(file, TiffImageFile) else [0]
    _check_pixels(file, limits)
    return ImageFile(file, pages, limits)


def _full_size_pages(file: TiffImageFile, limits: DecodeLimits) -> list[int]:
    """Pages that are frames, leaving the file at the first. Counted one by one, so that a long chain is cut short."""
    subfile_types = [file.tag_v2.get(_TIFF_SUBFILE_TYPE, 0)]
    while True:
        try:
            file.seek(len(subfile_types))
        except EOFError:
            break
        subfile_types.append(file.tag_v2.get(_TIFF_SUBFILE_TYPE, 0))
        if len(subfile_types) > limits.max_frames:
            raise ItemError(FailureCode.TOO_LARGE, f"more than {limits.max_frames} pages")
    pages = [page for page, kind in enumerate(subfile_types) if not kind & _REDUCED_OR_TRANSPARENCY]
    pages = pages or list(range(len(subfile_types)))
    file.seek(pages[0])
    return pages


def _check_pixels(file: PilImageFile, limits: DecodeLimits) -> None:
    width, height = file.size
    if width * height > limits.max_pixels:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{width} x {height} pixels, over limits.max_pixels ({limits.max_pixels})"
        )


def _upright(picture: Image.Image) -> Image.Image:
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged metadata says nothing of the pixels
        return picture
    method = _UPRIGHT.get(orientation)
    return picture if method is None else picture.transpose(method)


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Whatever Pillow's readers raise at a bad file (a dozen types) as an ItemError."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # Pillow's TIFF reader asks its own limit, of 179 million pixels
        raise ItemError(FailureCode.TOO_LARGE, str(error)) from error
    except Exception as error:
        sound = _PILLOW_CANNOT.search(str(error)) is not None
        code = FailureCode.UNSUPPORTED_FORMAT if sound else FailureCode.DECODE_ERROR
        raise ItemError(code, f"{type(error).__name__}: {error}") from error
