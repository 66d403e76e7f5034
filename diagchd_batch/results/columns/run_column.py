"""The column `run`: every file of scores, predictions and metrics has it, so that a copied file still tells its run.

Whoever reads a whole directory gets the same text as `run_id` from the names `run_id=R`. The column in the file has
another name, because pyarrow, pandas and DataFusion refuse a directory whose files have a column that their paths have,
too. Readers of this package leave it out; they have `run_id`.
"""

import pyarrow as pa

from diagchd_batch.results.columns.metadata import RUN_ID_KEY
from diagchd_batch.results.columns.scores import RUN_COLUMN


def with_run(schema: pa.Schema) -> pa.Schema:
    """Return the schema of a table's files: `run` and the table's columns, with the same metadata."""
    return schema.insert(0, RUN_COLUMN.field)


def add_run(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with the column `run`.

    Args:
        rows: The rows, in the table's schema.
        schema: The files' schema (`with_run`), whose metadata names the run.
    """
    run_id = schema.metadata[RUN_ID_KEY].decode()
    return pa.table([pa.repeat(pa.scalar(run_id), rows.num_rows), *rows.columns], schema=schema)


def without_run(rows: pa.Table) -> pa.Table:
    """Return rows as they were before `add_run`. A file of schema version 1 does not have the column."""
    return rows.drop_columns([RUN_COLUMN.name]) if RUN_COLUMN.name in rows.column_names else rows
