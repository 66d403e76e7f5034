"""The views of a query: where the rows of each come from, or which query over other views it is."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.failure_codes import REMEDIES
from diagchd_batch.results.columns import MASK_COLUMNS, PREDICTIONS, SCORES, SOURCES
from diagchd_batch.results.columns.lineages import LINEAGES
from diagchd_batch.results.columns.run_records import RUNS
from diagchd_batch.results.datasets import COMPARE_TO, RUN_ID
from diagchd_batch.results.lineage import latest_rows_sql, lineage_rows
from diagchd_batch.results.query.runs_table import run_rows
from diagchd_batch.results.query.table_files import TableFiles
from diagchd_batch.studies.header_index.header_columns import HEADERS
from diagchd_batch.studies.plan.plan_columns import PLAN_IMAGES, PLAN_STUDIES
from diagchd_batch.table_format.declared_columns import DESCRIPTION, DeclaredColumn, arrow_schema

Rows: TypeAlias = pa.Table | ds.Dataset


@dataclass(frozen=True)
class View:
    """A view with rows of its own. `rows` returns them with `schema`.

    `private` views need the private tree. Those that `names_patients` are read only if the caller asks for it.
    """

    name: str
    description: str
    schema: pa.Schema
    rows: Callable[[TableFiles], Rows]
    private: bool = False
    names_patients: bool = False


@dataclass(frozen=True)
class DerivedView:
    """A view that is a query over others."""

    name: str
    description: str
    sql: str
    needs: tuple[str, ...]


def _per_run(schema: pa.Schema) -> pa.Schema:
    """Return the columns of a table whose files are in ``run_id=…`` directories."""
    return schema.append(RUN_ID)


_FAILURE_CODES = arrow_schema(
    (
        DeclaredColumn("error_code", pa.string(), "code of an input that could not be used"),
        DeclaredColumn("remedy", pa.string(), "what the code means, and what can be done"),
    )
)
_MASKS = pa.schema(
    [SCORES.field(name) for name in ("subject_id", "study_id", "image_id", "frame", "status", *MASK_COLUMNS)]
)
_SCORES = pa.schema([field for field in SCORES if field.name not in MASK_COLUMNS])

_NEWEST = "(SELECT * FROM lineages WHERE lineage IN (SELECT run_id FROM lineages GROUP BY run_id HAVING count(*) = 1))"
"""The lineages whose newest run no other run continues, and which is therefore in no other lineage."""


def _counting_predictions(lineages: str) -> str:
    """Return SQL for the predictions that count in each lineage of a table or query with the columns LINEAGES."""
    rows = f"SELECT lineage, predictions.*, generation FROM predictions JOIN {lineages} AS places USING (run_id)"
    # A lineage of one run needs no window functions, which would be slow.
    return f"""
    SELECT * EXCLUDE (generation) FROM ({rows} WHERE n_generations = 1)
    UNION ALL BY NAME
    {latest_rows_sql(f"({rows} WHERE n_generations > 1)", within="lineage")}
    """


_LATEST_STUDIES = """
SELECT lineage, studies.* FROM studies JOIN lineages USING (run_id)
QUALIFY row_number() OVER (PARTITION BY lineage, study_id ORDER BY generation DESC) = 1
"""

_FAILURES = """
SELECT run_id, subject_id, study_id, image_id, frame, error_code, remedy, shard
FROM predictions LEFT JOIN failure_codes USING (error_code) WHERE status = 'failed'
"""

_OWN_VIEWS: tuple[View | DerivedView, ...] = (
    View(
        "predictions",
        "one row for each frame of finished runs, or one for a file that failed; without masks",
        _per_run(PREDICTIONS),
        lambda stored: stored.files(output_layout.PREDICTIONS_PREFIX, output_layout.PREDICTIONS_FILE, PREDICTIONS),
    ),
    DerivedView(
        "current",
        "predictions by lineage: for each frame the latest that is ok, in the order in which runs continue each other; "
        "without lineages that another run continues",
        _counting_predictions(_NEWEST),
        ("predictions", "lineages"),
    ),
    DerivedView(
        "lineage_predictions",
        "the same for the lineage that ends with each run; the metrics of a run are those of the lineage with its id",
        _counting_predictions("lineages"),
        ("predictions", "lineages"),
    ),
    DerivedView(
        "failures",
        "predictions that failed, with what can be done",
        _FAILURES,
        ("predictions", "failure_codes"),
    ),
    View(
        "scores",
        "like predictions, for all shards committed so far, also of unfinished runs",
        _per_run(_SCORES),
        lambda stored: _score_files(stored, _SCORES),
    ),
    View(
        "masks",
        "predicted and reference label maps as PNG (pixel values 0 background, 1 septum, 2 heart)",
        _per_run(_MASKS),
        lambda stored: _score_files(stored, _MASKS),
    ),
    View("runs", "run records; times are UTC", RUNS, lambda stored: run_rows(stored.records)),
    View(
        "lineages",
        "the runs of the lineage that ends with each run; a lineage has the id of its newest run",
        LINEAGES,
        lambda stored: lineage_rows(stored.lineages),
    ),
    View(
        "failure_codes",
        "what can be done about each code",
        _FAILURE_CODES,
        lambda stored: pa.table({"error_code": list(map(str, REMEDIES)), "remedy": list(REMEDIES.values())}),
    ),
    View(
        "plan",
        "planned image files with their URIs (identified)",
        _per_run(PLAN_IMAGES),
        lambda stored: stored.plan_files(output_layout.PLAN_PART, PLAN_IMAGES),
        private=True,
    ),
    View(
        "studies",
        "studies of the inventory with their own ids, also excluded ones (identified)",
        _per_run(PLAN_STUDIES),
        lambda stored: stored.plan_files(output_layout.PLAN_STUDIES, PLAN_STUDIES),
        private=True,
    ),
    DerivedView(
        "lineage_studies",
        "studies by lineage: for each study the row of the latest plan that has it (identified)",
        _LATEST_STUDIES,
        ("studies", "lineages"),
    ),
    View(
        "sources",
        "the files that each attempt at a shard read: URI, SHA-256, full text of errors (identified)",
        _per_run(SOURCES),
        lambda stored: stored.source_files(SOURCES),
        private=True,
    ),
    View(
        "headers",
        "the index of headers: what each DICOM file of the archive says about itself (names patients; needs --private)",
        HEADERS,
        lambda stored: stored.header_rows(),
        private=True,
        names_patients=True,
    ),
)


def views(metrics: Mapping[str, pa.Schema], comparisons: Mapping[str, pa.Schema]) -> dict[str, View | DerivedView]:
    """Return all views by name.

    Args:
        metrics: The names and schemas of the metrics tables, which this layer does not know.
        comparisons: The names and schemas of the tables that `compare` writes.
    """
    derived = (
        *(_metrics_view(*item) for item in metrics.items()),
        *(_comparison_view(*item) for item in comparisons.items()),
    )
    return {view.name: view for view in (*_OWN_VIEWS, *derived)}


def _metrics_view(name: str, schema: pa.Schema) -> View:
    return View(name, _rows_of(schema), _per_run(schema), lambda stored: stored.metrics_files(name, schema))


def _comparison_view(name: str, schema: pa.Schema) -> View:
    columns = _per_run(schema).append(COMPARE_TO)
    return View(name, _rows_of(schema), columns, lambda stored: stored.comparison_files(name, schema))


def _rows_of(schema: pa.Schema) -> str:
    return (schema.metadata or {}).get(DESCRIPTION, b"derived table").decode()


def _score_files(stored: TableFiles, schema: pa.Schema) -> ds.Dataset:
    return stored.files(output_layout.SCORES_PREFIX, output_layout.SHARD_FILE, schema)
