"""A DuckDB database in memory that sees the views of an output and nothing else of the machine."""

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

import duckdb
import pyarrow as pa

from diagchd_batch.errors import ItemError, RunFault, StorageFault, UsageError
from diagchd_batch.escaping import command_line
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.process.memory_database import memory_database
from diagchd_batch.results.datasets import OutputTrees
from diagchd_batch.results.query.create_views import create_views_sql
from diagchd_batch.results.query.result_schema import data_metadata, with_declarations
from diagchd_batch.results.query.table_files import TableFiles
from diagchd_batch.results.query.view_columns import ViewColumn, all_views, declared_fields, describe
from diagchd_batch.results.query.views import DerivedView, View
from diagchd_batch.results.run_record import OnDamaged

_BATCH_ROWS = 65_536
_UNKNOWN_TABLE = re.compile(r"(Table with name .+? does not exist)!.*", re.DOTALL)
_READS = (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI)
"""The kinds of statement that only read. DuckDB classes a PIVOT as MULTI."""

_SHOWS_TABLES = re.compile(r"\s*show\s+(all\s+)?(tables|views)\b", re.IGNORECASE)
"""Statements that would list nothing, because a database has only the views that its statement names."""

_NAMES_PATIENTS = "names patients; add --private to read it, and keep the result where such data belong"
_NEEDS_PRIVATE_TREE = (
    "needs the private tree, which cannot be read from here; name it with --private-uri or ask its owner"
)

_SCAN_FAILED = "reading the stream registered as"
"""Part of DuckDB's message where a file cannot be read, as opposed to a statement that is wrong."""


class QueryDatabase:
    """Answers SQL statements. Each statement gets a database of its own with the views that it names."""

    def __init__(
        self, uri: str, table_files: TableFiles, known: Mapping[str, View | DerivedView], *, may_name_patients: bool
    ) -> None:
        self._uri = uri
        self._table_files = table_files
        self._views = known
        self._may_name_patients = may_name_patients

    def require_runs(self) -> None:
        """Raise UsageError where the output has no run, because it was misnamed or nothing was started."""
        self._table_files.require_runs()

    @contextmanager
    def rows(self, sql: str) -> Iterator[pa.RecordBatchReader]:
        """Stream the result of one statement while the block lasts.

        Args:
            sql: One statement that reads.

        Raises:
            UsageError: The statement is wrong, with DuckDB's message, or would do anything but read.
            RunFault: A table's file cannot be read.
        """
        named = self._named(sql)
        missing: dict[str, str] = {}  # views that cannot be read, and why
        with memory_database(spills=True) as connection:
            for view in named:
                needs = view.needs if isinstance(view, DerivedView) else ()
                if self._is_withheld(view):
                    missing[view.name] = _NAMES_PATIENTS
                elif not set(needs).isdisjoint(missing) or not self._add(connection, view):
                    missing[view.name] = _NEEDS_PRIVATE_TREE
            with _explained(missing, self._views):
                _check_reads(connection, sql)
                relation = connection.sql(sql)
                if relation is None:
                    raise UsageError("this statement has no result; write a SELECT")
                reader = relation.to_arrow_reader(_BATCH_ROWS)
                yield _explaining(reader, self._result_schema(reader.schema, sql, named), missing, self._views)

    def _is_withheld(self, view: View | DerivedView) -> bool:
        return isinstance(view, View) and view.names_patients and not self._may_name_patients

    def _result_schema(self, result: pa.Schema, sql: str, named: Iterable[View | DerivedView]) -> pa.Schema:
        """Return the schema of a result, with the descriptions of columns and the mark of simulated data."""
        declared = {view.name: {field.name: field for field in declared_fields(view, self._views)} for view in named}
        with memory_database(spills=False) as parser:  # a second statement would end the first one's result
            described = with_declarations(result, parser, sql, declared)
        if not any("run_id" in fields for fields in declared.values()):
            return described
        return described.with_metadata(data_metadata(simulated=self._table_files.has_simulated_data))

    def table(self, sql: str) -> pa.Table:
        """Return the whole result of a statement, as `rows` streams it."""
        with self.rows(sql) as reader:
            return reader.read_all()

    def create_views_sql(self) -> Iterator[str]:
        """Return the statements that create the public views in a DuckDB database that reads the files itself.

        Raises:
            UsageError: The output's name has a character that SQL text cannot have.
        """
        return create_views_sql(self._uri, self._table_files, self._views)

    def _named(self, sql: str) -> list[View | DerivedView]:
        """Return the views whose name is a word of the statement, each after the views that it needs."""
        words = {word.casefold() for word in re.findall(r"\w+", sql)}
        needed: dict[str, View | DerivedView] = {}
        for name, view in self._views.items():
            if name in words:
                for other in view.needs if isinstance(view, DerivedView) else ():
                    needed[other] = self._views[other]
                needed[name] = view
        return list(needed.values())

    def _add(self, connection: duckdb.DuckDBPyConnection, view: View | DerivedView) -> bool:
        if isinstance(view, DerivedView):
            connection.execute(f"CREATE VIEW {view.name} AS {view.sql}")
            return True
        try:
            connection.register(view.name, view.rows(self._table_files))
        except (StorageFault, ItemError):
            if not view.private:
                raise
            return False
        return True


