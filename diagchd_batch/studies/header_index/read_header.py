"""Reads the header of one object of an archive by ranges, and never more of it than the elements that are wanted."""

import io
import zlib
from struct import unpack
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag, Tag
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
)

from diagchd_batch.errors import DiagchdBatchError, ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources import ObjectInfo, Source
from diagchd_batch.studies.header_index.header_columns import ObjectKind
from diagchd_batch.studies.header_index.header_row import WANTED_TAGS, Row, empty_row, row_of_attributes

MAX_HEADER_BYTES = 1 << 20
"""The most bytes of one header that are parsed. Values that are not wanted are skipped, and do not count.

`pydicom` needs about 1 kB of memory for each item of a sequence, and an item can be as short as 8 bytes.
"""

MAX_FETCHES = 64
"""The most ranges of one object that are fetched."""

_FIRST_FETCH_BYTES = 32 << 10
_MAX_VALUE_BYTES = 64 << 10
_MAX_DEFLATED_BYTES = 512 << 10
_PREAMBLE_BYTES = 128
_TRANSFER_SYNTAX, _MEDIA_SOP_CLASS = Tag("TransferSyntaxUID"), Tag("MediaStorageSOPClassUID")
_VRS = b"AE AS AT CS DA DS DT FL FD IS LO LT OB OW PN SH SL SQ SS ST TM UI UL UN US UT".split()


def read_header(source: Source, info: ObjectInfo) -> Row | None:
    """Return the row of one object, whatever its bytes are.

    Args:
        source: The archive.
        info: The object, as the listing has it.

    Returns:
        The row, or None if the object is gone.

    Raises:
        StorageFault: The source as a whole cannot be read.
    """
    try:
        return _row(_RangeFile(source, info), info)
    except (DiagchdBatchError, MemoryError):
        raise
    except ItemError as error:
        if error.code is FailureCode.NOT_FOUND:
            return None
        return empty_row(info, ObjectKind.NOT_READ, f"{error.code}: {error.detail}")
    except _HeaderTooLongError:
        return empty_row(info, ObjectKind.UNREADABLE, "the header is too long")
    except RecursionError:
        return empty_row(info, ObjectKind.UNREADABLE, "the header has sequences that are nested too deeply")
    except Exception as error:  # pydicom and zlib raise many kinds for damaged headers
        return empty_row(info, ObjectKind.UNREADABLE, f"the header is damaged ({type(error).__name__}: {error})"[:300])


class _HeaderTooLongError(Exception):
    """More of a header would have to be read than is allowed."""


class _RangeFile(io.RawIOBase):
    """An object that `pydicom` reads like a file. Blocks are fetched, and they grow while it reads on and on."""

    def __init__(self, source: Source, info: ObjectInfo) -> None:
        self._source = source
        self._key = info.key
        self._size_bytes = info.size_bytes
        self._position = 0
        self._block_start = 0
        self._block = b""
        self._next_fetch = _FIRST_FETCH_BYTES
        self._n_fetches = 0
        self._n_read = 0

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        assert whence in (io.SEEK_SET, io.SEEK_CUR)
        self._position = max(0, offset + (self._position if whence == io.SEEK_CUR else 0))
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        assert size is not None and size >= 0
        if self._size_bytes is not None:
            size = max(0, min(size, self._size_bytes - self._position))
        self._n_read += size
        if self._n_read > MAX_HEADER_BYTES:
            raise _HeaderTooLongError
        skipped = self._position - self._block_start
        if not 0 <= skipped <= len(self._block) - size:
            self._fetch(size)
            skipped = 0
        data = self._block[skipped : skipped + size]
        self._position += len(data)
        return data

    def _fetch(self, size: int) -> None:
        """Fetch a block of at least `size` bytes from the position on, or what there is."""
        self._n_fetches += 1
        if self._n_fetches > MAX_FETCHES:
            raise _HeaderTooLongError
        reads_on = self._block_start <= self._position <= self._block_start + len(self._block)
        self._next_fetch = min(4 * self._next_fetch, MAX_HEADER_BYTES) if reads_on else _FIRST_FETCH_BYTES
        length = max(size, self._next_fetch if self._n_fetches > 1 else _FIRST_FETCH_BYTES)
        self._block = self._source.read_range(self._key, self._position, length)
        self._block_start = self._position


