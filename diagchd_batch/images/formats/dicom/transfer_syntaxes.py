"""From the bytes of one frame to its samples, for every transfer syntax. The codec of JPEG converts its colours."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import imagecodecs
import numpy as np
from pydicom.uid import UID, JPEG2000TransferSyntaxes, JPEGLSTransferSyntaxes, JPEGTransferSyntaxes, RLELossless

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.dicom.codestream_headers import Codestream, read_jpeg, read_jpeg2000
from diagchd_batch.images.formats.dicom.pixel_description import (
    PARTIAL,
    RGB,
    TRANSFORMED_BY_CODEC,
    YBR,
    YBR_422,
    PixelDescription,
)

_HTJ2K = frozenset({"1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"})
_PROGRESSIVE_JPEG = frozenset({"1.2.840.10008.1.2.4.53", "1.2.840.10008.1.2.4.55"})  # retired, but in archives
_CODECS = (
    frozenset({*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEG2000TransferSyntaxes}) | _HTJ2K | _PROGRESSIVE_JPEG
)
_RLE_HEADER_BYTES = 64


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one frame.

    Attributes:
        values: uint8 or uint16 [height, width] or [height, width, 3], as they are stored.
        bits: Bits of a value that have a meaning. Higher ones may hold anything.
        meaning: What three samples are: ``RGB``, ``YBR_FULL`` or ``YBR_PARTIAL_422``. What one sample is, the header
            says; ``MONOCHROME2`` if that speaks of colour.
        follows_data: Whether the data contradicted what the file declares about colour, and were followed.
    """

    values: np.ndarray
    bits: int
    meaning: str
    follows_data: bool = False


def check_syntax(syntax: UID) -> None:
    """Refuse a transfer syntax that is not read, such as video.

    Raises:
        ItemError: The syntax is not read (`unsupported_format`).
    """
    if not syntax.is_transfer_syntax or syntax.is_private:
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, "pixels in a transfer syntax that is not of the standard")
    if syntax.is_encapsulated and syntax != RLELossless and syntax not in _CODECS:
        raise ItemError(FailureCode.UNSUPPORTED_FORMAT, f"pixels in the transfer syntax {syntax.name}; convert them")


def decode_samples(data: bytes, syntax: UID, description: PixelDescription, *, is_subsampled: bool) -> Samples:
    """Return the samples of one frame.

    Args:
        data: The bytes of the frame.
        syntax: The transfer syntax.
        description: What the header says about the pixels.
        is_subsampled: Whether uncompressed data hold the colours of two neighbours once.

    Raises:
        ItemError: The data are damaged or do not fit the header (`decode_error`).
    """
    if syntax == RLELossless:
        return _as_declared(_decode_rle(data, description), description)
    if not syntax.is_encapsulated:
        return _as_declared(_uncompressed(data, syntax, description, is_subsampled), description, is_subsampled)
    # Which codec it is shows in the data. A file that declares another codec can still be read.
    if data.startswith(b"\xff\xd8"):
        return _decode_jpeg(data, description)
    return _decode_jpeg2000(data, description)


def follows_data(data: bytes, syntax: UID, description: PixelDescription, *, is_subsampled: bool) -> bool:
    """Return `Samples.follows_data` of a frame without decoding it. The arguments are those of `decode_samples`."""
    if not syntax.is_encapsulated or syntax == RLELossless:
        return _meaning_as_declared(description, is_subsampled=is_subsampled)[1]
    stream = read_jpeg(data) if data.startswith(b"\xff\xd8") else read_jpeg2000(data)
    return _meaning_in_codestream(stream, description)[1]


def _as_declared(values: np.ndarray, description: PixelDescription, is_subsampled: bool = False) -> Samples:
    if description.shift:
        values = values >> description.shift
    meaning, follows = _meaning_as_declared(description, is_subsampled=is_subsampled)
    return Samples(values, description.bits_stored, meaning, follows)


def _meaning_as_declared(description: PixelDescription, *, is_subsampled: bool) -> tuple[str, bool]:
    """Return what samples without a codestream are, and whether that contradicts the header."""
    photometric = description.photometric
    if description.samples == 1 or photometric in (RGB, YBR):
        return photometric, False
    if is_subsampled:
        return PARTIAL if photometric == PARTIAL else YBR, False
    # Data of the length of RGB are RGB, also where the header says that colours are thinned out.
    return RGB, True


def _meaning_in_codestream(stream: Codestream, description: PixelDescription) -> tuple[str, bool]:
    """Return what the samples of a codestream are as they are stored, and whether that contradicts the header."""
    photometric = description.photometric
    if stream.samples == 1:
        return (photometric, False) if description.samples == 1 else ("MONOCHROME2", True)
    if stream.is_jpeg2000:
        # Its decoder undoes a conversion of its own. Of other conversions it knows nothing.
        if stream.is_ybr:
            return RGB, photometric not in TRANSFORMED_BY_CODEC
        return (YBR, False) if photometric in (YBR, YBR_422) else (RGB, photometric != RGB)
    declares_ybr = photometric.startswith("YBR")
    is_ybr = declares_ybr if stream.is_ybr is None else stream.is_ybr
    return YBR if is_ybr else RGB, description.samples == 1 or is_ybr != declares_ybr


