"""Label maps as small PNG files, and back."""

import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from diagchd_batch.errors import VerificationError

_RUN_LENGTH = 3  # zlib's Z_RLE: on label maps smaller than the default, and faster


def encode_mask(label_map_hw_u8: np.ndarray) -> bytes:
    """uint8 class numbers [height, width] as an 8-bit grey PNG, class 1 being grey value 1. Same map, same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(label_map_hw_u8).save(buffer, "PNG", compress_type=_RUN_LENGTH)
    return buffer.getvalue()


def decode_mask(png: bytes) -> np.ndarray:
    """The label map in a PNG that `encode_mask` made: uint8 [height, width]. Raises VerificationError if damaged."""
    try:
        picture = PngImageFile(io.BytesIO(png))
        picture.load()
    except Exception as error:  # Pillow raises a dozen types at damaged files
        raise VerificationError(f"a stored mask cannot be decoded ({error}); run verify on this output") from error
    if picture.mode != "L":
        raise VerificationError(f"a stored mask is of kind {picture.mode}, not 8-bit grey; run verify on this output")
    return np.asarray(picture)
