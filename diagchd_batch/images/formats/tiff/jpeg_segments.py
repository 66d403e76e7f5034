"""Strips and tiles of a TIFF page that are compressed as JPEG."""

import imagecodecs
import numpy as np

from diagchd_batch.images.formats.dicom.codestream_headers import read_jpeg
from diagchd_batch.images.formats.tiff.directories import damaged
from diagchd_batch.images.formats.tiff.page_layout import CMYK, RGB, YCBCR, unsupported

_ADOBE = b"Adobe"
_JFIF = b"JFIF\0"


def decode_jpeg(
    stored: bytes, tables: bytes | None, photometric: int, heights: tuple[int, int], width: int, samples: int
) -> np.ndarray:
    """Return the pixels of a strip or tile: uint8 [rows, width, samples], with YCbCr converted to RGB.

    Args:
        stored: The JPEG data.
        tables: The quantisation and Huffman tables of the page, if they are not in `stored`.
        photometric: The page's photometric interpretation, which says what the samples are.
        heights: The least and the largest number of rows.
        width: Columns.
        samples: Samples of a pixel.

    Raises:
        ItemError: The data are cut off or have another size (`decode_error`), or say otherwise than the page what
            their colours are (`unsupported_format`).
    """
    stream = read_jpeg(stored)
    if stream.is_lossless or stream.bits != 8:
        raise unsupported("lossless JPEG, and JPEG of other than 8 bits, is not read in TIFF")
    if stream.samples != samples or stream.width != width or not heights[0] <= stream.height <= heights[1]:
        raise damaged(
            f"JPEG of {stream.width} x {stream.height} pixels with {stream.samples} samples in a strip or tile of "
            f"{width} x {heights[1]} with {samples}"
        )
    # Decoders disagree about colours if the markers contradict the page.
    head = stored[: stored.find(b"\xff\xda")]
    if (photometric == RGB and samples == 3 and (stream.is_ybr or _JFIF in head)) or (
        photometric == YCBCR and _ADOBE in head and stream.is_ybr is False
    ):
        raise unsupported("the JPEG data and the TIFF page disagree whether colours are RGB or YCbCr")
    if photometric == CMYK and _ADOBE in head:
        raise unsupported("CMYK of Adobe's JPEG is not read in TIFF")
    stored_as, wanted = ("YCBCR", "RGB") if photometric == YCBCR else ("UNKNOWN", "UNKNOWN")
    pixels = imagecodecs.jpeg8_decode(stored, tables=tables, colorspace=stored_as, outcolorspace=wanted)
    return pixels.reshape(stream.height, width, samples)
