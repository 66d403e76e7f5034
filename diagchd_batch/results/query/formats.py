"""Writes a query's result as CSV, JSON or Parquet, batch by batch."""

import base64
import csv
import io
import json
import math
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.escaping import for_cell, json_for_console


def plain(value: Any) -> Any:
    """Return a value as JSON has it: bytes in base64, times in ISO 8601, numbers that are not finite as null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Decimal):  # DuckDB returns sums of integers as decimals of 38 digits
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def cell(value: Any) -> str:
    """Return a value as CSV has it: nothing for null, JSON for lists and maps."""
    value = plain(value)
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _safe_cell(value: Any) -> str:
    """Return a value as CSV has it. Numbers stay as they are; text is escaped."""
    text = cell(value)
    return text if isinstance(value, bool | int | float | Decimal) else for_cell(text)


def write_csv(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Write rows as CSV in UTF-8 with a header line. Text is escaped by `for_cell`.

    Args:
        rows: The rows, batch by batch. Floats are written with all digits that tell them apart.
        file: The open file. It stays open.
    """
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")  # programs in a pipe would take a CR for a part of the last cell
    writer.writerow(map(for_cell, rows.schema.names))
    for batch in rows:
        writer.writerows(map(_safe_cell, row) for row in row_values(batch))
        text.flush()
    text.detach()


def write_json(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Write rows as one JSON array in UTF-8, with one object a line.

    Args:
        rows: The rows, batch by batch.
        file: The open file. It stays open.
    """
    separator = b"[\n"
    for batch in rows:
        for line in _json_rows(batch):
            file.write(separator + line)
            separator = b",\n"
    file.write(b"\n]\n" if separator == b",\n" else b"[]\n")


def write_json_lines(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Write rows as one JSON object a line in UTF-8, so that a program can read a row at a time.

    Args:
        rows: The rows, batch by batch.
        file: The open file. It stays open.
    """
    for batch in rows:
        for line in _json_rows(batch):
            file.write(line + b"\n")


def write_parquet(rows: pa.RecordBatchReader, file: BinaryIO) -> None:
    """Write rows as Parquet with the column types of the query, and all metadata of their schema.

    Args:
        rows: The rows, batch by batch.
        file: The open file. It stays open.
    """
    with pq.ParquetWriter(file, rows.schema, compression="zstd") as writer:
        for batch in rows:
            writer.write_batch(batch)


FORMATS: Mapping[str, Callable[[pa.RecordBatchReader, BinaryIO], None]] = {
    "csv": write_csv,
    "json": write_json,
    "jsonl": write_json_lines,
    "parquet": write_parquet,
}


def _json_rows(batch: pa.RecordBatch) -> Iterator[bytes]:
    for row in row_values(batch):
        yield json_for_console(dict(zip(batch.schema.names, map(plain, row), strict=True))).encode()


def row_values(batch: pa.RecordBatch) -> Iterator[tuple[Any, ...]]:
    """Return the rows as tuples. Columns of one name, which SQL allows, stay apart."""
    columns = [
        column.to_pylist(maps_as_pydicts="lossy") if pa.types.is_nested(column.type) else column.to_pylist()
        for column in batch.columns
    ]
    return zip(*columns, strict=True)
