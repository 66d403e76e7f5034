"""Conversion of a decoded picture to eight bits of red, green and blue.

The result equals that of Keras's `load_img` pixel for pixel, except where Keras clips values. Alpha and colour profiles
are ignored, palettes are looked up, CMYK and YCbCr are converted by Pillow, and 16-bit colour is cut to its high byte.
Keras, through Pillow's `convert`, clips these kinds, which are converted differently here:

* 16-bit grey is cut to its high byte, as 16-bit colour is. Keras makes everything above 255 white. 12-bit grey is cut
  to its upper 8 bits.
* Signed and 32-bit integers are taken as they are if all lie in 0 … 255. Others are `unsupported_format`.
* 32-bit floating point is taken as 0 … 1 from black to white. Values outside, and NaN, are `unsupported_format`.

Values are never stretched by an image's own minimum and maximum, so a grey value means the same in every frame.
"""

import numpy as np
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

_EIGHT_BIT_MODES = frozenset({"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr"})
_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16B", "I;16L", "I;16N"})


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

    1-bit values become 0 and 255. Alpha is left out, and palettes are looked up.

    Raises:
        ItemError: The picture is in colour or floating point (`unsupported_format`). Red = green = blue is grey.
    """
    if picture.mode in _SIXTEEN_BIT_MODES or picture.mode == "I":
        return np.asarray(picture)
    if picture.mode not in _EIGHT_BIT_MODES or picture.mode == "CMYK":
        raise _unsupported(f"pixels of kind {picture.mode} are not grey values")
    if picture.mode in ("1", "L", "LA"):
        return np.asarray(picture.convert("L"))
    return equal_channels(to_rgb(picture))


def equal_channels(colours_hwc: np.ndarray) -> np.ndarray:
    """Return the grey values of colours: integers [height, width].

    Args:
        colours_hwc: Integers [height, width, 3].

    Raises:
        ItemError: Red, green and blue differ somewhere (`unsupported_format`).
    """
    grey = colours_hwc[:, :, 0]
    if not (np.array_equal(grey, colours_hwc[:, :, 1]) and np.array_equal(grey, colours_hwc[:, :, 2])):
        raise _unsupported("the picture is in colour, not grey")
    return grey


def single_channel_to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Return the grey levels of integers that are taken as they are, or of floating point from 0 to 1.

    Args:
        values: Integers or float32 [height, width].

    Returns:
        uint8 [height, width].

    Raises:
        ItemError: Values lie outside 0 … 255, or 0 … 1 (`unsupported_format`).
    """
    if values.dtype.kind == "f":
        if not (values.min() >= 0.0 and values.max() <= 1.0):  # also false for NaN
            raise _unsupported(f"floating point from {values.min()} to {values.max()}; only 0 to 1 has a meaning")
        return np.rint(values * np.float32(255)).astype(np.uint8)
    if values.min() < 0 or values.max() > 255:
        raise _unsupported(f"integers from {values.min()} to {values.max()}; only 0 to 255 have a meaning")
    return values.astype(np.uint8)


def turned_upright(picture: np.ndarray, orientation: int) -> np.ndarray:
    """Return a picture turned as its EXIF orientation says.

    Args:
        picture: An array [height, width, …].
        orientation: From 1 to 8. Other values say nothing, and the picture stays as it is.
    """
    if orientation in (5, 6, 7, 8):
        picture = picture.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        picture = picture[::-1]
    if orientation in (2, 3, 6, 7):
        picture = picture[:, ::-1]
    return np.ascontiguousarray(picture)


def _without_transparency(picture: Image.Image) -> Image.Image:
    """Drop the transparency on purpose, so that Pillow does not warn when it drops it."""
    picture.info.pop("transparency", None)
    return picture


def _grey_to_eight_bits(picture: Image.Image) -> np.ndarray:
    if picture.mode in _SIXTEEN_BIT_MODES:
        return (np.asarray(picture) >> 8).astype(np.uint8)
    if picture.mode in ("I", "F"):
        return single_channel_to_eight_bits(np.asarray(picture))
    raise _unsupported(f"pixels of kind {picture.mode} are not supported")


def _unsupported(detail: str) -> ItemError:
    return ItemError(FailureCode.UNSUPPORTED_FORMAT, f"{detail}; export it as 8-bit grey or RGB")
