"""`query`: SQL over an output's tables."""

from dataclasses import dataclass

from diagchd_batch.evaluation.tables.schemas import TABLES
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, describe_views, open_query


def open_tables(output: Output, run_id: str | None = None) -> QueryDatabase:
    """Return a read-only database of an output's views.

    Args:
        output: The output to query.
        run_id: The run whose lineage the views are limited to; all runs by default.

    Raises:
        UsageError: The output holds no such run.
    """
    database = open_query(output, TABLES, run_id)
    database.require_runs()
    return database


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """A view that a query may use. `columns`: (name, SQL type)."""

    name: str
    description: str
    columns: list[tuple[str, str]]


def list_views() -> list[ViewDescription]:
    """Return the views that a query may use. Needs no output."""
    return [ViewDescription(view.name, view.description, columns) for view, columns in describe_views(TABLES)]
