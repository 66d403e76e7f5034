"""Reader of PNG, JPEG and BMP files through Pillow, and of TIFF files through `images.formats.tiff`."""

import io
import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager

import imagecodecs
import numpy as np
from PIL import ExifTags, PngImagePlugin
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile as PilImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges
from diagchd_batch.images.formats.image_file import FrameGeometry, FrameMetadata, ImageFile
from diagchd_batch.images.formats.jpeg_kind import check_jpeg_kind
from diagchd_batch.images.formats.pixel_conversion import equal_channels, grey_values, to_rgb, turned_upright
from diagchd_batch.images.formats.plain_png import plain_png_colours
from diagchd_batch.images.formats.tiff import TIFF_SIGNATURES, open_tiff, texts_of_tiff
from diagchd_batch.images.identifying import IdentifyingValue
from diagchd_batch.images.identifying.picture_texts import texts_of_picture, texts_of_png
from diagchd_batch.images.limits import DecodeLimits

# Pillow's classes are called directly and not through `Image.open`. So no other format is ever tried, a JPEG with
# further pictures behind it (MPO) stays one JPEG, and Pillow's process-wide limit does not stand beside `DecodeLimits`.
_SIGNATURES: tuple[tuple[bytes, type[PilImageFile]], ...] = (
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"\xff\xd8\xff", JpegImageFile),
)
_PNG_GREY, _PNG_GREY_ALPHA = 0, 4
_BMP_SHORT_COLOURS_BITS = 16
_BMP_HEADER_SIZES = frozenset({12, 16, 40, 52, 56, 64, 108, 124})

# Pillow's messages about a sound file of a kind that it cannot read. All others are about damaged files.
_PILLOW_CANNOT = re.compile(r"unknown pixel mode|cannot handle|unsupported|unknown data organization", re.IGNORECASE)

# By default Pillow refuses a PNG with 1 MiB of compressed text or colour profile, although its pixels are sound. The
# limit holds for the whole process. It is only ever raised, so the order of imports does not matter.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 8 << 20)


class RasterReader:
    """The `ImageReader` of PNG, JPEG, TIFF and BMP."""

    formats: tuple[str, ...] = ("PNG", "JPEG", "TIFF", "BMP")
    suffixes: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

    def recognizes(self, data: bytes) -> bool:
        """See `ImageReader.recognizes`."""
        return data.startswith(TIFF_SIGNATURES) or _pillow_class(data) is not None

    def open(self, data: bytes, limits: DecodeLimits) -> ImageFile:
        """See `ImageReader.open`."""
        if data.startswith(TIFF_SIGNATURES):
            return open_tiff(data, limits)
        pillow_class = _pillow_class(data)
        assert pillow_class is not None, "only files that this reader recognises are opened"
        if _declares_no_pixels(data):
            raise ItemError(FailureCode.EMPTY_IMAGE, "the header gives a width or height of 0")
        if pillow_class is JpegImageFile:
            check_jpeg_kind(data)
        if pillow_class is PngImageFile and data[12:16] == b"CgBI":
            raise ItemError(
                FailureCode.UNSUPPORTED_FORMAT,
                "PNG in the form of iPhone programs (CgBI) is not read; export it as ordinary PNG",
            )
        with _pillow_errors():
            file = pillow_class(io.BytesIO(data))
        _check_pixels(file, limits)
        return RasterFile(file, limits, data)

    def identifying_values(self, data: bytes | ByteRanges, limits: DecodeLimits) -> Iterator[IdentifyingValue]:
        """See `ImageReader.identifying_values`."""
        assert isinstance(data, bytes), "these formats are read as a whole"
        if data.startswith(TIFF_SIGNATURES):
            yield from texts_of_tiff(data)
            return
        pillow_class = _pillow_class(data)
        assert pillow_class is not None, "only files that this reader recognises are opened"
        yield from texts_of_png(data)
        yield from texts_of_picture(pillow_class(io.BytesIO(data)))


