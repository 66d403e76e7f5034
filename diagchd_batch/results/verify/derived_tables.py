"""Proves that the Parquet tables of runs and lineages say what follows from the run records and the predictions."""

from collections.abc import Iterator, Sequence

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.columns.lineages import LINEAGES, SUPERSEDED
from diagchd_batch.results.columns.run_records import RUNS
from diagchd_batch.results.derived_tables import MAX_MEMORY_BYTES, TABLES_SINCE, has_lineage_tables, superseded_rows
from diagchd_batch.results.lineage import lineage_of, lineage_rows, resolve_lineage
from diagchd_batch.results.metrics_tables import read_derived
from diagchd_batch.results.query.runs_table import run_rows
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.results.verify.findings import REMEDIES, Problem, ProblemKind
from diagchd_batch.storage import Store
from diagchd_batch.wording import counted

_DIFFERENT = """
SELECT count(*) FROM (
    ((FROM expected) EXCEPT ALL (FROM stored)) UNION ALL ((FROM stored) EXCEPT ALL (FROM expected))
)
"""


def derived_tables_problems(storage: Store, record: RunRecord) -> Iterator[Problem]:
    """Yield a problem for each table of a finished run that is missing or says something else than the runs.

    A run that an earlier version finished has no such tables until it is evaluated again or another run continues it.
    A lineage that cannot be followed is reported with the lineage.

    Args:
        storage: The output.
        record: The run's record.
    """
    if record.schema_version < TABLES_SINCE and not has_lineage_tables(storage, record.run_id):
        return
    try:
        lineage = resolve_lineage(storage, record.run_id)
    except (UsageError, DamagedRecordError):
        return
    places = lineage_of(record.run_id, {run.run_id: run.parent_run_id for run in lineage})
    for key, schema, expected in (
        (output_layout.run_table_file(record.run_id), RUNS, run_rows([record])),
        (output_layout.lineage_file(record.run_id), LINEAGES, lineage_rows(places)),
    ):
        yield from _small_table_problems(storage, key, schema, expected)
    yield from _superseded_problems(storage, lineage)


def tables_of_unknown_runs(storage: Store, run_ids: set[str]) -> Iterator[tuple[str, Problem]]:
    """Yield a problem for each of these tables whose run the output does not have. Engines would read it.

    Args:
        storage: The output.
        run_ids: The runs that the output has.

    Yields:
        The id of the run in the table's name, and the problem.
    """
    for prefix, pattern in (
        (output_layout.RUN_TABLE_PREFIX, output_layout.RUN_TABLE_FILE),
        (output_layout.LINEAGES_PREFIX, output_layout.LINEAGE_FILE),
        (output_layout.SUPERSEDED_PREFIX, output_layout.SUPERSEDED_FILE),
    ):
        for info in storage.list(prefix):
            match = pattern.fullmatch(info.key)
            if match and match["run_id"] not in run_ids:
                kind = ProblemKind.FOREIGN_FILE
                detail = "the output has no such run, but a program that reads the archive by a glob reads it"
                yield match["run_id"], Problem(kind, info.key, detail, REMEDIES[kind])


def _small_table_problems(storage: Store, key: str, schema: pa.Schema, expected: pa.Table) -> Iterator[Problem]:
    try:
        stored = read_derived(storage, key)
    except RunFault as fault:
        yield _problem(key, str(fault))
        return
    if stored is None:
        yield _problem(key, "it is missing")
    elif not stored.schema.equals(schema):
        yield _problem(key, "it has other columns than this version writes")
    elif not stored.equals(expected):
        yield _problem(key, "it says something else than the run records")


def _superseded_problems(storage: Store, lineage: Sequence[RunRecord]) -> Iterator[Problem]:
    key = output_layout.superseded_file(lineage[-1].run_id)
    if storage.stat(key) is None:
        yield _problem(key, "it is missing")
        return
    database = memory_database(spills=True, max_memory_bytes=MAX_MEMORY_BYTES)
    with superseded_rows(storage, lineage) as rows, database as connection:
        connection.register("rows_of_lineage", rows)
        connection.execute("CREATE TABLE expected AS FROM rows_of_lineage")
        try:
            filesystem, root = storage.arrow()
            stored = ds.dataset(f"{root}/{key}", SUPERSEDED, format="parquet", filesystem=filesystem)
            connection.register("stored", stored)
            (n_different,) = connection.execute(_DIFFERENT).fetchone() or (0,)
        except (OSError, pa.ArrowException, duckdb.Error) as error:
            yield _problem(key, f"it cannot be read: {error}")
            return
    if n_different:
        yield _problem(key, f"{counted(n_different, 'row')} differ from what the predictions say")


def _problem(place: str, detail: str) -> Problem:
    kind = ProblemKind.DERIVED_TABLE_DIFFERS
    return Problem(kind, place, detail, REMEDIES[kind])
