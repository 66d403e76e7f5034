"""Reader of PNG, JPEG, TIFF and BMP files, through Pillow."""

import io
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile as PilImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges
from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata
from diagchd_batch.images.formats.pixel_conversion import grey_values, to_rgb
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.identifying.picture_texts import texts_of_picture, texts_of_png
from diagchd_batch.images.limits import DecodeLimits

T = TypeVar("T")

# Pillow's classes are called directly and not through `Image.open`. So no other format is ever tried, a JPEG with
# further pictures behind it (MPO) stays one JPEG, and Pillow's process-wide limit does not stand beside `DecodeLimits`.
_SIGNATURES: tuple[tuple[bytes, type[PilImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"II+\0", TiffImageFile),  # BigTIFF
    (b"MM\0+", TiffImageFile),
)
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

_TIFF_SUBFILE_TYPE = 254
_REDUCED_OR_TRANSPARENCY = 0b101  # bits of a thumbnail and of a transparency mask, which are pages but not frames

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that makes a picture upright, by its EXIF orientation."""

# Pillow's messages about a sound file of a kind that it cannot read. All others are about damaged files.
_PILLOW_CANNOT = re.compile(r"unknown pixel mode|cannot handle|unsupported|unknown data organization", re.IGNORECASE)


class RasterReader:
    """The `ImageReader` of PNG, JPEG, TIFF and BMP."""

    formats: tuple[str, ...] = ("PNG", "JPEG", "TIFF", "BMP")
    suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

    def recognizes(self, data: bytes) -> bool:
        """See `ImageReader.recognizes`."""
        return _pillow_class(data) is not None

    def open(self, data: bytes, limits: DecodeLimits) -> "RasterFile":
        """See `ImageReader.open`."""
        pillow_class = _pillow_class(data)
        assert pillow_class is not None, "only files that this reader recognises are opened"
        if _declares_no_pixels(data):
            raise ItemError(FailureCode.EMPTY_IMAGE, "the header gives a width or height of 0")
        with _pillow_errors():
            file = pillow_class(io.BytesIO(data))
            pages = _full_size_pages(file, limits) if isinstance(file, TiffImageFile) else [0]
        _check_pixels(file, limits)
        return RasterFile(file, pages, limits, data)

    def identifying_values(self, data: bytes | ByteRanges, limits: DecodeLimits) -> Iterator[IdentifyingValue]:
        """See `ImageReader.identifying_values`."""
        assert isinstance(data, bytes), "these formats are read as a whole"
        pillow_class = _pillow_class(data)
        assert pillow_class is not None, "only files that this reader recognises are opened"
        yield from texts_of_png(data)
        yield from texts_of_picture(pillow_class(io.BytesIO(data)))


class RasterFile:
    """The `ImageFile` of a raster format. A TIFF has one frame per full-size page; every other file has one frame."""

    concurrent_frames = False

    def __init__(self, file: PilImageFile, pages: list[int], limits: DecodeLimits, data: bytes) -> None:
        """Wrap a file that Pillow has opened; `pages` are the pages that are frames, `data` the whole file."""
        self.n_frames = len(pages)
        self._file = file
        self._pages = pages
        self._limits = limits
        self._data = data

    def geometry(self, index: int) -> FrameGeometry:
        """See `ImageFile.geometry`."""
        self._seek(index)
        width, height = self._file.size
        return FrameGeometry(height, width)

    def metadata(self, index: int) -> FrameMetadata:
        """See `ImageFile.metadata`. None of these formats says any of it."""
        return FrameMetadata()

    def frame(self, index: int) -> np.ndarray:
        """See `ImageFile.frame`."""
        return self._decode(index, to_rgb)

    def grey_values(self, index: int) -> np.ndarray:
        """See `ImageFile.grey_values`."""
        return self._decode(index, grey_values)

    def identifying_values(self) -> Iterator[IdentifyingValue]:
        """See `ImageFile.identifying_values`."""
        yield from texts_of_png(self._data)
        yield from texts_of_picture(self._file)

    def _decode(self, index: int, convert: Callable[[Image.Image], T]) -> T:
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


def _pillow_class(data: bytes) -> type[PilImageFile] | None:
    for signature, pillow_class in _SIGNATURES:
        if data.startswith(signature):
            return pillow_class
    # Two letters are a weak signature (a table may begin with "BMI"), so the size of the second header is checked too.
    if data.startswith(b"BM") and len(data) >= 18 and struct.unpack_from("<I", data, 14)[0] in _BMP_HEADER_SIZES:
        return BmpImageFile
    return None


def _declares_no_pixels(data: bytes) -> bool:
    """Return whether the header of a PNG or BMP gives a width or height of 0. Pillow would call the file damaged."""
    if data.startswith(b"\x89PNG") and data[12:16] == b"IHDR" and len(data) >= 24:
        return 0 in struct.unpack_from(">II", data, 16)
    if data.startswith(b"BM") and len(data) >= 26:
        wide = struct.unpack_from("<I", data, 14)[0] > 12
        return 0 in struct.unpack_from("<ii" if wide else "<HH", data, 18)
    return False


def _full_size_pages(file: TiffImageFile, limits: DecodeLimits) -> list[int]:
    """Return the pages that are frames, with the file at the first of them.

    Pages are counted one by one, so that a chain of too many ends early.
    """
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
    except Exception:  # damaged metadata says nothing about the pixels
        return picture
    method = _UPRIGHT.get(orientation)
    return picture if method is None else picture.transpose(method)


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Raise as ItemError whatever Pillow raises for a bad file, which can be any of a dozen exceptions."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except Image.DecompressionBombError as error:  # Pillow's TIFF reader applies its own limit of 179 million pixels
        raise ItemError(FailureCode.TOO_LARGE, str(error)) from error
    except Exception as error:
        sound = _PILLOW_CANNOT.search(str(error)) is not None
        code = FailureCode.UNSUPPORTED_FORMAT if sound else FailureCode.DECODE_ERROR
        raise ItemError(code, f"{type(error).__name__}: {error}") from error
