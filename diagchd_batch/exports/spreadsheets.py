"""Writes CSV files that can be opened in spreadsheets safely."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diagchd_batch.escaping import for_cell


def to_csv(rows: Iterable[Mapping[str, Any]], columns: Sequence[str], *, for_excel: bool = False) -> bytes:
    """Return rows as a CSV file in UTF-8 with a header.

    Args:
        rows: The rows. Columns that a row lacks are left empty.
        columns: The columns to write, in this order.
        for_excel: Whether the file begins with a byte-order mark, without which Excel shows wrong letters for umlauts.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(for_cell, columns))
    for row in rows:
        values = (row.get(name) for name in columns)
        writer.writerow([for_cell(value) if isinstance(value, str) else value for value in values])
    return text.getvalue().encode("utf-8-sig" if for_excel else "utf-8")
