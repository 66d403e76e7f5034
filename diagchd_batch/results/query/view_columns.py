"""What the columns of the views are: the view `columns`, and what the command line and the docs show of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.query.views import DerivedView, View, views
from diagchd_batch.table_format.declared_columns import (
    DESCRIPTION,
    NULL_WHEN,
    RANGE,
    SINCE,
    UNIT,
    DeclaredColumn,
    arrow_schema,
)

_TEXT = pa.string()

VIEW_COLUMNS = arrow_schema(
    (
        DeclaredColumn("table_name", _TEXT, "name of the view"),
        DeclaredColumn("column_name", _TEXT, "name of the column"),
        DeclaredColumn("type", _TEXT, "SQL type of the column"),
        DeclaredColumn("unit", _TEXT, "unit of its numbers", null_when="it has none"),
        DeclaredColumn("value_range", _TEXT, "which values can occur", null_when="all values of the type can"),
        DeclaredColumn("null_when", _TEXT, "in which rows it is null", null_when="it never is"),
        DeclaredColumn("description", _TEXT, "what a value means"),
        DeclaredColumn("since_schema_version", pa.int32(), "schema version that brought it", minimum=1),
    )
)


@dataclass(frozen=True)
class ViewColumn:
    """One column of a view.

    Attributes:
        name: Its name.
        type: Its SQL type.
        field: The Arrow field that declares it, whose metadata describes it.
    """

    name: str
    type: str
    field: pa.Field

    def text(self, key: bytes) -> str | None:
        """Return a text of the declaration, such as `declared_columns.DESCRIPTION`, or None where there is none."""
        return text.decode() if (text := (self.field.metadata or {}).get(key)) else None


def all_views(metrics: Mapping[str, pa.Schema], comparisons: Mapping[str, pa.Schema]) -> dict[str, View | DerivedView]:
    """Return all views by name, `columns` included.

    Args:
        metrics: The names and schemas of the metrics tables.
        comparisons: The names and schemas of the tables that `compare` writes.
    """
    known = views(metrics, comparisons)
    known["columns"] = View(
        "columns",
        "one row for each column of each view: what it means, its unit and range, and when it is null",
        VIEW_COLUMNS,
        lambda _: _rows(known),
    )
    return known


def describe(known: Mapping[str, View | DerivedView]) -> dict[str, list[ViewColumn]]:
    """Return the columns of each view. A column of a derived view is declared in one of the views that it is made of.

    Args:
        known: Views by name, with all views that they need.
    """
    described: dict[str, list[ViewColumn]] = {}
    with memory_database(spills=False) as connection:
        for view in known.values():
            if isinstance(view, View):
                connection.register(view.name, view.schema.empty_table())
        for view in known.values():
            if isinstance(view, DerivedView):
                connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
        for view in known.values():
            fields = {field.name: field for field in declared_fields(view, known)}
            described[view.name] = [
                ViewColumn(name, kind, fields.get(name, pa.field(name, pa.null())))
                for name, kind, *_ in connection.execute(f"DESCRIBE {view.name}").fetchall()
            ]
    return described


def declared_fields(view: View | DerivedView, known: Mapping[str, View | DerivedView]) -> Iterator[pa.Field]:
    """Yield the fields that declare a view's columns. Of two with one name the later counts.

    Args:
        view: The view. A column of a derived view is declared in one of the views that it is made of.
        known: Views by name, with all views that it needs.
    """
    if isinstance(view, View):
        yield from view.schema
        return
    for name in reversed(view.needs):  # the first view that a derived view is made of counts
        yield from declared_fields(known[name], known)


def _rows(known: Mapping[str, View | DerivedView]) -> pa.Table:
    rows = [
        {
            "table_name": view,
            "column_name": column.name,
            "type": column.type,
            "unit": column.text(UNIT),
            "value_range": column.text(RANGE),
            "null_when": column.text(NULL_WHEN),
            "description": column.text(DESCRIPTION),
            "since_schema_version": int(column.text(SINCE) or 1),
        }
        for view, columns in describe(known).items()
        for column in columns
    ]
    return pa.Table.from_pylist(rows, VIEW_COLUMNS)
