"""SQL that attaches the views of an output to a DuckDB of one's own, which reads the Parquet files itself."""

import re
from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.results.metrics_tables import REFERENCE_CALL
from diagchd_batch.results.query.table_files import TableFiles
from diagchd_batch.results.query.view_columns import describe
from diagchd_batch.results.query.views import DerivedView, View
from diagchd_batch.wording import shown_value

_FROM_PATH = ("run_id", "compare_to")
_PUBLIC_TABLES = {"runs": output_layout.run_table_file, "lineages": output_layout.lineage_file}
"""Views that `query` makes of the run records. Another engine reads them from one file for each run."""

_LEFT_OUT = "columns"
_GLOB = re.compile(r"[*?\[]")
_S3 = """\
-- The files are in S3: load DuckDB's extension httpfs, and create a secret that may read them, before these statements.
--   INSTALL httpfs; LOAD httpfs;
--   CREATE SECRET (TYPE s3, PROVIDER credential_chain, SCOPE {scope});
-- The provider credential_chain needs the extension aws. With another server than that of AWS, the secret also needs
-- ENDPOINT 'host:port', URL_STYLE 'path' and, without TLS, USE_SSL false."""

_MISSING = """\
-- The table of {table} lacks these runs: {run_ids}. They have not ended, or an earlier version wrote them. For a run
-- that has ended, the command `evaluate` writes it. If no run is left, it and the views that need it are left out."""


def create_views_sql(uri: str, stored: TableFiles, known: Mapping[str, View | DerivedView]) -> Iterator[str]:
    """Yield the statements that create the public views of an output in a DuckDB database, and comments.

    Args:
        uri: The output: an absolute path, or the URI of a prefix in S3.
        stored: The files of its tables.
        known: All views by name.

    Raises:
        UsageError: The output's name has a character that SQL text cannot have.
    """
    if not uri.isprintable():
        raise UsageError(f"{shown_value(uri)} has characters that cannot be printed, so no SQL can name it; rename it")
    root = _GLOB.sub(r"[\g<0>]", uri.rstrip("/"))
    if uri.startswith("s3://"):
        yield _S3.format(scope=_text(f"{uri.rstrip('/')}/"))
    types = {name: {column.name: column.type for column in columns} for name, columns in describe(known).items()}
    hidden = {name for name, view in known.items() if name == _LEFT_OUT or (isinstance(view, View) and view.private)}
    for table, key_of in _PUBLIC_TABLES.items():
        missing = [run_id for run_id in stored.run_ids if not stored.has(key_of(run_id))]
        if missing:
            yield _MISSING.format(table=table, run_ids=", ".join(missing))
        if len(missing) == len(stored.run_ids):  # no view is better than one whose empty answer is wrong
            hidden.add(table)
    for view in known.values():
        if isinstance(view, View) and view.name not in hidden:
            yield f"CREATE OR REPLACE VIEW {view.name} AS\n{_rows_sql(view, stored, root, types[view.name])};"
    for view in known.values():
        if isinstance(view, DerivedView) and hidden.isdisjoint(view.needs):
            lines = [line.strip() for line in view.sql.strip().splitlines() if line.strip()]
            yield f"CREATE OR REPLACE VIEW {view.name} AS\n" + "\n".join(lines) + ";"


def _rows_sql(view: View, stored: TableFiles, root: str, types: Mapping[str, str]) -> str:
    if view.name in _PUBLIC_TABLES:
        return _files_sql(_public_table_paths(view.name, stored), root, types, from_path=())
    rows = view.rows(stored)
    if isinstance(rows, ds.FileSystemDataset) or REFERENCE_CALL in types:
        from_path = tuple(name for name in _FROM_PATH if name in types)
        return _files_sql(_paths(stored.keys_of(view.name, rows), stored.is_whole), root, types, from_path)
    return _values_sql(rows, types)


def _files_sql(paths: list[str], root: str, types: Mapping[str, str], from_path: tuple[str, ...]) -> str:
    """Return SQL for the rows of files. A column that no file has is null, as in tables that older versions wrote."""
    in_file = {name: kind for name, kind in types.items() if name not in from_path}
    if REFERENCE_CALL in in_file:  # its name in schema version 1
        in_file["reference_label"] = "VARCHAR"
    empty = ", ".join(f"NULL::{kind} AS {_name(name)}" for name, kind in in_file.items())
    columns = ", ".join(_column(name, kind) for name, kind in types.items())
    if not paths:
        path_columns = "".join(f", NULL::VARCHAR AS {name}" for name in from_path)
        return f"SELECT {columns}\nFROM (SELECT {empty}{path_columns} WHERE false)"
    hive = "hive_partitioning = false"
    if from_path:
        hive_types = ", ".join(f"'{name}': VARCHAR" for name in from_path)
        hive = f"hive_partitioning = true, hive_types = {{{hive_types}}}"
    files = ", ".join(_text(f"{root}/{path}") for path in paths)
    return (
        f"SELECT {columns}\nFROM (SELECT {empty} WHERE false UNION ALL BY NAME\n"
        f"FROM read_parquet([{files}], union_by_name = true, {hive}))"
    )


def _column(name: str, kind: str) -> str:
    if name == REFERENCE_CALL:
        return f"coalesce({name}, reference_label) AS {name}"
    return f"{_name(name)}::{kind} AS {_name(name)}"


def _values_sql(table: pa.Table, types: Mapping[str, str]) -> str:
    rows = [", ".join(_text(value) for value in row.values()) for row in table.to_pylist()]
    lines = ",\n".join(f"({row})" for row in rows)
    return f"FROM (VALUES\n{lines}) AS listed ({', '.join(map(_name, types))})"


def _paths(keys: list[str], is_whole: bool) -> list[str]:
    """Return paths with wild cards for the files of all runs, or of some, so that later files are found as well."""
    old_places = (output_layout.METRICS_FILE_V1, output_layout.COMPARISON_FILE_V1)
    return sorted(
        {
            key if any(old.fullmatch(key) for old in old_places) else output_layout.table_glob(key, all_runs=is_whole)
            for key in keys
        }
    )


def _public_table_paths(name: str, stored: TableFiles) -> list[str]:
    keys = [key for run_id in stored.run_ids if stored.has(key := _PUBLIC_TABLES[name](run_id))]
    return ["/".join((keys[0].partition("/")[0], "[!_.]*.parquet"))] if keys and stored.is_whole else keys


def _name(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