def left_out(run_id: str, error: DamagedRecordError) -> str:
    """Return the message about a run that views leave out because its record cannot be read.

    Args:
        run_id: The run's id.
        error: Why its record cannot be read.
    """
    views_of_records = "runs, lineages, current and other views by lineage"
    return f"{views_of_records} leave out run {run_id} and the runs that continue it: {error}"


def _warn(run_id: str, error: DamagedRecordError) -> None:
    warnings.warn(left_out(run_id, error), stacklevel=2)


def open_query(
    output: OutputTrees,
    metrics: Mapping[str, pa.Schema],
    run_id: str | None = None,
    on_damaged: OnDamaged = _warn,
    comparisons: Mapping[str, pa.Schema] = MappingProxyType({}),
    *,
    may_name_patients: bool = False,
) -> QueryDatabase:
    """Return a read-only SQL database of an output.

    Args:
        output: The output.
        metrics: The names and schemas of the metrics tables (`evaluation_tables.TABLES`).
        run_id: The newest run of a lineage, to see only that lineage; all runs by default.
        on_damaged: Receives the id of each run whose record cannot be read, and the error, when a statement names a
            view that leaves the run out (`left_out` has the words). By default it is a Python warning.
        comparisons: The names and schemas of the tables of `compare` (`comparison_tables.TABLES`).
        may_name_patients: Whether statements may read `headers`, the view with what the archive's files say about
            patients.

    Raises:
        UsageError: The output has no such run.
        DamagedRecordError: A record of the lineage of `run_id` cannot be read.
    """
    return QueryDatabase(
        output.storage.uri,
        TableFiles(output, run_id, on_damaged),
        all_views(metrics, comparisons),
        may_name_patients=may_name_patients,
    )


def describe_views(
    metrics: Mapping[str, pa.Schema], comparisons: Mapping[str, pa.Schema] = MappingProxyType({})
) -> list[tuple[View | DerivedView, list[ViewColumn]]]:
    """Return every view with its columns. It needs no output.

    Args:
        metrics: The names and schemas of the metrics tables (`evaluation_tables.TABLES`).
        comparisons: The names and schemas of the tables of `compare` (`comparison_tables.TABLES`).
    """
    known = all_views(metrics, comparisons)
    described = describe(known)
    return [(view, described[name]) for name, view in known.items()]


def _check_reads(connection: duckdb.DuckDBPyConnection, sql: str) -> None:
    statements = connection.extract_statements(sql)
    if len(statements) != 1:
        raise UsageError(f"query takes one statement, this has {len(statements)}")
    if _SHOWS_TABLES.match(sql):
        raise UsageError(f"`{command_line('query', '--list')}` shows the views")
    kind = statements[0].type
    if kind not in _READS:
        raise UsageError(f"query only reads (SELECT, WITH, FROM, DESCRIBE, SUMMARIZE, PIVOT, EXPLAIN), not {kind.name}")


@contextmanager
def _explained(missing: Mapping[str, str], known: Iterable[str]) -> Iterator[None]:
    """Raise errors of this program in place of DuckDB's."""
    try:
        yield
    except duckdb.Error as error:
        raise _translated(str(error), missing, known) from error


def _explaining(
    reader: pa.RecordBatchReader, schema: pa.Schema, missing: Mapping[str, str], known: Iterable[str]
) -> pa.RecordBatchReader:
    """Return the same batches with this schema, and with errors of this program where one cannot be computed."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
        except (OSError, pa.ArrowException) as error:
            raise _translated(str(error), missing, known) from error

    return pa.RecordBatchReader.from_batches(schema, batches())


def _translated(message: str, missing: Mapping[str, str], known: Iterable[str]) -> UsageError | RunFault:
    if _SCAN_FAILED in message:
        return RunFault(f"{message}\nRun the command `verify` on this output.")
    for name, reason in missing.items():
        if f"with name {name} " in message.casefold():  # DuckDB repeats the name as the statement has it
            return UsageError(f"the view {name} {reason}")
    # DuckDB knows only the views that the statement names, so it would suggest one of its internal tables.
    views = f"the views are: {', '.join(known)} (`{command_line('query', '--list')}`)"
    message = _UNKNOWN_TABLE.sub(rf"\1; {views}", message)
    return UsageError(f"the query cannot be answered. {message}")
