"""Label maps as small PNG files, and back."""

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from diagchd_batch.errors import VerificationError

_RUN_LENGTH = 3  # zlib's Z_RLE gives smaller files than the default on label maps, and is faster


def encode_mask(label_map_hw_u8: np.ndarray) -> bytes:
    """Return a label map as an 8-bit grey PNG. The same map gives the same bytes.

    Args:
        label_map_hw_u8: uint8 class numbers [height, width]. Class 1 becomes grey value 1.
    """
    buffer = io.BytesIO()
    Image.fromarray(label_map_hw_u8).save(buffer, "PNG", compress_type=_RUN_LENGTH)
    return buffer.getvalue()


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
