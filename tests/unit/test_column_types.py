"""A column has one type in all tables, which engines can join."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.report.report_data import read_report_data
from diagchd_batch.results.columns import PREDICTIONS, SCORES, SOURCES
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISON_TABLES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.results.output import open_output
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.query.views import View, views
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.stored_plan import PLAN_IMAGES, PLAN_STUDIES

KEPT = Path(__file__).parents[1] / "data" / "output_f4f89d0" / "output"

OTHER_MEANINGS = {("cohort_characteristics", "statistic")}
"""Columns with a name that means something else in other tables: here the kind of a figure, there its value."""


def schemas() -> Iterator[tuple[str, pa.Schema]]:
    yield from (("scores", SCORES), ("predictions", PREDICTIONS), ("sources", SOURCES))
    yield from (("plan", PLAN_IMAGES), ("studies", PLAN_STUDIES))
    known = views(TABLES, COMPARISON_TABLES)
    yield from ((view.name, view.schema) for view in known.values() if isinstance(view, View))


def test_a_name_has_one_type_in_all_tables() -> None:
    types: dict[str, dict[pa.DataType, list[str]]] = defaultdict(lambda: defaultdict(list))
    for table, schema in schemas():
        for field in schema:
            if (table, field.name) not in OTHER_MEANINGS:
                types[field.name][field.type].append(table)
    assert len(types) > 100
    assert {name: dict(found) for name, found in types.items() if len(found) > 1} == {}


def test_no_table_has_a_dictionary() -> None:
    """Engines cannot join, group or sort dictionaries that differ from file to file."""
    found = [(table, field.name) for table, schema in schemas() for field in schema if "dictionary" in str(field.type)]
    assert found == []


def test_cross_tables_of_schema_version_1_are_read_with_their_reference_calls() -> None:
    stored = pq.read_table(KEPT / "metrics" / "run_id=first" / "cross_tabulation.parquet", partitioning=None)
    calls = stored["reference_label"].to_pylist()
    assert {"positive", "negative"} <= set(calls)
    output = open_store(str(KEPT))
    read = read_metrics(output, "first", "cross_tabulation")
    assert read is not None and read["reference_call"].to_pylist() == calls
    sql = "SELECT reference_call FROM cross_tabulation WHERE run_id = 'first'"
    queried = open_query(open_output(str(KEPT)), TABLES).table(sql)
    assert sorted(queried["reference_call"].to_pylist()) == sorted(calls)
    labels = open_query(open_output(str(KEPT)), TABLES).table("SELECT reference_label FROM study_results")
    assert labels.schema.field("reference_label").type == pa.int8()
    assert read_report_data(output, "first").tables["cross_tabulation"][0]["reference_call"] in calls
