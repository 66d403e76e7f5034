"""Writes CSV files and Excel workbooks that can be opened in spreadsheets safely."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import xlsxwriter

from diagchd_batch.errors import UsageError
from diagchd_batch.escaping import for_cell

_MAX_SHEET_ROWS = 1_048_576
"""The rows of a sheet, with its header (Microsoft, "Excel specifications and limits")."""

_CREATED = datetime(2000, 1, 1)
"""What workbooks state as the time of their creation, so that equal rows give equal bytes."""

_MIN_WIDTH = 12
"""The least width of a sheet's columns, in characters."""


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


def to_xlsx(rows: Iterable[Mapping[str, Any]], columns: Sequence[str]) -> bytes:
    """Return rows as an Excel workbook with one sheet. Texts stay texts: Excel drops no leading zero of an id.

    Args:
        rows: The rows, of texts, numbers and booleans. Columns that a row lacks are left empty.
        columns: The columns to write, in this order.

    Raises:
        UsageError: There are more rows than a sheet of Excel can hold.
    """
    file = io.BytesIO()
    # In memory, because the temporary files of XlsxWriter would hold names of patients.
    with xlsxwriter.Workbook(file, {"in_memory": True}) as workbook:
        workbook.set_properties({"created": _CREATED})
        sheet = workbook.add_worksheet()
        bold = workbook.add_format({"bold": True})
        for place, name in enumerate(columns):
            sheet.write_string(0, place, name, bold)
            sheet.set_column(place, place, max(_MIN_WIDTH, len(name) + 2))
        n_rows = 0
        for n_rows, row in enumerate(rows, start=1):
            if n_rows >= _MAX_SHEET_ROWS:
                raise UsageError(
                    f"a sheet of Excel holds {_MAX_SHEET_ROWS - 1:,} rows, and there are more; use --format csv"
                )
            for place, name in enumerate(columns):
                value = row.get(name)
                if isinstance(value, str):
                    sheet.write_string(n_rows, place, value)
                elif value is not None:
                    sheet.write(n_rows, place, value)
        sheet.freeze_panes(1, 0)
        sheet.autofilter(0, 0, n_rows, len(columns) - 1)
    return file.getvalue()
