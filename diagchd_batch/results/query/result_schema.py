"""The schema of a result: what its columns mean, where they are columns of a view, and whether data are simulated."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import duckdb
import pyarrow as pa

from diagchd_batch.results.columns.metadata import DATA_KEY, SCHEMA_VERSION_KEY, SIMULATED
from diagchd_batch.results.columns.scores import SCHEMA_VERSION
from diagchd_batch.table_format.declared_columns import NULL_WHEN

Relation = tuple[str, Mapping[str, pa.Field]]
"""A view that a FROM clause names: its alias, and the fields that declare its columns, by name."""


def data_metadata(*, simulated: bool) -> dict[bytes, bytes]:
    """Return the metadata of a result that may have rows of several runs.

    Args:
        simulated: Whether the data of any of the runs are SIMULATED, which the metadata then says.
    """
    return {SCHEMA_VERSION_KEY: str(SCHEMA_VERSION).encode()} | ({DATA_KEY: SIMULATED} if simulated else {})


def with_declarations(
    result: pa.Schema,
    connection: duckdb.DuckDBPyConnection,
    sql: str,
    declared: Mapping[str, Mapping[str, pa.Field]],
) -> pa.Schema:
    """Return the schema of a result whose columns say what they mean, where a view's column is passed on unchanged.

    A column is left as it is if the statement computes it, if two views declare it in different ways, or if it comes
    from a subquery, a common table expression or a set operation.

    Args:
        result: The schema of the result.
        connection: The database that runs the statement, which also parses it.
        sql: The statement.
        declared: The fields that declare the columns of each view, by name.
    """
    (text,) = connection.execute("SELECT json_serialize_sql($1, skip_null := true)", [sql]).fetchone() or ("{}",)
    statements = json.loads(text).get("statements", [])
    found = _passed_through(statements[0]["node"], declared) if len(statements) == 1 else {}
    fields = []
    for field in result:
        source = found.get(field.name.casefold())
        if source is not None and source.type == field.type and result.names.count(field.name) == 1:
            field = field.with_metadata(source.metadata)
        fields.append(field)
    return pa.schema(fields, result.metadata)


def _passed_through(node: Mapping[str, Any], declared: Mapping[str, Mapping[str, pa.Field]]) -> dict[str, pa.Field]:
    """Return the declarations of the columns of a SELECT that are columns of a view, by their name in the result."""
    if node["type"] != "SELECT_NODE" or node["cte_map"].get("map"):
        return {}
    try:
        relations = list(_relations(node["from_table"], declared))
    except KeyError:  # a subquery, a function or a name that is no view
        return {}
    found: dict[str, pa.Field] = {}
    computed: set[str] = set()
    for item in node["select_list"]:
        if item["class"] == "COLUMN_REF":
            *qualifier, column = (name.casefold() for name in item["column_names"])
            field = _all_columns(relations, qualifier).get(column)
            name = (item.get("alias") or column).casefold()
            if field is None:
                computed.add(name)
            else:
                found[name] = field
        elif item["class"] != "STAR":
            computed.add(item.get("alias", "").casefold())
        elif item["columns"] or item.get("expr") or item.get("rename_list"):
            return {}
        else:
            named = item.get("relation_name")
            found |= _all_columns(relations, [named.casefold()] if named else [])
            computed |= {replaced["key"].casefold() for replaced in item.get("replace_list", ())}
    is_plain = len(relations) == 1 and not node.get("group_expressions")
    return {
        name: field if is_plain else _without_null_rows(field) for name, field in found.items() if name not in computed
    }


def _relations(source: Mapping[str, Any], declared: Mapping[str, Mapping[str, pa.Field]]) -> Iterator[Relation]:
    """Yield what a FROM clause names. Raise KeyError if it has anything but views."""
    if source["type"] == "JOIN":
        yield from _relations(source["left"], declared)
        yield from _relations(source["right"], declared)
        return
    if source["type"] != "BASE_TABLE" or source.get("column_name_alias"):
        raise KeyError(source["type"])
    name = source["table_name"].casefold()
    yield (source.get("alias") or name).casefold(), declared[name]


def _all_columns(relations: Iterable[Relation], qualifier: list[str]) -> dict[str, pa.Field]:
    """Return the columns of the views, or of the one that a qualifier names, without those declared in several ways."""
    found: dict[str, pa.Field] = {}
    differing: set[str] = set()
    for alias, fields in relations:
        if qualifier in ([], [alias]):
            for name, field in fields.items():
                if not found.setdefault(name, field).equals(field, check_metadata=True):
                    differing.add(name)
    return {name: field for name, field in found.items() if name not in differing}


def _without_null_rows(field: pa.Field) -> pa.Field:
    """Return a declaration that does not say in which rows there is no value, since a join can add others."""
    return field.with_metadata({key: text for key, text in (field.metadata or {}).items() if key != NULL_WHEN})
