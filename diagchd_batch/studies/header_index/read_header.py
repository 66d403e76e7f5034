"""Reads the header of one object of an archive by ranges to a row of the index."""

from diagchd_batch.errors import DiagchdBatchError, ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import ByteRanges, BytesInMemory, RangedFile
from diagchd_batch.images.formats.dicom import looks_like_dicom, read_header
from diagchd_batch.sources import ObjectInfo, Source
from diagchd_batch.studies.header_index.header_columns import ObjectKind
from diagchd_batch.studies.header_index.header_row import Row, empty_row, row_of_attributes

BLOCK_BYTES = 32 << 10
"""The least that is fetched at once. Most headers are shorter."""

_HEAD_BYTES = 4 << 10
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_MAX_DEFLATED_BYTES = 512 << 10
_MAX_INFLATED_BYTES = 64 << 20
_REFUSED = (FailureCode.ACCESS_DENIED, FailureCode.ARCHIVED, FailureCode.UNREADABLE)


def row_of_object(source: Source, info: ObjectInfo) -> Row | None:
    """Return the row of one object, whatever its bytes are. Its pixels are not read.

    Args:
        source: The archive.
        info: The object, as the listing has it.

    Returns:
        The row, or None if the object is gone.

    Raises:
        StorageFault: The source as a whole cannot be read.
    """
    try:
        return _row(source, info)
    except (DiagchdBatchError, MemoryError):
        raise
    except ItemError as error:
        if error.code is FailureCode.NOT_FOUND:
            return None
        kind = ObjectKind.NOT_READ if error.code in _REFUSED else ObjectKind.UNREADABLE
        return empty_row(info, kind, f"{error.code}: {error.detail}")


def _row(source: Source, info: ObjectInfo) -> Row:
    file = _opened(source, info)
    head = file.read(0, _HEAD_BYTES)
    if not looks_like_dicom(head):
        return empty_row(info, ObjectKind.NOT_DICOM)
    if _DEFLATED in head:
        # A deflated header has no end of its own, and the beginning of the file holds it.
        file = BytesInMemory(file.read(0, _MAX_DEFLATED_BYTES))
    header = read_header(file, _MAX_INFLATED_BYTES)
    row = row_of_attributes(header.dataset, info, header.transfer_syntax)
    if row["kind"] != ObjectKind.DICOMDIR and row["sop_uid"] is None and row["study_uid"] is None:
        row |= {"kind": str(ObjectKind.UNREADABLE), "error": "the header ends before it says what the object is"}
    return row


def _opened(source: Source, info: ObjectInfo) -> ByteRanges:
    if info.size_bytes is None:
        return BytesInMemory(source.read(info.key))
    return RangedFile(info.size_bytes, lambda start, length: source.read_range(info.key, start, length), BLOCK_BYTES)
