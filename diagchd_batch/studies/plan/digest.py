"""A digest of rows that does not depend on the file format or on the version of the library that wrote them."""

import hashlib

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class TableDigest:
    """SHA-256 over a sequence of tables with columns of strings, integers, and lists of them.

    Columns of strings and lists are encoded as the lengths of the values (-1 for null), followed by the values without
    separators. Columns of integers are encoded as validity and values. Two different tables never have the same
    encoding. The digest also depends on how the rows are split into tables.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def update(self, table: pa.Table) -> None:
        """Add the rows of the next table."""
        self._numbers(pa.array([table.num_rows, table.num_columns], pa.int64()))
        for column in table.columns:
            self._column(column.combine_chunks())

    def hexdigest(self) -> str:
        """Return the digest of all tables so far, as 64 hex digits."""
        return self._hash.hexdigest()

    def _column(self, column: pa.Array) -> None:
        if pa.types.is_list(column.type):
            self._numbers(pc.fill_null(pc.list_value_length(column), -1))
            self._column(column.flatten())
        elif pa.types.is_string(column.type):
            self._numbers(pc.fill_null(pc.binary_length(column), -1))
            self._hash.update(_text_of(column))
        else:
            self._numbers(column.is_valid().cast(pa.int8()))
            self._numbers(pc.fill_null(column, 0))

    def _numbers(self, values: pa.Array) -> None:
        self._hash.update(np.asarray(values.cast(pa.int64())).astype("<i8", copy=False).tobytes())


def _text_of(column: pa.StringArray) -> memoryview:
    """Return the UTF-8 bytes of all values, one after the other, without a copy and without Python strings."""
    filled = pc.fill_null(column, "")
    _, offsets, text = filled.buffers()
    if text is None or not len(filled):
        return memoryview(b"")
    ends = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return memoryview(text)[ends[0] : ends[-1]]
