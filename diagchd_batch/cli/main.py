"""The command line's root: gathers the commands, turns errors into exit codes."""

import sys

import typer

from diagchd_batch import __version__
from diagchd_batch.cli import bench, config, evaluate, export, info, job, query, report, results, runs, sample
from diagchd_batch.cli.console import fail
from diagchd_batch.errors import DiagchdBatchError, ItemError

app = typer.Typer(
    name="diagchd-batch",
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


job.register(app)
results.register(app)
runs.register(app)
evaluate.register(app)
report.register(app)
query.register(app)
sample.register(app)
bench.register(app)
info.register(app)
app.add_typer(export.app, name="export")
app.add_typer(config.app, name="config")


def main() -> None:
    """Entry point. A user's mistake ends with its message and exit code, never with a traceback."""
    try:
        app()
    except DiagchdBatchError as error:
        fail(str(error))
        sys.exit(error.exit_code)
    except ItemError as error:  # of a file of the output's own: what is wrong with images never comes this far
        fail(f"a file that this command needs cannot be read: {error}; check its rights and the storage")
        sys.exit(1)
    except KeyboardInterrupt:
        fail("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output (`| head`) went away; not worth a message, and stdout must not be flushed again
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:
        if error.filename is None:
            raise
        fail(f"{error.filename}: {error.strerror}; check the path, its rights and the space on its disk")
        sys.exit(1)
