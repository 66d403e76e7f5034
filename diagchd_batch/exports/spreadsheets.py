"""Writes CSV files that can be opened in spreadsheets safely."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_text(value: str) -> str:
    """Return text that no spreadsheet takes for a formula: an apostrophe is added where one could begin.

    Args:
        value: Any text.
    """
    return f"'{value}" if value.lstrip(" ").startswith(_FORMULA_STARTS) else value


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return rows as a CSV file in UTF-8 with a header.

    Args:
        rows: The rows. Columns that a row lacks are left empty.
        columns: The columns to write, in this order.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(columns)
    for row in rows:
        values = (row.get(name) for name in columns)
        writer.writerow([safe_text(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().encode()
