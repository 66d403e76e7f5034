"""Writes what follows from runs and lineages as Parquet, so that any engine can tell which predictions count.

A run has three files. `run_table/R.parquet` is its record as a row. `superseded/R.parquet` names the rows that do not
count in any lineage with the run. `lineages/R.parquet` lists the runs of the lineage that ends with it. The last one is
written last: a lineage that is listed is complete.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import table_metadata
from diagchd_batch.results.columns.lineages import LINEAGES, SUPERSEDED, WHOLE_FILE
from diagchd_batch.results.columns.run_records import RUNS
from diagchd_batch.results.datasets import damage_as_fault, read_predictions
from diagchd_batch.results.lineage import latest_rows_sql, lineage_of, lineage_rows, recorded_runs, resolve_lineage
from diagchd_batch.results.query.runs_table import run_rows
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.storage import Store

MAX_MEMORY_BYTES = 1_200_000_000
"""Memory limit of the database that finds superseded rows. It writes the rest to a private directory."""

TABLES_SINCE = 2
"""Runs of this schema version and later have these tables."""

_BATCH_ROWS = 65_536

_SUPERSEDED = f"""
WITH own AS (SELECT * FROM earlier_and_own WHERE generation = $newest),
before AS ({latest_rows_sql("(SELECT * FROM earlier_and_own WHERE generation < $newest)")}),
after AS ({latest_rows_sql("earlier_and_own")})
SELECT $superseded_by AS superseded_by, run_id, image_id, frame_key
FROM (SELECT run_id, image_id, frame_key FROM before UNION ALL SELECT run_id, image_id, frame_key FROM own)
ANTI JOIN after USING (run_id, image_id, frame_key)
ORDER BY run_id, image_id, frame_key
"""


def write_run_table(storage: Store, record: RunRecord) -> None:
    """Write a run's row of the table `runs`, in place of an earlier one.

    Args:
        storage: The output.
        record: The run's record, of which only the public part is used.
    """
    _write(storage, output_layout.run_table_file(record.run_id), run_rows([record]).to_reader(), RUNS, record)


def write_lineage_tables(storage: Store, run_id: str) -> None:
    """Write the tables of a run whose predictions are complete, and of the runs that they concern.

    These are the runs that continue it, and those of its lineage that have no such tables, because an earlier version
    finished them.

    Args:
        storage: The output.
        run_id: The run.

    Raises:
        UsageError: A run of the lineage has no record.
        DamagedRecordError: A record of the lineage cannot be read.
        RunFault: The predictions of a run cannot be read.
    """
    lineage = resolve_lineage(storage, run_id)
    for generation, record in enumerate(lineage[:-1]):
        if not has_lineage_tables(storage, record.run_id):
            _write_tables(storage, lineage[: generation + 1])
    _write_tables(storage, lineage)
    records = {record.run_id: record for record in recorded_runs(storage, on_damaged=lambda *_: None)}
    parents = {name: record.parent_run_id for name, record in records.items()}
    for name, record in records.items():
        places = [place.run_id for place in lineage_of(name, parents)]
        if name != run_id and run_id in places and record.status == "finished":
            _write_tables(storage, [records[place] for place in places])


def has_lineage_tables(storage: Store, run_id: str) -> bool:
    """Return whether the table that is written last lists the lineage that ends with a run.

    Args:
        storage: The output.
        run_id: The run.
    """
    return storage.stat(output_layout.lineage_file(run_id)) is not None


@contextmanager
def superseded_rows(storage: Store, lineage: Sequence[RunRecord]) -> Iterator[pa.RecordBatchReader]:
    """Stream the predictions that do not count any more since the newest run of a lineage, while a block lasts.

    Args:
        storage: The output.
        lineage: The records of the lineage, oldest run first.

    Yields:
        Rows in schema SUPERSEDED, ordered by run, image and frame.

    Raises:
        RunFault: The predictions of a run cannot be read.
    """
    newest = lineage[-1]
    if len(lineage) == 1:
        yield SUPERSEDED.empty_table().to_reader()
        return
    memory = memory_database(spills=True, max_memory_bytes=MAX_MEMORY_BYTES)
    with _damage_as_fault(newest.run_id), memory as connection:
        _load(connection, storage, lineage)
        values = {"newest": len(lineage) - 1, "superseded_by": newest.run_id}
        found = connection.sql(_SUPERSEDED, params=values).to_arrow_reader(_BATCH_ROWS)
        yield pa.RecordBatchReader.from_batches(SUPERSEDED, (batch.cast(SUPERSEDED) for batch in found))


@contextmanager
def _damage_as_fault(run_id: str) -> Iterator[None]:
    """Raise RunFault in place of an error of DuckDB or Arrow about predictions that cannot be read."""
    with damage_as_fault(run_id):
        try:
            yield
        except duckdb.Error as error:
            raise OSError(str(error)) from error


def _load(connection: duckdb.DuckDBPyConnection, storage: Store, lineage: Sequence[RunRecord]) -> None:
    """Make a table of the lineage's predictions of the images that its newest run has. No other row can change."""
    newest = len(lineage) - 1
    columns = f"run_id, image_id, frame, coalesce(frame, {WHOLE_FILE}) AS frame_key, status"
    for generation, record in enumerate(lineage):
        connection.register(f"run_{generation}", read_predictions(storage, record.run_id))
    connection.execute(f"CREATE TABLE earlier_and_own AS SELECT {newest} AS generation, {columns} FROM run_{newest}")
    connection.execute(f"CREATE TABLE images AS SELECT DISTINCT image_id FROM run_{newest}")
    for generation in range(newest):
        connection.execute(
            f"INSERT INTO earlier_and_own SELECT {generation} AS generation, {columns} FROM run_{generation} "
            "SEMI JOIN images USING (image_id)"
        )


def _write_tables(storage: Store, lineage: Sequence[RunRecord]) -> None:
    """Write the three tables of the newest run of a lineage."""
    record = lineage[-1]
    write_run_table(storage, record)
    with superseded_rows(storage, lineage) as rows:
        _write(storage, output_layout.superseded_file(record.run_id), rows, SUPERSEDED, record)
    parents = {run.run_id: run.parent_run_id for run in lineage}
    rows = lineage_rows(lineage_of(record.run_id, parents)).to_reader()
    _write(storage, output_layout.lineage_file(record.run_id), rows, LINEAGES, record)


def _write(storage: Store, key: str, rows: pa.RecordBatchReader, schema: pa.Schema, record: RunRecord) -> None:
    """Write rows as they come, first to a file of this machine, and replace the object atomically."""
    metadata = table_metadata(run_id=record.run_id, fingerprint=record.fingerprint, simulated=record.simulated)
    schema = schema.with_metadata(metadata)
    with scratch_file() as file:
        with (
            scratch_faults(),
            pq.ParquetWriter(file, schema, compression="zstd", write_page_checksum=True) as writer,
        ):
            for batch in rows:
                writer.write_batch(batch.cast(schema))
        storage.replace(key, file)
