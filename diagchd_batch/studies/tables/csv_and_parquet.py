"""Reads the tables that users write: manifests, reference standards, readers' calls and covariates.

A table is CSV (with commas, semicolons or tabs, any line ends, and with or without a byte-order mark) or Parquet, on
disk or on S3. All cells are trimmed strings, and no type is guessed from their content. Tables are streamed, so memory
does not depend on the number of rows.
"""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.errors import InputError, ItemError
from diagchd_batch.sources import open_source
from diagchd_batch.sources.seekable_file import SeekableFile
from diagchd_batch.uris import normalize_uri
from diagchd_batch.wording import counted

BATCH_ROWS = 16_384
DELIMITERS = ",;\t"
_READ_AHEAD_BYTES = 1_048_576
_PARQUET_MAGIC = b"PAR1"
_WORKBOOK_MAGICS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""What .xlsx and .ods files (ZIP) and .xls files begin with."""
_MAX_CELL_CHARACTERS = 131_072
_MAX_PARSED_CELL_CHARACTERS = 16 << 20
"""The longest cell that is parsed. It bounds the memory that a quotation mark without its partner can take."""
_MISSPELT_FROM = (
    0.8  # similarity from 0 to 1; subject is taken for subject_id, but study_date is not taken for study_id
)
_TEXT_ONLY = {"study_id", "study_uid", "accession_number", "subject_id", "reader", "uri"}

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class TableBatch:
    """Consecutive rows of a table. `rows[i]` is the line of row i in a CSV file, or its number (from 1) in Parquet.

    The cells are trimmed. A null or NaN of Parquet is an empty cell.
    """

    source: str  # the table's name in messages
    unit: str  # line or row, for messages
    rows: Sequence[int]
    cells: Mapping[str, Sequence[str]]  # by column

    def parse(self, column: str, parse_cell: Callable[[str], Value]) -> list[Value]:
        """Return the column's values in the order of the rows.

        Args:
            column: The column's name. An absent column has empty cells.
            parse_cell: Takes a trimmed cell, and raises ValueError with what is wrong with it.

        Raises:
            InputError: A cell is invalid. The message names its row.
        """
        parsed: dict[str, Value] = {}
        cells = self.cells.get(column) or [""] * len(self.rows)
        for row, cell in zip(self.rows, cells, strict=True):
            if cell not in parsed:
                try:
                    parsed[cell] = parse_cell(cell)
                except ValueError as error:
                    raise InputError(f"{self.source}, {self.unit} {row}: {column} {error}") from None
        return [parsed[cell] for cell in cells]


@dataclass(frozen=True, slots=True)
class TableColumns:
    """The columns that a table must and may have. Their names match in any case; other columns keep theirs.

    Attributes:
        required: Columns that the table must have.
        optional: Columns that it may have.
        one_of: Columns of which it must have at least one; no columns, if there is no such choice.
        others_are_read: Whether other columns have a meaning, as covariates do. If not, they may hold anything.
    """

    required: tuple[str, ...]
    optional: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()
    others_are_read: bool = False

    def are_read(self, name: str) -> bool:
        """Return whether the cells of a column have a meaning.

        Args:
            name: The column's name, in the case of the declared columns.
        """
        return self.others_are_read or name in {*self.required, *self.optional, *self.one_of}


def read_table(uri: str, source: str, columns: TableColumns) -> Iterator[TableBatch]:
    """Yield the rows of a table in batches. Empty lines are skipped.

    Args:
        uri: A local path or an ``s3://`` URI.
        source: The table's name in messages, such as ``input.manifest``. Messages never show its path.
        columns: The columns that the table must and may have.

    Raises:
        InputError: The file is absent, cannot be read or parsed, or lacks a required column.
    """
    with _readable(source):
        file = _open_file(uri, source)
        start = file.peek(len(_PARQUET_MAGIC))
    if start.startswith(_WORKBOOK_MAGICS):
        raise InputError(
            f"{source}: the file is an Excel workbook, which is not read, because Excel drops leading zeros of ids; "
            "format the columns of ids as text, then save it with 'Save as' and the type 'CSV UTF-8 (comma delimited)'"
        )
    is_parquet = start.startswith(_PARQUET_MAGIC)
    return (_read_parquet if is_parquet else _read_csv)(file, source, columns)


def table_digest(uri: str, source: str) -> str:
    """Return the SHA-256 of the file's bytes as 64 hex digits.

    Args:
        uri: The path or URI of the file.
        source: The file's name in the job file, for messages.

    Raises:
        InputError: The file is absent or cannot be read.
    """
    with _readable(source):
        return hashlib.file_digest(_open_file(uri, source), "sha256").hexdigest()


@contextmanager
def _readable(source: str) -> Iterator[None]:
    """Turn an error of the storage into an InputError that does not show the path."""
    try:
        yield
    except ItemError as error:
        raise InputError(
            f"{source}: the file cannot be read ({error.code.value}); grant read permission, or correct its path in "
            "the job file"
        ) from None


def _open_file(uri: str, source: str) -> io.BufferedReader:
    directory, _, name = normalize_uri(uri).rpartition("/")
    storage = open_source(directory or "/")
    info = storage.stat(name)
    if info is None:
        raise InputError(
            f"{source}: the file does not exist; correct its path in the job file, where a relative one "
            "starts from the working directory"
        )
    return io.BufferedReader(SeekableFile(storage, name, info.size_bytes), _READ_AHEAD_BYTES)


def _header(names: Sequence[str], source: str, columns: TableColumns) -> list[str]:
    known = {*columns.required, *columns.optional}
    named = {*known, *columns.one_of}
    header = [name.strip() for name in names]
    header = [name.casefold() if name.casefold() in named else name for name in header]
    missing = [name for name in columns.required if name not in header]
    if columns.one_of and not set(columns.one_of) & set(header):
        missing.insert(0, " or ".join(columns.one_of))
    if missing:
        least = ", ".join([*(columns.one_of[:1]), *columns.required])
        raise InputError(
            f"{source}: no column {missing[0]}; the first line names the columns, at least {least}, with commas, "
            "semicolons or tabs between them"
        )
    # This message comes after the check of the required names, because a first line without them may be the row of a
    # patient. It shows no name that the program does not know, because a log may keep it.
    twice = [name for name, count in Counter(header).items() if count > 1 and name]
    if twice:
        numbers = [str(number) for number, name in enumerate(header, 1) if name == twice[0]]
        name = f"are called {twice[0]}" if twice[0] in named else "have the same name"
        raise InputError(f"{source}: columns {' and '.join(numbers)} {name}; keep one")
    for name in set(header) - named:  # a misspelt column would be ignored silently
        meant = get_close_matches(name.casefold(), known - set(header), n=1, cutoff=_MISSPELT_FROM)
        if meant:
            raise InputError(f"{source}: column {name} is not known; is {meant[0]} meant? Rename it, or remove it")
    return header


def _read_csv(file: io.BufferedReader, source: str, columns: TableColumns) -> Iterator[TableBatch]:
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    line = 1
    # The limit holds for the whole process. It is only ever raised, so the order of calls does not matter.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_PARSED_CELL_CHARACTERS))
    try:
        header_line = text.readline()
        delimiter = max(DELIMITERS, key=lambda candidate: len(next(csv.reader([header_line], delimiter=candidate), [])))
        header = _header(next(csv.reader([header_line], delimiter=delimiter), []), source, columns)
        reader = csv.reader(text, delimiter=delimiter, strict=True)
        numbers: list[int] = []
        rows: list[list[str]] = []
        for row in reader:
            line = 1 + reader.line_num
            if not any(cell and not cell.isspace() for cell in row):
                continue
            if len(row) != len(header):
                raise InputError(
                    f"{source}, line {line}: {counted(len(row), 'cell')}, but the first line names "
                    f"{counted(len(header), 'column')}"
                )
            if any(len(cell) > _MAX_CELL_CHARACTERS for cell in row):
                row = _without_long_cells(row, f"{source}, line {line}", header, columns)
            numbers.append(line)
            rows.append(row)
            if len(rows) == BATCH_ROWS:
                yield _csv_batch(source, header, numbers, rows)
                numbers, rows = [], []
        if rows:
            yield _csv_batch(source, header, numbers, rows)
    except UnicodeDecodeError:
        raise InputError(f"{source}, after line {line}: the text is not UTF-8; save it as 'CSV UTF-8'") from None
    except csv.Error as error:
        raise InputError(f'{source}, line {line + 1}: {error}; quote cells with " and double any " inside') from None


def _without_long_cells(row: list[str], place: str, header: list[str], columns: TableColumns) -> list[str]:
    """Empty the long cells of columns that are not read, and refuse long cells of the others."""
    kept = []
    for number, (name, cell) in enumerate(zip(header, row, strict=True), 1):
        is_long = len(cell) > _MAX_CELL_CHARACTERS
        if is_long and columns.are_read(name):
            raise InputError(
                f"{place}: field larger than {_MAX_CELL_CHARACTERS:,} characters in column {number}; shorten it, or "
                'look for a " without its partner'
            )
        kept.append("" if is_long else cell)
    return kept


def _csv_batch(source: str, header: list[str], numbers: list[int], rows: list[list[str]]) -> TableBatch:
    cells = {
        name: [cell.strip() for cell in column] for name, column in zip(header, zip(*rows, strict=True), strict=True)
    }
    return TableBatch(source, "line", numbers, cells)


def _read_parquet(file: io.BufferedReader, source: str, columns: TableColumns) -> Iterator[TableBatch]:
    try:
        table = pq.ParquetFile(file, pre_buffer=False)  # Arrow's threads must not hold a Python file
        names = table.schema_arrow.names
        header = _header(names, source, columns)
        read = {name: column for name, column in zip(header, names, strict=True) if columns.are_read(name)}
        for number, (name, kind) in enumerate(zip(header, table.schema_arrow.types, strict=True), 1):
            if name in read and pa.types.is_nested(kind):
                raise InputError(
                    f"{source}: column {number} holds lists, maps or records; store texts or numbers, or remove it"
                )
            if pa.types.is_floating(kind) and name in _TEXT_ONLY:
                raise InputError(f"{source}: column {name} holds floating-point numbers; store identifiers as strings")
        first = 1
        # Columns that are not read may hold values of any type and size, so they stay in the file.
        for batch in table.iter_batches(BATCH_ROWS, columns=list(read.values()), use_threads=False):
            cells = {name: _strings(batch.column(column)) for name, column in read.items()}
            rows = range(first, first + batch.num_rows)
            yield TableBatch(source, "row", rows, cells)
            first += batch.num_rows
    except pa.ArrowException as error:
        raise InputError(f"{source}: cannot be read as Parquet: {error}") from error


def _strings(column: pa.Array) -> list[str]:
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):  # NaN is how pandas writes an empty cell
        return ["" if value is None or value != value else str(value) for value in column.to_pylist()]
    return [(value or "").strip() for value in column.cast(pa.string()).to_pylist()]
