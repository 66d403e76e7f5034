"""Write the tables of columns in docs/queries.md from the declarations in `diagchd_batch.results.columns`.

python -m tools.column_tables        # replaces the tables between the page's markers
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from diagchd_batch.results.columns import SCORE_COLUMNS, SOURCE_COLUMNS, Column

PAGE = Path(__file__).parents[1] / "docs" / "queries.md"

TABLES: dict[str, Sequence[Column]] = {"scores": SCORE_COLUMNS, "sources": SOURCE_COLUMNS}


def column_table(columns: Sequence[Column]) -> str:
    """Return a Markdown table with one row per column."""
    lines = ["| column | type | in | meaning |", "|---|---|---|---|"]
    for column in columns:
        unit = f" ({column.unit})" if column.unit else ""
        since = "" if column.since == 1 else f"; since schema version {column.since}"
        lines.append(
            f"| `{column.name}` | {_type_name(column.type)} | {column.presence} | {column.description}{unit}{since} |"
        )
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """Return the page with each table replaced between its markers.

    Raises:
        ValueError: The page lacks a marker.
    """
    for name, columns in TABLES.items():
        begin, end = f"<!-- columns of {name}: begin -->", f"<!-- columns of {name}: end -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"docs/queries.md lacks the markers {begin} and {end}")
        page = f"{before}{begin}\n{column_table(columns)}\n{end}{after}"
    return page


def _type_name(kind: pa.DataType) -> str:
    return "list of string" if pa.types.is_list(kind) else str(kind)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