def _row(file: _RangeFile, info: ObjectInfo) -> Row:
    start = file.read(_PREAMBLE_BYTES + 4)
    has_preamble = start[_PREAMBLE_BYTES:] == b"DICM"
    if not has_preamble:
        file.seek(0)
        if not _may_be_dicom(start):
            return empty_row(info, ObjectKind.NOT_DICOM)
    meta = _dataset(file, is_implicit=False, is_little=True, stop_at=0x00030000)
    syntax = _uid(meta, _TRANSFER_SYNTAX)
    if _uid(meta, _MEDIA_SOP_CLASS) == MediaStorageDirectoryStorage:
        return empty_row(info, ObjectKind.DICOMDIR) | {
            "sop_class_uid": str(MediaStorageDirectoryStorage),
            "transfer_syntax_uid": syntax,
        }
    dataset, syntax = _body(file, syntax)
    row = row_of_attributes(dataset, info, syntax)
    if row["sop_class_uid"] is None and row["study_uid"] is None:
        if not has_preamble:
            return empty_row(info, ObjectKind.NOT_DICOM)
        row |= {"kind": str(ObjectKind.UNREADABLE), "error": "the header ends before it says what the object is"}
    return row


def _may_be_dicom(start: bytes) -> bool:
    """Return whether a file without a preamble may begin with a DICOM element of group 2 or 8."""
    if len(start) < 8:
        return False
    groups = unpack("<H", start[:2])[0], unpack(">H", start[:2])[0]
    if start[4:6] in _VRS:
        return groups[0] in (2, 8) or groups[1] == 8
    return groups[0] == 8 and unpack("<L", start[4:8])[0] <= _MAX_VALUE_BYTES


def _body(file: _RangeFile, syntax: str | None) -> tuple[Dataset, str | None]:
    """Return the wanted elements, and the transfer syntax, which is guessed where the file does not name it."""
    if syntax == DeflatedExplicitVRLittleEndian:
        inflated = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(_MAX_DEFLATED_BYTES), MAX_HEADER_BYTES)
        return _dataset(io.BytesIO(inflated), is_implicit=False, is_little=True), syntax
    if syntax is None:
        place, start = file.tell(), file.read(8)
        file.seek(place)
        if start[4:6] not in _VRS:
            syntax = str(ImplicitVRLittleEndian)
        else:
            syntax = str(ExplicitVRBigEndian if start[:1] == b"\0" else ExplicitVRLittleEndian)
    is_little = syntax != ExplicitVRBigEndian
    return _dataset(file, is_implicit=syntax == ImplicitVRLittleEndian, is_little=is_little), syntax


def _dataset(
    file: io.RawIOBase | io.BytesIO, *, is_implicit: bool, is_little: bool, stop_at: int = max(WANTED_TAGS) + 1
) -> Dataset:
    """Read elements before `stop_at`; of the body only those that are wanted."""

    def stop(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag >= stop_at

    wanted: Any = list(WANTED_TAGS) if stop_at > max(WANTED_TAGS) else [_TRANSFER_SYNTAX, _MEDIA_SOP_CLASS]
    return read_dataset(
        file,  # type: ignore[arg-type] # it reads, seeks and tells, which is all that is used
        is_implicit,
        is_little,
        stop_when=stop,
        defer_size=_MAX_VALUE_BYTES,
        specific_tags=wanted,
    )


def _uid(meta: Dataset, tag: BaseTag) -> str | None:
    element = meta.get_item(tag)
    value = element.value if element is not None else None
    return value.decode("ascii", "replace").strip("\0 ") or None if isinstance(value, bytes) else None
