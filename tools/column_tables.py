"""Write the tables of docs/tables.md from the declarations of columns and failure codes.

python -m tools.column_tables        # replaces what stands between the page's markers
"""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from diagchd_batch.evaluation.tables.private_schemas import PRIVATE_TABLES
from diagchd_batch.failure_codes import REMEDIES
from diagchd_batch.results.columns import PREDICTIONS, SCORES, SOURCES
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISONS
from diagchd_batch.results.columns.evaluation_tables import TABLES as METRICS
from diagchd_batch.results.columns.lineages import LINEAGES, SUPERSEDED
from diagchd_batch.results.columns.run_records import RUNS
from diagchd_batch.studies.header_index.header_columns import HEADERS
from diagchd_batch.studies.plan.plan_columns import PLAN_IMAGES, PLAN_STUDIES
from diagchd_batch.table_format.declared_columns import DESCRIPTION, NULL_WHEN, RANGE, SINCE, UNIT

PAGE = Path(__file__).parents[1] / "docs" / "tables.md"

RESULTS: dict[str, pa.Schema] = {"scores": SCORES, "predictions": PREDICTIONS}
LINEAGE: dict[str, pa.Schema] = {"runs": RUNS, "lineages": LINEAGES, "superseded": SUPERSEDED}
IDENTIFIED: dict[str, pa.Schema] = {
    "plan": PLAN_IMAGES,
    "studies": PLAN_STUDIES,
    "sources": SOURCES,
    "headers": HEADERS,
    **PRIVATE_TABLES,
}


def column_table(schema: pa.Schema) -> str:
    """Return a Markdown table with one row per column of a table."""
    lines = ["| column | type | unit, range | null | meaning |", "|---|---|---|---|---|"]
    for field in schema:
        meaning = _text(field, DESCRIPTION)
        if since := _text(field, SINCE):
            meaning += f"; since schema version {since}"
        numbers = ", ".join(filter(None, (_text(field, UNIT), _text(field, RANGE))))
        cells = (f"`{field.name}`", _type_name(field.type), numbers, _text(field, NULL_WHEN) or "never", meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _sections() -> Iterator[tuple[str, str]]:
    """Yield the name of each marked part of the page, and its text."""
    for group, tables in (
        ("results", RESULTS),
        ("lineage", LINEAGE),
        ("metrics", METRICS),
        ("comparisons", COMPARISONS),
        ("identified", IDENTIFIED),
    ):
        yield group, "\n\n".join(_table_section(name, schema) for name, schema in tables.items())
    codes = [f"| `{code}` | {remedy} |" for code, remedy in REMEDIES.items()]
    yield "error codes", "\n".join(["| code | what it means, and what to do |", "|---|---|", *codes])


def _table_section(name: str, schema: pa.Schema) -> str:
    lines = [f"### `{name}`"]
    if rows := (schema.metadata or {}).get(DESCRIPTION):
        lines.append(f"One row is {rows.decode()}.")
    same = next((other for other in METRICS if other != name and METRICS[other].names == schema.names), None)
    if same is not None and list(METRICS).index(same) < list({**METRICS, **COMPARISONS}).index(name):
        return "\n\n".join([*lines, f"It has the columns of `{same}`."])
    return "\n\n".join([*lines, column_table(schema)])


def with_tables(page: str) -> str:
    """Return the page with each part replaced between its markers.

    Raises:
        ValueError: The page lacks a marker.
    """
    for name, text in _sections():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise ValueError(f"docs/tables.md lacks the markers {begin} and {end}")
        page = f"{before}{begin}\n\n{text}\n\n{end}{after}"
    return page


def _text(field: pa.Field, key: bytes) -> str:
    return (field.metadata or {}).get(key, b"").decode()


def _type_name(kind: pa.DataType) -> str:
    if pa.types.is_list(kind):
        return f"list of {kind.value_type}"
    return f"map of {kind.key_type} to {kind.item_type}" if pa.types.is_map(kind) else str(kind)


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
