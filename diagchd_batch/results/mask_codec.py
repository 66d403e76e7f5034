"""Label maps as small PNG files, and back."""

import io

import imagecodecs
import numpy as np
from PIL.PngImagePlugin import PngImageFile

from diagchd_batch.errors import VerificationError

MASK_ENCODER_VERSION = 2
"""The version of the bytes of masks, which the metadata of score files name.

Version 1 chose a filter for each row of the PNG, as Pillow's `save` does. That took two to three times as long, and
files of predicted masks were larger by a sixth. The pixels are the same, so the version is no part of a run's
fingerprint.
"""

_LEVEL = 6
_NO_FILTER = imagecodecs.PNG.FILTER.NONE
_RUN_LENGTH = imagecodecs.PNG.STRATEGY.RLE
"""zlib's Z_RLE gives smaller files than the default on label maps, and is faster. It uses no hash table, so its bytes
do not depend on the instruction set of the processor."""


def encode_mask(label_map_hw_u8: np.ndarray) -> bytes:
    """Return a label map as an 8-bit grey PNG. The same map gives the same bytes.

    The interpreter lock is free while the map is compressed.

    Args:
        label_map_hw_u8: uint8 class numbers [height, width]. Class 1 becomes grey value 1.
    """
    # The codec refuses odd strides, which an axis of length 1 may have in a contiguous array.
    contiguous = np.ascontiguousarray(label_map_hw_u8).ravel().reshape(label_map_hw_u8.shape)
    return bytes(imagecodecs.png_encode(contiguous, level=_LEVEL, strategy=_RUN_LENGTH, filter=_NO_FILTER))


def decode_mask(png: bytes) -> np.ndarray:
    """Return the label map in a PNG that `encode_mask` made: uint8 [height, width].

    Raises:
        VerificationError: The PNG is damaged.
    """
    try:
        picture = PngImageFile(io.BytesIO(png))
        picture.load()
    except Exception as error:  # Pillow raises a dozen types of error for damaged files
        raise VerificationError(f"a stored mask cannot be decoded ({error}); run verify on this output") from error
    if picture.mode != "L":
        raise VerificationError(f"a stored mask is of kind {picture.mode}, not 8-bit grey; run verify on this output")
    return np.asarray(picture)
