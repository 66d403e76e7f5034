"""Takes the files of an output apart into the texts that they hold, with the place of each."""

import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diagchd_batch.errors import ItemError
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.identifying import collect
from diagchd_batch.images.identifying.picture_texts import texts_of_png
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.privacy.readings import decoded, is_text, lines_of, printed_texts, unescaped

MAX_DEPTH = 3
"""How often a text is taken out of another one: a picture in base64 in a page in an archive."""

MAX_UNPACKED_BYTES = 64 << 20
"""What is read of a compressed member of an archive."""

CELLS_AT_ONCE = 65_536
_PNG = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 4_096


@dataclass(frozen=True)
class Text:
    """Texts that are searched together.

    Attributes:
        parts: Lines or whole values.
        are_fields: Whether they are whole values, such as cells.
        place: Returns the place of a part by its number, for a person.
    """

    parts: Sequence[str]
    are_fields: bool
    place: Callable[[int], str]


class UnreadableError(Exception):
    """A file cannot be taken apart. The message says why."""


def texts_in(data: bytes, depth: int = 0) -> Iterator[Text]:
    """Yield the texts of a file, whatever it is.

    Args:
        data: The contents of the file.
        depth: How often a text was taken out of another one so far.

    Yields:
        The texts with places in the file.

    Raises:
        UnreadableError: The file is a damaged table or archive.
    """
    if data.startswith(b"PAR1"):
        yield from texts_of_table(io.BytesIO(data))
    elif data.startswith(b"PK\x03\x04"):
        yield from _texts_of_archive(data, depth)
    elif data.startswith(b"\x1f\x8b"):
        yield from _nested("unpacked", _unpacked(data), depth)
    elif is_text(data[:_HEAD_BYTES]):
        yield from _texts_of_lines(lines_of(data), depth)
        yield from _fields_of_json(data)
    else:
        yield from _texts_of_binary(data)


def _nested(name: str, data: bytes, depth: int) -> Iterator[Text]:
    if depth < MAX_DEPTH:
        for text in texts_in(data, depth + 1):
            yield Text(text.parts, text.are_fields, lambda part, inner=text: f"{name}, {inner.place(part)}")  # type: ignore[misc]


def _texts_of_lines(lines: list[str], depth: int) -> Iterator[Text]:
    yield Text(lines, False, lambda part: f"line {part + 1}")
    for name, changed in unescaped(lines):
        yield Text(changed, False, lambda part, name=name: f"line {part + 1} (escaped: {name})")  # type: ignore[misc]
    if depth >= MAX_DEPTH:
        return
    for number, line in enumerate(lines):
        for name, data in decoded(line):
            if data.startswith(_PNG) or len(data) > _HEAD_BYTES or is_text(data):
                yield from _nested(f"line {number + 1} ({name})", data, depth)


def _fields_of_json(data: bytes) -> Iterator[Text]:
    if data.lstrip()[:1] not in (b"{", b"["):
        return
    try:
        fields = list(_strings(json.loads(data)))
    except (ValueError, RecursionError):
        return  # it was searched as text
    yield Text(fields, True, lambda part: f"string {part + 1}")


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            yield from _strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner)


def _texts_of_binary(data: bytes) -> Iterator[Text]:
    """Yield the texts of a picture's metadata, or the printable characters of anything else."""
    if data.startswith(_PNG):
        found = collect(texts_of_png(data)).values
    else:
        try:
            found = collect(open_image(data, DecodeLimits()).identifying_values()).values
        except ItemError:
            yield Text(printed_texts(data), False, lambda part: "printable characters in binary data")
            return
    yield Text([value.value for value in found], True, lambda part: "metadata of a picture")


def _texts_of_archive(data: bytes, depth: int) -> Iterator[Text]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            for number, member in enumerate(archive.infolist(), start=1):
                yield Text([member.filename], False, lambda part, n=number: f"name of member {n}")  # type: ignore[misc]
                with archive.open(member) as file:
                    yield from _nested(f"member {number}", file.read(MAX_UNPACKED_BYTES), depth)
    except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error) as error:
        raise UnreadableError("it is a damaged or encrypted archive") from error


def _unpacked(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, MAX_UNPACKED_BYTES)
    except zlib.error as error:
        raise UnreadableError("it is damaged") from error


def texts_of_table(opened: BinaryIO | pa.NativeFile) -> Iterator[Text]:
    """Yield the cells, column names, metadata and statistics of a Parquet file.

    Columns of numbers are not searched. What they hold is computed.

    Args:
        opened: The open file.

    Yields:
        The texts with places in the table.

    Raises:
        UnreadableError: The file is a damaged table.
    """
    try:
        with pq.ParquetFile(opened, pre_buffer=False) as file:
            yield from _texts_of_schema(file)
            for group in range(file.num_row_groups):
                yield from _statistics(file, group)
                for field in file.schema_arrow:
                    if _has_texts(field.type):
                        yield from _cells(file, group, field.name)
    except (pa.ArrowException, OSError) as error:
        raise UnreadableError("it is a damaged table") from error


