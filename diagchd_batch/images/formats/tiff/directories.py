"""The directories of a TIFF file: the chain of its pages and the values of their tags."""

import struct
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from diagchd_batch.errors import ItemError
from diagchd_batch.failure_codes import FailureCode

MAX_ENTRIES = 4096
"""Tags of a page. Files have a few dozen; a larger number is a sign of damage."""

_CODES = {
    1: "u1",
    3: "u2",
    4: "u4",
    5: "u4",
    6: "i1",
    8: "i2",
    9: "i4",
    11: "f4",
    12: "f8",
    13: "u4",
    16: "u8",
    18: "u8",
}
_RATIONAL = 5


class Tag(IntEnum):
    """The tags on which the pixels of a page depend."""

    SUBFILE_TYPE = 254
    OLD_SUBFILE_TYPE = 255
    WIDTH = 256
    HEIGHT = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR = 284
    T4_OPTIONS = 292
    T6_OPTIONS = 293
    PREDICTOR = 317
    COLOUR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    INK_SET = 332
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    YCBCR_COEFFICIENTS = 529
    YCBCR_SUBSAMPLING = 530
    REFERENCE_BLACK_WHITE = 532
    IMAGE_DEPTH = 32997


_KNOWN = np.array([tag.value for tag in Tag])
_ANY_TYPE = frozenset({Tag.JPEG_TABLES})


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    start: int


class Directory:
    """The tags of one page.

    Attributes:
        byte_order: ``<`` or ``>``.
        is_big: Whether the file is a BigTIFF.
    """

    def __init__(self, data: bytes, byte_order: str, *, is_big: bool, entries: dict[int, _Entry]) -> None:
        """Wrap the entries of a page of the file `data`. No value has been read yet."""
        self.byte_order = byte_order
        self.is_big = is_big
        self._data = data
        self._entries = entries

    def __contains__(self, tag: Tag) -> bool:
        return tag in self._entries

    def numbers(self, tag: Tag) -> np.ndarray | None:
        """Return the values of a tag: numbers [count]; None if the page lacks the tag.

        Raises:
            ItemError: The values lie outside the file, or are not numbers (`decode_error`).
        """
        if (entry := self._entries.get(tag)) is None:
            return None
        code = "u1" if tag in _ANY_TYPE else _CODES.get(entry.kind)
        if code is None or entry.count == 0:
            raise damaged(f"tag {tag.value} has values of type {entry.kind}, {entry.count} of them")
        per_value = 2 if entry.kind == _RATIONAL else 1
        if entry.start + entry.count * per_value * int(code[1]) > len(self._data):
            raise damaged(f"the values of tag {tag.value} lie outside the file")
        dtype = np.dtype(self.byte_order + code)
        values = np.frombuffer(self._data, dtype, entry.count * per_value, entry.start).astype(dtype.newbyteorder("="))
        if entry.kind == _RATIONAL:
            parts = values.reshape(-1, 2).astype(np.float64)
            with np.errstate(divide="ignore", invalid="ignore"):
                return parts[:, 0] / parts[:, 1]
        return values

    def integers(self, tag: Tag, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return the values of a tag that has few integers.

        Args:
            tag: The tag.
            default: What is returned if the page lacks the tag.

        Raises:
            ItemError: They lie outside the file, are not integers, or are more than 64 (`decode_error`).
        """
        values = self.numbers(tag)
        if values is None:
            return default
        if values.dtype.kind not in "ui" or len(values) > 64:
            raise damaged(f"tag {tag.value} does not hold a few integers")
        return tuple(int(value) for value in values)

    def integer(self, tag: Tag, default: int | None = None) -> int:
        """Return the only value of a tag.

        Args:
            tag: The tag.
            default: What is returned if the page lacks the tag. Without a default, the tag must be there.

        Raises:
            ItemError: There is no value and no default, or not an only integer (`decode_error`).
        """
        values = self.integers(tag) if tag in self else ()
        if not values and default is not None:
            return default
        if len(values) != 1:
            raise damaged(f"tag {tag.value} has {len(values)} values, and must have 1")
        return values[0]


def read_directories(data: bytes, max_pages: int) -> list[Directory | ItemError]:
    """Return the directories of all pages of a TIFF.

    Args:
        data: The whole file.
        max_pages: The largest number of pages.

    Returns:
        One item a page: its directory, or the error of a page whose directory is damaged. A page that cannot be read
        ends the chain, because it holds the place of the next one. A chain that leads back to a page ends there.

    Raises:
        ItemError: The file has too many pages (`too_large`), no page (`empty_image`), or is cut off in its header
            (`decode_error`).
    """
    byte_order = "<" if data.startswith(b"II") else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    if len(data) < (16 if is_big else 8):
        raise damaged("the file is cut off in its header")
    if is_big and struct.unpack_from(f"{byte_order}HH", data, 4) != (8, 0):
        raise damaged("the header of the BigTIFF is damaged")
    (place,) = struct.unpack_from(byte_order + ("Q" if is_big else "I"), data, 8 if is_big else 4)
    pages: list[Directory | ItemError] = []
    seen: set[int] = set()
    while place and place not in seen:
        if len(pages) == max_pages:
            raise ItemError(FailureCode.TOO_LARGE, f"more than {max_pages} pages")
        seen.add(place)
        try:
            directory, place = _read_directory(data, place, byte_order, is_big=is_big)
        except ItemError as error:
            pages.append(error)
            break
        pages.append(directory)
    if not pages:
        raise ItemError(FailureCode.EMPTY_IMAGE, "the TIFF has no page")
    return pages


def _read_directory(data: bytes, place: int, byte_order: str, *, is_big: bool) -> tuple[Directory | ItemError, int]:
    """Return a page's directory and the place of the next one."""
    count_code, value_code, in_place = ("Q", "Q", 8) if is_big else ("H", "I", 4)
    start = place + struct.calcsize(byte_order + count_code)
    if start > len(data):
        raise damaged(f"page directory at byte {place}, outside the file")
    (count,) = struct.unpack_from(byte_order + count_code, data, place)
    fields = {"tag": "u2", "kind": "u2", "count": f"u{in_place}", "value": f"u{in_place}"}
    entry_dtype = np.dtype([(name, byte_order + code) for name, code in fields.items()])
    end = start + count * entry_dtype.itemsize
    if count == 0 or count > MAX_ENTRIES or end > len(data):
        raise damaged(f"page directory of {count} tags at byte {place}")
    # Some writers leave out the last pointer, so that the file ends with the entries.
    following = struct.unpack_from(byte_order + value_code, data, end)[0] if end + in_place <= len(data) else 0
    table = np.frombuffer(data, entry_dtype, count, start)
    entries: dict[int, _Entry] = {}
    for number in np.flatnonzero(np.isin(table["tag"], _KNOWN)):
        tag, kind, length = (int(table[name][number]) for name in ("tag", "kind", "count"))
        if tag in entries:
            return damaged(f"tag {tag} stands in the page directory twice"), following
        size = _value_bytes(kind) * length
        value_place = start + int(number) * entry_dtype.itemsize + entry_dtype.itemsize - in_place
        if size > in_place:
            (value_place,) = struct.unpack_from(byte_order + value_code, data, value_place)
        entries[tag] = _Entry(kind, length, value_place)
    return Directory(data, byte_order, is_big=is_big, entries=entries), following


def _value_bytes(kind: int) -> int:
    size = int(_CODES.get(kind, "u1")[1])
    return 2 * size if kind == _RATIONAL else size


def damaged(detail: str) -> ItemError:
    """Return the error of a damaged file."""
    return ItemError(FailureCode.DECODE_ERROR, detail)
