"""Decompression of the strips and tiles of a TIFF page into samples as stored."""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import imagecodecs
import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.tiff import page_layout
from diagchd_batch.images.formats.tiff.directories import Directory, Tag, damaged
from diagchd_batch.images.formats.tiff.jpeg_segments import decode_jpeg
from diagchd_batch.images.formats.tiff.page_layout import Layout, unsupported

MAX_SEGMENTS = 500_000
"""Strips or tiles of a page."""

_DECODERS: dict[int, Callable[[bytes, int], bytes | bytearray]] = {
    page_layout.LZW: lambda data, size: imagecodecs.lzw_decode(data, out=size),
    page_layout.PACKBITS: lambda data, size: imagecodecs.packbits_decode(data, out=size),
    page_layout.LZMA: lambda data, size: imagecodecs.lzma_decode(data, out=size),
    page_layout.ZSTD: lambda data, size: imagecodecs.zstd_decode(data, out=size),
}


@dataclass(frozen=True, slots=True)
class _Segment:
    plane: int
    top: int
    left: int
    height: int
    start: int
    size_bytes: int | None


def read_samples(data: bytes, directory: Directory, layout: Layout, max_pixels: int) -> np.ndarray:
    """Return all samples of a page as stored. No colour is converted, except that JPEG's YCbCr becomes RGB.

    Args:
        data: The whole file.
        directory: The tags of the page.
        layout: How its pixels are stored.
        max_pixels: The largest number of pixels of a tile.

    Returns:
        ``layout.dtype`` [height, width, samples], as stored and not yet upright. Samples of less than 8 bits are not
        stretched.

    Raises:
        ItemError: `decode_error`, `unsupported_format` or `too_large`.
    """
    is_tiled = Tag.TILE_WIDTH in directory or Tag.TILE_OFFSETS in directory
    if is_tiled and Tag.STRIP_OFFSETS in directory:
        raise unsupported("the TIFF page has both strips and tiles")
    if is_tiled:
        height, width = directory.integer(Tag.TILE_HEIGHT), directory.integer(Tag.TILE_WIDTH)
    else:
        height, width = min(directory.integer(Tag.ROWS_PER_STRIP, layout.height), layout.height), layout.width
    if height <= 0 or width <= 0:
        raise damaged("strips or tiles without any pixels")
    if height * width > max(max_pixels, layout.height * layout.width):
        raise ItemError(FailureCode.TOO_LARGE, f"tiles of {width} x {height} pixels, over limits.max_pixels")
    tables = directory.numbers(Tag.JPEG_TABLES)
    decode = partial(_decode, layout, None if tables is None else tables.tobytes(), width)
    samples_hwc = np.empty((layout.height, layout.width, layout.samples), layout.dtype)
    for segment in _segments(directory, layout, height, width, is_tiled=is_tiled):
        rows = min(height, layout.height - segment.top)
        columns = min(width, layout.width - segment.left)
        samples = decode(_stored(data, segment, layout, width), segment.height, rows)
        block = samples_hwc[segment.top : segment.top + rows, segment.left : segment.left + columns]
        if layout.is_planar:
            block[:, :, segment.plane] = samples[:rows, :columns, 0]
        else:
            block[...] = samples[:rows, :columns]
    return samples_hwc