def _uncompressed(data: bytes, syntax: UID, description: PixelDescription, is_subsampled: bool) -> np.ndarray:
    height, width = description.height, description.width
    order = "<" if syntax.is_little_endian else ">"
    values = np.frombuffer(data, f"{order}u{description.bytes_per_sample}")
    if description.bytes_per_sample == 2:
        values = values.astype(np.uint16, copy=False)
    if description.samples == 1:
        return values.reshape(height, width)
    if is_subsampled:
        return _repeat_colours(values.reshape(height, width // 2, 4))
    if description.planar:
        return np.ascontiguousarray(values.reshape(3, height, width).transpose(1, 2, 0))
    return values.reshape(height, width, 3)


def _repeat_colours(pairs: np.ndarray) -> np.ndarray:
    """Return [height, width, 3] from [height, width / 2, 4] with Y, Y, Cb, Cr."""
    height, n_pairs, _ = pairs.shape
    pixels = np.empty((height, n_pairs, 2, 3), pairs.dtype)
    pixels[..., 0] = pairs[..., :2]
    pixels[..., 1] = pairs[..., 2:3]
    pixels[..., 2] = pairs[..., 3:4]
    return pixels.reshape(height, 2 * n_pairs, 3)


def _decode_rle(data: bytes, description: PixelDescription) -> np.ndarray:
    """Decode PackBits segments, one for each byte of each sample, with the high bytes first."""
    n_bytes = description.bytes_per_sample
    n_segments = n_bytes * description.samples
    if len(data) < _RLE_HEADER_BYTES:
        raise _damaged("the RLE data are cut off")
    count, *offsets = struct.unpack_from("<16I", data)
    if count != n_segments:
        raise _damaged(f"the RLE data have {count} segments, and {n_segments} are needed")
    limits = [*offsets[:n_segments], len(data)]
    n_pixels = description.height * description.width
    planes = np.zeros((description.samples, n_pixels, n_bytes), np.uint8)
    for number, (start, end) in enumerate(pairwise(limits)):
        if not _RLE_HEADER_BYTES <= start <= end <= len(data):
            raise _damaged("the RLE data have segments that lie elsewhere")
        segment = _call(imagecodecs.packbits_decode, data[start:end])
        if len(segment) < n_pixels:
            raise _damaged("the RLE data are cut off")
        # The low byte comes first in memory. Some writers pad a segment.
        planes[number // n_bytes, :, n_bytes - 1 - number % n_bytes] = np.frombuffer(segment, np.uint8, n_pixels)
    values = planes.reshape(description.samples, n_pixels * n_bytes).view(f"<u{n_bytes}")
    if description.samples == 1:
        return values.reshape(description.height, description.width)
    return np.ascontiguousarray(values.T).reshape(description.height, description.width, 3)


def _decode_jpeg(data: bytes, description: PixelDescription) -> Samples:
    stream = read_jpeg(data)
    _check(stream, description)
    meaning, follows = _meaning_in_codestream(stream, description)
    if stream.is_jpegls:
        values = _call(imagecodecs.jpegls_decode, data)
    elif stream.samples == 1:
        values = _call(imagecodecs.jpeg8_decode, data)
    elif stream.is_lossless:  # the codec converts nothing, so it must be told that both are the same
        values = _call(imagecodecs.jpeg8_decode, data, colorspace="RGB", outcolorspace="RGB")
    else:
        kind = "YCBCR" if meaning == YBR else "RGB"
        values = _call(imagecodecs.jpeg8_decode, data, colorspace=kind, outcolorspace="RGB")
        meaning = RGB
    return _from_codestream(values, stream, description, meaning, follows)


def _decode_jpeg2000(data: bytes, description: PixelDescription) -> Samples:
    stream = read_jpeg2000(data)
    _check(stream, description)
    meaning, follows = _meaning_in_codestream(stream, description)
    return _from_codestream(_call(imagecodecs.jpeg2k_decode, data), stream, description, meaning, follows)


def _from_codestream(
    values: np.ndarray, stream: Codestream, description: PixelDescription, meaning: str, follows: bool
) -> Samples:
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.shape != (stream.height, stream.width, 3)[: 2 if stream.samples == 1 else 3] or values.itemsize > 2:
        raise _damaged("the decoded frame does not have the size that its own header gives")
    values = values.view(f"u{values.itemsize}")
    allocated = 8 * description.bytes_per_sample
    if description.bits_stored < stream.bits <= allocated:
        return Samples(values >> description.shift, description.bits_stored, meaning, follows)
    return Samples(values, stream.bits, meaning, follows)


def _check(stream: Codestream, description: PixelDescription) -> None:
    """Check what a codestream says before its decoder allocates memory for it."""
    if (stream.height, stream.width) != (description.height, description.width):
        raise _damaged(
            f"the compressed frame has {stream.width} x {stream.height} pixels, and the header says "
            f"{description.width} x {description.height}"
        )
    if stream.samples not in (1, 3) or not 2 <= stream.bits <= 16:
        raise ItemError(
            FailureCode.UNSUPPORTED_FORMAT, f"a frame with {stream.samples} samples of {stream.bits} bits in a pixel"
        )


def _call(decode: Callable[..., Any], data: bytes, **options: Any) -> Any:
    """Call a codec, and raise as ItemError whatever it raises for damaged data."""
    try:
        return decode(data, **options)
    except MemoryError:
        raise
    except Exception as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error


def _damaged(detail: str) -> ItemError:
    return ItemError(FailureCode.DECODE_ERROR, detail)
