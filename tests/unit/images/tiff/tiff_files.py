"""Writes small TIFFs by hand, in every combination of byte order, bits, planes, compression and so on.

Pixels are given as samples [height, width, samples] as they are to be stored, so a test knows what must be read.
"""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import imagecodecs
import numpy as np

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 11: 4, 16: 8}
_CODES = {1: "B", 3: "H", 4: "I", 7: "B", 11: "f", 16: "Q"}
SHORT, LONG, RATIONAL, UNDEFINED, FLOAT = 3, 4, 5, 7, 11

Values = tuple[int, Sequence[int] | Sequence[float] | bytes]
"""Type and values of a tag."""


@dataclass(frozen=True)
class Page:
    """Tags of a page, and the strips or tiles that they need places for."""

    tags: dict[int, Values]
    segments: list[bytes]


@dataclass(frozen=True)
class Kind:
    """A combination of tags."""

    bits: int = 8
    samples: int = 1
    photometric: int = 1
    sample_format: int = 1
    planar: int = 1
    compression: int = 1
    predictor: int = 1
    fill_order: int = 1
    orientation: int = 1
    extra: tuple[int, ...] = ()
    order: str = "<"
    big: bool = False
    tile: tuple[int, int] | None = None
    rows_per_strip: int | None = None
    more: tuple[tuple[int, Values], ...] = field(default=())


def tiff(pages: list[Page], order: str = "<", *, big: bool = False) -> bytes:
    """Return a TIFF of pages in their order."""
    number, count, in_place = ("Q", "Q", 8) if big else ("I", "H", 4)
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if big else 42))
    out += struct.pack(order + "HH", 8, 0) if big else b""
    link = len(out)
    out += bytes(in_place)
    for page in pages:
        places = []
        for segment in page.segments:
            places.append(len(out))
            out += segment + b"\0" * (len(segment) % 2)
        tags = dict(page.tags)
        if places:
            offsets, lengths = (324, 325) if 322 in tags else (273, 279)
            tags.setdefault(offsets, (LONG, places))
            tags.setdefault(lengths, (LONG, [len(segment) for segment in page.segments]))
        struct.pack_into(order + number, out, link, len(out))
        base = len(out) + struct.calcsize(order + count) + len(tags) * (4 + 2 * in_place) + in_place
        out += struct.pack(order + count, len(tags))
        values_behind = bytearray()
        for tag, (kind, values) in sorted(tags.items()):
            raw = _packed(kind, values, order)
            out += struct.pack(f"{order}HH{number}", tag, kind, len(raw) // _SIZES[kind])
            if len(raw) <= in_place:
                out += raw.ljust(in_place, b"\0")
            else:
                out += struct.pack(order + number, base + len(values_behind))
                values_behind += raw + b"\0" * (len(raw) % 2)
        link = len(out)
        out += bytes(in_place) + values_behind
    return bytes(out)


def page_of(samples_hwc: np.ndarray, kind: Kind) -> Page:
    """Return a page with the samples [height, width, samples], stored as `kind` says."""
    height, width, samples = samples_hwc.shape
    tags: dict[int, Values] = {
        256: (LONG, [width]),
        257: (LONG, [height]),
        258: (SHORT, [kind.bits] * samples),
        259: (SHORT, [kind.compression]),
        262: (SHORT, [kind.photometric]),
        277: (SHORT, [samples]),
        284: (SHORT, [kind.planar]),
    }
    if kind.sample_format != 1:
        tags[339] = (SHORT, [kind.sample_format] * samples)
    for tag, value in ((317, kind.predictor), (266, kind.fill_order), (274, kind.orientation)):
        if value != 1:
            tags[tag] = (SHORT, [value])
    if kind.extra:
        tags[338] = (SHORT, list(kind.extra))
    if kind.tile:
        tags |= {322: (SHORT, [kind.tile[1]]), 323: (SHORT, [kind.tile[0]])}
    else:
        tags[278] = (LONG, [kind.rows_per_strip or height])
    tags |= dict(kind.more)
    planes = [samples_hwc[:, :, n : n + 1] for n in range(samples)] if kind.planar == 2 else [samples_hwc]
    return Page(tags, [_compressed(block, kind) for plane in planes for block in _blocks(plane, kind)])


def _blocks(plane: np.ndarray, kind: Kind) -> list[np.ndarray]:
    height, width, samples = plane.shape
    if kind.tile is None:
        rows = kind.rows_per_strip or height
        return [plane[top : top + rows] for top in range(0, height, rows)]
    blocks = []
    for top in range(0, height, kind.tile[0]):
        for left in range(0, width, kind.tile[1]):
            part = plane[top : top + kind.tile[0], left : left + kind.tile[1]]
            block = np.full((*kind.tile, samples), 1, plane.dtype)
            block[: part.shape[0], : part.shape[1]] = part
            blocks.append(block)
    return blocks


def _compressed(block: np.ndarray, kind: Kind) -> bytes:
    if kind.predictor == 2:
        block = np.diff(block, axis=1, prepend=np.zeros_like(block[:, :1]))
    raw = _float_predicted(block) if kind.predictor == 3 else _rows(block, kind)
    if kind.compression in (8, 32946):
        data = zlib.compress(raw)
    elif kind.compression == 5:
        data = bytes(imagecodecs.lzw_encode(raw))
    elif kind.compression == 32773:
        data = b"".join(
            bytes(imagecodecs.packbits_encode(row)) for row in np.split(np.frombuffer(raw, np.uint8), len(block))
        )
    elif kind.compression == 50000:
        data = bytes(imagecodecs.zstd_encode(raw))
    elif kind.compression == 34925:
        data = bytes(imagecodecs.lzma_encode(raw))
    else:
        data = raw
    return bytes(imagecodecs.bitorder_encode(data)) if kind.fill_order == 2 else data


def _rows(block: np.ndarray, kind: Kind) -> bytes:
    """Return the samples of a strip or tile as bytes. Each row begins with a new byte."""
    if kind.bits in (8, 16, 32, 64):
        dtype = np.dtype(f"{kind.order}{'?uif'[kind.sample_format]}{kind.bits // 8}")
        return block.astype(dtype).tobytes()
    shifts = np.arange(kind.bits - 1, -1, -1)
    bits = (block.reshape(len(block), -1, 1).astype(np.int64) >> shifts & 1).astype(np.uint8)
    return np.packbits(bits.reshape(len(block), -1), axis=1).tobytes()


def _float_predicted(block: np.ndarray) -> bytes:
    """Return float32 samples split into their bytes, the highest first, and as differences (TIFF Technical Note 3)."""
    height, width, samples = block.shape
    by_byte = np.frombuffer(block.astype(">f4").tobytes(), np.uint8).reshape(height, width * samples, 4)
    rows = by_byte.transpose(0, 2, 1).reshape(height, -1)
    shifted = np.zeros_like(rows)
    shifted[:, samples:] = rows[:, :-samples]
    return (rows - shifted).tobytes()


def _packed(kind: int, values: Sequence[int] | Sequence[float] | bytes, order: str) -> bytes:
    if isinstance(values, bytes):
        return values
    if kind == RATIONAL:
        return b"".join(struct.pack(order + "II", round(value * 10_000), 10_000) for value in values)
    return struct.pack(f"{order}{len(values)}{_CODES[kind]}", *values)
