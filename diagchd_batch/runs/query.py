"""`query`: SQL over an output's tables."""

from collections.abc import Callable
from dataclasses import dataclass

from diagchd_batch.errors import UsageError
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISONS
from diagchd_batch.results.columns.evaluation_tables import TABLES as METRICS
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import QueryDatabase, describe_views, left_out, open_query
from diagchd_batch.results.query.view_columns import ViewColumn
from diagchd_batch.results.query.views import DerivedView, View
from diagchd_batch.table_format.declared_columns import DESCRIPTION
from diagchd_batch.wording import shown_value

UNUSABLE_FILES = (
    "SELECT uri, error_code, reference_status FROM current JOIN plan USING (run_id, image_id) "
    "WHERE error_code IS NOT NULL OR reference_status <> 'ok'"
)
"""The query that names the files with failed rows or unusable masks."""


def open_tables(
    output: Output, run_id: str | None, on_left_out: Callable[[str], object], *, may_name_patients: bool = False
) -> QueryDatabase:
    """Return a read-only database of an output's views.

    Args:
        output: The output to query.
        run_id: The run whose lineage the views are limited to; None for all runs.
        on_left_out: Receives a message about each run that a view leaves out because its record is damaged.
        may_name_patients: Whether statements may read the view `headers`, which names patients.

    Raises:
        UsageError: The output holds no such run.
        RunFault: A deletion of the output is not finished.
    """
    refuse_unfinished_deletion(output.private)
    database = open_query(
        output,
        METRICS,
        run_id,
        on_damaged=lambda *damage: on_left_out(left_out(*damage)),
        comparisons=COMPARISONS,
        may_name_patients=may_name_patients,
    )
    database.require_runs()
    return database


@dataclass(frozen=True, slots=True)
class ViewDescription:
    """A view that a query may use. `columns`: (name, SQL type, meaning)."""

    name: str
    description: str
    columns: list[tuple[str, str, str]]


def list_views() -> list[ViewDescription]:
    """Return the views that a query may use. Needs no output."""
    return [_description(view, columns) for view, columns in describe_views(METRICS, COMPARISONS)]


def view_named(name: str) -> ViewDescription:
    """Return one of the views that a query may use.

    Raises:
        UsageError: There is no such view.
    """
    known = {view.name: view for view in list_views()}
    if name not in known:
        raise UsageError(f"there is no view {shown_value(name)}; the views are: {', '.join(known)}")
    return known[name]


def _description(view: View | DerivedView, columns: list[ViewColumn]) -> ViewDescription:
    shown = [(column.name, column.type, column.text(DESCRIPTION) or "") for column in columns]
    return ViewDescription(view.name, view.description, shown)