def _segments(directory: Directory, layout: Layout, height: int, width: int, *, is_tiled: bool) -> Iterator[_Segment]:
    """Yield the strips or tiles in their order: by plane, then from top to bottom, then from left to right."""
    down, across = -(-layout.height // height), -(-layout.width // width)
    planes = layout.samples if layout.is_planar else 1
    count = planes * down * across
    if count > MAX_SEGMENTS:
        raise ItemError(FailureCode.TOO_LARGE, f"{count} strips or tiles in a page, over {MAX_SEGMENTS}")
    offsets = directory.numbers(Tag.TILE_OFFSETS if is_tiled else Tag.STRIP_OFFSETS)
    sizes = directory.numbers(Tag.TILE_BYTE_COUNTS if is_tiled else Tag.STRIP_BYTE_COUNTS)
    if offsets is None or len(offsets) < count or offsets.dtype.kind != "u":
        raise damaged(f"{0 if offsets is None else len(offsets)} of the {count} strips or tiles have a place")
    if sizes is None and layout.compression != page_layout.UNCOMPRESSED:
        raise damaged("the strips or tiles have no length")
    if sizes is not None and (len(sizes) < count or sizes.dtype.kind != "u"):
        raise damaged(f"{len(sizes)} of the {count} strips or tiles have a length")
    for number in range(count):
        plane, place = divmod(number, down * across)
        top, left = place // across * height, place % across * width
        # Only the last strip may be shorter than the others. Tiles are padded.
        rows = height if is_tiled else min(height, layout.height - top)
        size_bytes = int(sizes[number]) if sizes is not None else None
        yield _Segment(plane, top, left, rows, int(offsets[number]), size_bytes)


def _stored(data: bytes, segment: _Segment, layout: Layout, width: int) -> bytes:
    """Return the stored bytes of a strip or tile. Some writers do not tell the length of uncompressed ones."""
    size_bytes = segment.size_bytes
    if not size_bytes and layout.compression == page_layout.UNCOMPRESSED:
        size_bytes = segment.height * _row_bytes(layout, width)
    if not size_bytes or segment.start + size_bytes > len(data):
        raise damaged("a strip or tile lies outside the file, or is empty")
    stored = data[segment.start : segment.start + size_bytes]
    return bytes(imagecodecs.bitorder_decode(stored)) if layout.is_reversed else stored


def _row_bytes(layout: Layout, width: int) -> int:
    return -(-width * (1 if layout.is_planar else layout.samples) * layout.bits // 8)


def _decode(
    layout: Layout, tables: bytes | None, width: int, stored: bytes, height: int, needed_rows: int
) -> np.ndarray:
    """Return the samples of a strip or tile: [rows, width, samples], of which there are at least `needed_rows`."""
    samples = 1 if layout.is_planar else layout.samples
    if layout.compression == page_layout.JPEG:
        return decode_jpeg(stored, tables, layout.photometric, (needed_rows, height), width, samples)
    if layout.compression in (page_layout.CCITT_RLE, page_layout.CCITT_T4, page_layout.CCITT_T6):
        return _decode_ccitt(layout, stored, height, width)
    row_bytes = _row_bytes(layout, width)
    unpacked = _unpack(layout.compression, stored, height * row_bytes)
    if len(unpacked) < needed_rows * row_bytes:
        raise damaged(f"a strip or tile has {len(unpacked)} bytes, and {needed_rows * row_bytes} are needed")
    rows = min(len(unpacked) // row_bytes, height)
    raw = np.frombuffer(unpacked, np.uint8, rows * row_bytes).reshape(rows, row_bytes)
    if layout.predictor == page_layout.FLOATING_POINT:
        floats = imagecodecs.floatpred_decode(raw.reshape(rows, width, 4).view("<f4")[..., 0])
        return np.asarray(floats, np.float32)[:, :, np.newaxis]
    values = _values(raw, layout, width * samples).reshape(rows, width, samples)
    if layout.predictor == page_layout.HORIZONTAL:
        with np.errstate(over="ignore"):
            values = np.add.accumulate(values, axis=1, dtype=values.dtype)
    return values


def _unpack(compression: int, stored: bytes, size_bytes: int) -> bytes | bytearray:
    """Return at most `size_bytes` decompressed bytes. Damage that a codec notices is an error."""
    if compression == page_layout.UNCOMPRESSED:
        return stored
    if compression in (page_layout.DEFLATE, page_layout.ADOBE_DEFLATE):
        inflater = zlib.decompressobj()
        unpacked = inflater.decompress(stored, size_bytes)
        if len(unpacked) == size_bytes and not inflater.eof:
            inflater.decompress(inflater.unconsumed_tail, 1)  # reads on to the check sum
        return unpacked
    if compression == page_layout.LZW and stored[:1] == b"\0" and len(stored) > 1 and stored[1] & 1:
        raise unsupported("LZW compression of TIFF's version 5 is not read")
    return _DECODERS[compression](stored, size_bytes)


def _decode_ccitt(layout: Layout, stored: bytes, height: int, width: int) -> np.ndarray:
    if layout.compression == page_layout.CCITT_RLE:
        bits = imagecodecs.ccittrle_decode(stored, height=height, width=width)
    elif layout.compression == page_layout.CCITT_T4:
        bits = imagecodecs.ccittfax3_decode(stored, height=height, width=width, t4options=layout.t4_options)
    else:
        bits = imagecodecs.ccittfax4_decode(stored, height=height, width=width)
    if bits.shape != (height, width):
        raise damaged(f"CCITT data of {bits.shape} pixels in a strip or tile of {(height, width)}")
    return (bits != 0).astype(np.uint8)[:, :, np.newaxis]


def _values(raw: np.ndarray, layout: Layout, per_row: int) -> np.ndarray:
    """Return the samples in rows of bytes: [rows, per_row]."""
    if layout.bits >= 8 and layout.bits != 12:
        return raw.view(layout.stored_dtype).astype(layout.dtype, copy=False)
    if layout.bits == 12:  # two samples in three bytes, the first bits first, in both byte orders
        padded = np.zeros((len(raw), -(-raw.shape[1] // 3) * 3), np.uint16)
        padded[:, : raw.shape[1]] = raw
        first, middle, last = padded[:, 0::3], padded[:, 1::3], padded[:, 2::3]
        pairs = np.stack([first << 4 | middle >> 4, (middle & 15) << 8 | last], axis=2)
        return pairs.reshape(len(raw), -1)[:, :per_row]
    if layout.bits == 1:
        return np.unpackbits(raw, axis=1, count=per_row)
    shifts = np.arange(8 - layout.bits, -1, -layout.bits, dtype=np.uint8)
    mask = np.uint8(2**layout.bits - 1)
    return (raw[:, :, np.newaxis] >> shifts & mask).reshape(len(raw), -1)[:, :per_row]
