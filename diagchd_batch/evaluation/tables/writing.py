"""Writes metrics tables with explicit schemas and deterministic bytes, and replaces earlier ones atomically."""

import math
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import add_run, with_run
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.storage import Store

ROW_GROUP_ROWS = 131_072
UNDEFINED = "undefined"
"""`null_reason` of a figure that is no finite number although its method gave no reason."""


def metrics_table(
    name: str, rows: Iterable[Row], schema: pa.Schema | None = None, definition: ScoreDefinition | None = None
) -> pa.Table:
    """Return rows as a table. Numbers that are not finite become null.

    Args:
        name: The table's name, for messages and to look the schema up.
        rows: The rows. Columns that a row lacks are null.
        schema: The schema; by default that of `evaluation_tables.TABLES`.
        definition: How frames make a study's score. Tables with columns for it state it in every row.

    Raises:
        KeyError: A row has a column that the schema lacks. Arrow would drop it silently.
    """
    schema = schema or TABLES[name]
    known = set(schema.names)
    checked = []
    stated = definition.columns if definition is not None and "image_score" in known else {}
    for row in rows:
        if unknown := row.keys() - known:
            raise KeyError(f"table {name} has no column {', '.join(sorted(unknown))}")
        checked.append({**stated, **_finite(row, "null_reason" in known)})
    return pa.Table.from_pylist(checked, schema)


def write_table(
    storage: Store,
    key: str,
    table: pa.Table | pa.RecordBatchReader,
    schema: pa.Schema,
    metadata: Mapping[bytes, bytes],
) -> int:
    """Write a table, in place of an earlier one. Memory does not depend on its length.

    Args:
        storage: Where to write.
        key: The key of the file.
        table: The rows, with the schema's columns in any order.
        schema: The table's schema. The file has the column `run` besides.
        metadata: The file's key-value metadata (`columns.table_metadata`), which names the run.

    Returns:
        The number of rows.
    """
    file_schema = with_run(schema.with_metadata({**(schema.metadata or {}), **metadata}))
    batches = table.to_batches() if isinstance(table, pa.Table) else table
    n_rows = 0
    with scratch_file() as file:
        with scratch_faults(), pq.ParquetWriter(file, file_schema, compression="zstd") as writer:
            for part in _row_groups(batches, schema):
                writer.write_table(add_run(part, file_schema), row_group_size=ROW_GROUP_ROWS)
                n_rows += part.num_rows
        storage.replace(key, file)
    return n_rows


def _row_groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.Table]:
    """Yield tables of `ROW_GROUP_ROWS` rows. The file's bytes do not depend on how the batches were cut."""
    waiting: list[pa.RecordBatch] = []
    n_waiting = 0
    for batch in batches:
        waiting.append(batch.select(schema.names).cast(schema.remove_metadata()))
        n_waiting += batch.num_rows
        while n_waiting >= ROW_GROUP_ROWS:
            table = pa.Table.from_batches(waiting, schema.remove_metadata())
            yield table.slice(0, ROW_GROUP_ROWS).combine_chunks().cast(schema)
            rest = table.slice(ROW_GROUP_ROWS)
            waiting, n_waiting = rest.to_batches(), rest.num_rows
    if n_waiting:
        yield pa.Table.from_batches(waiting, schema.remove_metadata()).combine_chunks().cast(schema)


def _finite(row: Row, says_why: bool) -> Row:
    broken = [name for name, value in row.items() if isinstance(value, float) and not math.isfinite(value)]
    if not broken:
        return row
    row = {**row, **dict.fromkeys(broken)}
    if says_why and not row.get("null_reason"):
        row["null_reason"] = UNDEFINED
    return row
