"""Conversion of a decoded picture to eight bits of red, green and blue.

The result equals that of Keras's `load_img` pixel for pixel, except where Keras clips values. Alpha and colour profiles
are ignored, palettes are looked up, CMYK and YCbCr are converted by Pillow, and 16-bit colour is cut to its high byte.
Keras, through Pillow's `convert`, clips these kinds, which are converted differently here:

* 16-bit grey is cut to its high byte, as 16-bit colour is. Keras makes everything above 255 white. 12-bit grey is cut
  to its upper 8 bits.
* 32-bit integers are taken as they are if all lie in 0 … 255. Others are `unsupported_format`.
* 32-bit floating point is taken as 0 … 1 from black to white. Values outside, and NaN, are `unsupported_format`.

Values are never stretched by an image's own minimum and maximum, so a grey value means the same in every frame.
"""

import numpy as np
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})

_TIFF_BITS_PER_SAMPLE = 258
_TIFF_PHOTOMETRIC = 262
_WHITE_IS_ZERO = 0


def to_rgb(picture: Image.Image) -> np.ndarray:
    """Return the colours of a loaded picture: uint8 [height, width, 3], read-only.

    Raises:
        ItemError: The pixels have no sensible meaning as colours (`unsupported_format`).
    """
    if picture.mode in _EIGHT_BIT_MODES:
        return np.asarray(picture if picture.mode == "RGB" else _without_transparency(picture).convert("RGB"))
    grey_hw_u8 = _grey_to_eight_bits(picture)
    return np.repeat(grey_hw_u8[:, :, np.newaxis], 3, axis=2)


def grey_values(picture: Image.Image) -> np.ndarray:
    """Return the grey values of a loaded picture as stored, without scaling: integers [height, width].

    Raises:
        ItemError: The picture is in colour or floating point (`unsupported_format`). Red = green = blue is grey.
    """
    if picture.mode in _SIXTEEN_BIT_MODES or picture.mode == "I":
        return np.asarray(picture)
    if picture.mode not in _EIGHT_BIT_MODES:
        raise _unsupported(f"pixels of kind {picture.mode} are not grey values")
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))
    rgb_hwc_u8 = to_rgb(picture)
    grey = rgb_hwc_u8[:, :, 0]
    if not (np.array_equal(grey, rgb_hwc_u8[:, :, 1]) and np.array_equal(grey, rgb_hwc_u8[:, :, 2])):
        raise _unsupported("the picture is in colour, not grey")
    return grey


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Drop the transparency on purpose, so that Pillow does not warn when it drops it."""
    picture.info.pop("transparency", None)
    return picture


def _grey_to_eight_bits(picture: Image.Image) -> np.ndarray:
    values = np.asarray(picture)
    white_is_zero = _tiff_tag(picture, _TIFF_PHOTOMETRIC) == (_WHITE_IS_ZERO,)
    if picture.mode in _SIXTEEN_BIT_MODES:
        bits = (_tiff_tag(picture, _TIFF_BITS_PER_SAMPLE) or (16,))[0]
        high = (values >> (bits - 8)).astype(np.uint8)
        return ~high if white_is_zero else high  # Pillow does not invert these modes itself
    if white_is_zero:
        raise _unsupported("32-bit pixels in which zero is white are not supported")
    if picture.mode == "I":
        if values.min() < 0 or values.max() > 255:
            raise _unsupported(f"32-bit integers from {values.min()} to {values.max()}; only 0 to 255 have a meaning")
        return values.astype(np.uint8)
    if picture.mode == "F":
        if not (values.min() >= 0.0 and values.max() <= 1.0):  # also false for NaN
            raise _unsupported(f"floating point from {values.min()} to {values.max()}; only 0 to 1 has a meaning")
        return np.rint(values * np.float32(255)).astype(np.uint8)
    raise _unsupported(f"pixels of kind {picture.mode} are not supported")


def _tiff_tag(picture: Image.Image, tag: int) -> tuple[int, ...] | None:
    value = getattr(picture, "tag_v2", {}).get(tag)
    return value if value is None or isinstance(value, tuple) else (value,)


def _unsupported(detail: str) -> ItemError:
    return ItemError(FailureCode.UNSUPPORTED_FORMAT, f"{detail}; export it as 8-bit grey or RGB")