def _texts_of_schema(file: pq.ParquetFile) -> Iterator[Text]:
    yield Text(_field_names(file.schema_arrow), True, lambda part: "names of columns")
    yield Text([file.metadata.created_by or ""], True, lambda part: "created_by in its metadata")
    for key, value in {**(file.metadata.metadata or {}), **_field_metadata(file.schema_arrow)}.items():
        yield from _metadata("a key in its metadata", key)
        yield from _metadata("a value in its metadata", value)


def _metadata(name: str, value: bytes) -> Iterator[Text]:
    yield Text(lines_of(value), True, lambda part: name)
    yield from _nested(name, value, MAX_DEPTH - 2)


def _field_names(fields: Iterable[pa.Field]) -> list[str]:
    names = []
    for field in fields:
        inner = [field.type.field(number) for number in range(field.type.num_fields)]
        names += [field.name, *_field_names(inner)]
    return names


def _field_metadata(schema: pa.Schema) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for number, field in enumerate(schema):
        for key, value in (field.metadata or {}).items():
            found[b"%d " % number + key] = value
    return found


def _has_texts(kind: pa.DataType) -> bool:
    if pa.types.is_nested(kind):
        return any(_has_texts(kind.field(number).type) for number in range(kind.num_fields))
    if pa.types.is_dictionary(kind):
        return _has_texts(kind.value_type)
    return _is_text_type(kind) or _is_binary_type(kind)


def _is_text_type(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def _is_binary_type(kind: pa.DataType) -> bool:
    plain = pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)
    return plain or pa.types.is_fixed_size_binary(kind)


def _statistics(file: pq.ParquetFile, group: int) -> Iterator[Text]:
    columns = file.metadata.row_group(group)
    for number in range(columns.num_columns):
        statistics = columns.column(number).statistics
        if statistics is not None and statistics.has_min_max:
            values = [_as_text(value) for value in (statistics.min, statistics.max) if isinstance(value, (str, bytes))]
            place = f"statistics of column {number}, row group {group}"
            yield Text(values, True, lambda part, place=place: place)  # type: ignore[misc]


def _as_text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", errors="replace")


def _cells(file: pq.ParquetFile, group: int, name: str) -> Iterator[Text]:
    first_row = 0
    for batch in file.iter_batches(CELLS_AT_ONCE, row_groups=[group], columns=[name], use_threads=False):
        column = batch.column(0)
        for values in _leaves(column):
            start = first_row if len(values) == len(column) else None
            place = _CellPlaces(f"column {name}, row group {group}", values, start)
            if _is_binary_type(values.type):
                yield from _binary_cells(values, place)
            else:
                yield Text([value or "" for value in place.distinct.to_pylist()], True, place.of_value)
        first_row += batch.num_rows


class _CellPlaces:
    """Says in which row a value of a column stands first."""

    def __init__(self, name: str, values: pa.Array, first_row: int | None) -> None:
        self.distinct = pa.array([]) if _is_binary_type(values.type) else pc.unique(values)
        self._name, self._values, self._first_row = name, values, first_row

    def of_value(self, number: int) -> str:
        return self.of_row(pc.index(self._values, self.distinct[number]).as_py())

    def of_row(self, row: int) -> str:
        # The rows of lists are not counted.
        return self._name if self._first_row is None else f"{self._name}, row {self._first_row + row}"


def _binary_cells(values: pa.Array, places: _CellPlaces) -> Iterator[Text]:
    for row, value in enumerate(values.to_pylist()):
        if value and value.startswith(_PNG):
            if found := [one.value for one in collect(texts_of_png(value)).values]:
                yield Text(found, True, lambda part, row=row: f"{places.of_row(row)} (metadata of a picture)")  # type: ignore[misc]
        elif value:
            yield from _nested(places.of_row(row), value, MAX_DEPTH - 2)


def _leaves(values: pa.Array) -> Iterator[pa.Array]:
    """Yield the texts and binary values of a column without the lists and structures around them."""
    kind = values.type
    if pa.types.is_dictionary(kind):
        yield from _leaves(values.dictionary_decode())
    elif pa.types.is_struct(kind):
        for inner in values.flatten():
            yield from _leaves(inner)
    elif pa.types.is_map(kind):
        yield from _leaves(values.keys)
        yield from _leaves(values.items)
    elif pa.types.is_nested(kind):
        yield from _leaves(values.flatten())
    elif _is_text_type(kind) or _is_binary_type(kind):
        yield values