class RasterFile:
    """The `ImageFile` of a PNG, JPEG or BMP, which has one frame."""

    concurrent_frames = False
    n_frames = 1

    def __init__(self, file: PilImageFile, limits: DecodeLimits, data: bytes) -> None:
        """Wrap a file that Pillow has opened; `data` is the whole file."""
        self._file = file
        self._limits = limits
        self._data = data

    def geometry(self, index: int) -> FrameGeometry:
        """See `ImageFile.geometry`."""
        self._check_index(index)
        width, height = self._file.size
        return FrameGeometry(height, width)

    def metadata(self, index: int) -> FrameMetadata:
        """See `ImageFile.metadata`. None of these formats says any of it."""
        return FrameMetadata()

    def frame(self, index: int) -> np.ndarray:
        """See `ImageFile.frame`."""
        self._check_index(index)
        if isinstance(self._file, PngImageFile) and (colours := plain_png_colours(self._data)) is not None:
            return colours
        with _pillow_errors():
            self._file.load()
            return turned_upright(to_rgb(self._file), self._orientation())

    def grey_values(self, index: int) -> np.ndarray:
        """See `ImageFile.grey_values`."""
        self._check_index(index)
        with _pillow_errors():
            return turned_upright(self._labels(), self._orientation())

    def identifying_values(self) -> Iterator[IdentifyingValue]:
        """See `ImageFile.identifying_values`."""
        yield from texts_of_png(self._data)
        yield from texts_of_picture(self._file)

    def _labels(self) -> np.ndarray:
        """Return the grey values as stored. Pillow stretches few bits, and cuts 16-bit colour to 8 bits."""
        if isinstance(self._file, BmpImageFile) and _bmp_bits(self._data) == _BMP_SHORT_COLOURS_BITS:
            raise ItemError(
                FailureCode.UNSUPPORTED_FORMAT,
                "BMP of 16 bits stores colours of 5 or 6 bits, which are no labels; export it as 8-bit grey",
            )
        bits, colour_type = self._data[24:26] if isinstance(self._file, PngImageFile) else (8, _PNG_GREY)
        if bits == 16 and colour_type != _PNG_GREY:
            samples_hwc = imagecodecs.png_decode(self._data)
            return samples_hwc[:, :, 0] if colour_type == _PNG_GREY_ALPHA else equal_channels(samples_hwc[:, :, :3])
        self._file.load()
        values = grey_values(self._file)
        return values // np.uint8(255 // (2**bits - 1)) if bits in (2, 4) and colour_type == _PNG_GREY else values

    def _orientation(self) -> int:
        try:
            return self._file.getexif().get(ExifTags.Base.Orientation, 1)
        except Exception:  # damaged metadata says nothing about the pixels
            return 1

    def _check_index(self, index: int) -> None:
        if index != 0:
            raise ItemError(FailureCode.FRAME_NOT_FOUND, f"frame {index} of a file with 1, counted from 0")


def _bmp_bits(data: bytes) -> int:
    """Return the bits of a pixel. The header of 12 bytes has short fields for width and height."""
    (header_bytes,) = struct.unpack_from("<I", data, 14)
    bits: int = struct.unpack_from("<H", data, 24 if header_bytes == 12 else 28)[0]
    return bits


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


def _check_pixels(file: PilImageFile, limits: DecodeLimits) -> None:
    width, height = file.size
    if width * height > limits.max_pixels:
        raise ItemError(
            FailureCode.TOO_LARGE, f"{width} x {height} pixels, over limits.max_pixels ({limits.max_pixels})"
        )


@contextmanager
def _pillow_errors() -> Iterator[None]:
    """Raise as ItemError whatever Pillow raises for a bad file, which can be any of a dozen exceptions."""
    try:
        yield
    except (ItemError, MemoryError):
        raise
    except Exception as error:
        sound = _PILLOW_CANNOT.search(str(error)) is not None
        code = FailureCode.UNSUPPORTED_FORMAT if sound else FailureCode.DECODE_ERROR
        raise ItemError(code, f"{type(error).__name__}: {error}") from error
