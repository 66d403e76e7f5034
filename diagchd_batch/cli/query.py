"""`query`: SQL over an output's tables."""

import io
import sys
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import print_text, say
from diagchd_batch.cli.options import (
    OptionalOutputArgument,
    PrivateUriOption,
    checked_run_id,
    checked_text,
    open_run,
)
from diagchd_batch.errors import UsageError
from diagchd_batch.escaping import command_line, for_line
from diagchd_batch.uris import expand_home

if TYPE_CHECKING:
    import pyarrow as pa

_MAX_TABLE_ROWS = 1_000
_FOLDED_WIDTH = 24
"""Characters of a column that can still be read when its cells are folded."""
_GAP = 3


class Format(StrEnum):
    """The formats of a query's result."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(query)


def query(
    output: OptionalOutputArgument = None,
    sql: Annotated[
        str | None,
        typer.Argument(callback=checked_text, help="One SELECT; - reads it from standard input.", show_default=False),
    ] = None,
    list_views: Annotated[bool, typer.Option("--list", help="Show the views, with one line each.")] = False,
    columns_of: Annotated[
        str | None, typer.Option("--columns", metavar="VIEW", help="Show what the columns of a view mean.")
    ] = None,
    print_sql: Annotated[
        bool,
        typer.Option("--print-sql", help="Print the statements that create the public views in a DuckDB of your own."),
    ] = False,
    run_id: Annotated[
        str | None,
        typer.Option(
            "--run-id", callback=checked_run_id, help="One run, with the runs that it builds on; default: all."
        ),
    ] = None,
    format_: Annotated[
        Format | None, typer.Option("--format", help="Default: the ending of --out; without --out, table.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", parser=expand_home, metavar="PATH", help="Write the result to this new file."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Allow the view headers, which names patients. IDENTIFIED.")
    ] = False,
    private_uri: PrivateUriOption = None,
) -> None:
    """Query an output's tables with SQL (DuckDB). Reads only: nothing is changed, and no other file is opened.

    Example: diagchd-batch query out/sample "SELECT status, count(*) FROM predictions GROUP BY status"
    """
    if list_views:
        _print_views()
        return
    if columns_of is not None:
        _print_columns(columns_of)
        return
    if print_sql:
        if output is None or sql is not None or format_ is not None or out is not None or private:
            raise UsageError("--print-sql takes an output, and no statement, --format, --out or --private")
        _print_sql(output, run_id, private_uri)
        return
    if output is None or sql is None:
        raise UsageError(f"query needs an output and a statement; `{command_line('query', '--list')}` shows the views")
    from diagchd_batch.exports.destinations import check_outside_shareable_exports, new_file
    from diagchd_batch.results.query.formats import FORMATS
    from diagchd_batch.runs.query import open_tables

    chosen = format_ or _by_ending(out)
    if chosen is Format.PARQUET and out is None and sys.stdout.isatty():
        raise UsageError("Parquet cannot be shown on a terminal; name a file with --out")
    if out is not None:
        check_outside_shareable_exports(str(out.absolute().parent))
    workspace, run_id = open_run(output, private_uri, run_id)
    database = open_tables(workspace, run_id, on_left_out=say, may_name_patients=private)
    with database.rows(_statement_of_stdin() if sql == "-" else sql) as rows, ExitStack() as files:
        file = files.enter_context(new_file(out)) if out else sys.stdout.buffer
        if chosen is not Format.TABLE:
            FORMATS[chosen](rows, file)
        elif out is None:
            _print_table(rows, sys.stdout)
        else:
            text = io.TextIOWrapper(file, encoding="utf-8")
            _print_table(rows, text)
            text.flush()
            text.detach()


def _statement_of_stdin() -> str:
    try:
        return checked_text(sys.stdin.read()) or ""
    except UnicodeDecodeError:
        raise UsageError("the statement on standard input is not UTF-8; save it as UTF-8") from None


def _print_sql(output: str, run_id: str | None, private_uri: str | None) -> None:
    from diagchd_batch.runs.query import open_tables

    workspace, run_id = open_run(output, private_uri, run_id)
    for statement in open_tables(workspace, run_id, on_left_out=say).create_views_sql():
        print_text(statement)


def _by_ending(out: Path | None) -> Format:
    ending = out.suffix.removeprefix(".").lower() if out else ""
    if ending in ("", "txt"):
        return Format.TABLE
    if ending not in list(Format):
        raise UsageError(
            f"--out {out}: end the name with .csv, .json, .jsonl, .parquet or .txt, or name the format with --format"
        )
    return Format(ending)


def _print_views() -> None:
    from diagchd_batch.runs.query import list_views

    described = list_views()
    width = max(len(view.name) for view in described)
    for view in described:
        print_text(f"{view.name:<{width}}  {view.description}")
    say("with --columns VIEW, the command `query` says what the columns of a view mean")


def _print_columns(name: str) -> None:
    from diagchd_batch.runs.query import view_named

    view = view_named(name)
    print_text(f"{view.name}: {view.description}")
    name_width, type_width = (max(len(column[place]) for column in view.columns) for place in (0, 1))
    for column, kind, meaning in view.columns:
        print_text(f"    {column:<{name_width}}  {kind:<{type_width}}  {meaning}".rstrip())


def _print_table(rows: "pa.RecordBatchReader", file: Any) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from diagchd_batch.results.query.formats import row_values

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for field in rows.schema:
        table.add_column(Text(_shown(field.name)), justify="right" if _is_number(field.type) else "left")
    shown: list[list[str]] = []
    left = _MAX_TABLE_ROWS
    for batch in rows:
        shown += ([_shown(value) for value in row] for row in row_values(batch.slice(0, left)))
        left -= batch.num_rows
        if left < 0:
            say(f"these are the first {_MAX_TABLE_ROWS:,} rows; --format csv, json, jsonl or parquet gives all")
            break
    is_terminal = file.isatty()
    console = Console(file=file, width=None if is_terminal else 10_000, no_color=not is_terminal)
    names = [_shown(name) for name in rows.schema.names]
    if is_terminal and shown and _least_width(names, shown) > console.width:
        _print_records(names, shown, file)
        return
    for row in shown:
        table.add_row(*map(Text, row))
    console.print(table)


def _least_width(names: list[str], rows: list[list[str]]) -> int:
    """Return the characters that a table needs if its wider columns are folded."""
    columns = zip(names, *rows, strict=True)
    return sum(min(_FOLDED_WIDTH, max(map(len, column))) + _GAP for column in columns)


def _print_records(names: list[str], rows: list[list[str]], file: Any) -> None:
    """Print each row as a block with one line per column, for rows with more columns than fit on a terminal."""
    width = max(map(len, names))
    for number, row in enumerate(rows, start=1):
        print(f"row {number}", file=file)
        for name, value in zip(names, row, strict=True):
            print(f"  {name:<{width}}  {value}".rstrip(), file=file)


def _is_number(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _shown(value: Any) -> str:
    """Return a value for a person in one line. Control characters, which a file's name may hold, are escaped."""
    from diagchd_batch.results.query.formats import cell

    text = f"{value:.6g}" if isinstance(value, float) else cell(value)
    return for_line(text)
