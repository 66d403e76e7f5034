"""The root of the command line: registers the commands and turns errors into exit codes."""

import faulthandler
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, cast

import typer
from typer.core import TyperGroup

from diagchd_batch import __version__
from diagchd_batch.cli import (
    bench,
    compare,
    config,
    delete,
    evaluate,
    export,
    index,
    info,
    list_runs,
    logs,
    models,
    plan,
    privacy,
    query,
    report,
    sample,
    show,
    status,
    stop,
    submit,
    train,
    verify,
)
from diagchd_batch.cli.console import fail
from diagchd_batch.cli.error_exits import errors_as_exit_codes
from diagchd_batch.cli.silence import no_long_silence
from diagchd_batch.escaping import for_console
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.process.ending import end_process

_USAGE_ERROR = cast(type[Exception], typer.BadParameter.__mro__[1])
"""The base of all errors about the command line, which Typer does not export."""


@contextmanager
def _escaped_usage_errors() -> Iterator[None]:
    """Escape what an error about the command line repeats of it, because a file's name can stand there."""
    try:
        yield
    except _USAGE_ERROR as error:
        error.message = for_console(error.message or "")  # type: ignore[attr-defined]
        raise


class _EscapingGroup(TyperGroup):
    """The commands. An error about their arguments controls no terminal."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        with _escaped_usage_errors():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        with _escaped_usage_errors():
            return super().invoke(ctx)


app = typer.Typer(
    name="diagchd-batch",
    cls=_EscapingGroup,
    help="Score archives of fetal four-chamber heart ultrasound with DiagCHD's multi-task model.\n\n"
    "Exit codes: 0 done · 1 failed · 2 usage or configuration · 3 done, with failed inputs · "
    "4 fingerprint mismatch · 130/143 interrupted.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"diagchd-batch {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


for command in (
    plan,
    index,
    submit,
    train,
    verify,
    status,
    list_runs,
    logs,
    stop,
    evaluate,
    compare,
    report,
    query,
    show,
    delete,
    sample,
    bench,
    info,
):
    command.register(app)
app.add_typer(export.app, name="export")
app.add_typer(privacy.app, name="privacy")
app.add_typer(config.app, name="config")
app.add_typer(models.app, name="models")


def main() -> None:
    """Run the command line. A user's mistake ends with its message and exit code, never with a traceback."""
    if not sys.platform.startswith("linux"):
        fail(
            f"diagchd-batch runs on Linux only, and this is {platform.system() or sys.platform}; use a Linux machine, "
            "a container, or WSL 2 on Windows"
        )
        sys.exit(ExitCode.USAGE)
    with no_long_silence(), errors_as_exit_codes():
        app()


def run_process() -> NoReturn:
    """Run the command line as this process, which ends with its exit code. This is the program `diagchd-batch`."""
    if sys.stderr is not None:
        faulthandler.enable()  # says where a native library crashed
    try:
        main()
    except SystemExit as ended:
        if not isinstance(ended.code, int):
            raise
        end_process(ended.code)
    end_process(ExitCode.DONE)
