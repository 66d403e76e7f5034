"""Arguments and options that several commands share, and what they mean."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from diagchd_batch.errors import UsageError
from diagchd_batch.output_layout import check_run_id
from diagchd_batch.uris import expand_home
from diagchd_batch.wording import shown_value

if TYPE_CHECKING:
    from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
    from diagchd_batch.workspace import Workspace

ConfigArgument = Annotated[Path, typer.Argument(help="The job file (YAML).", parser=expand_home, show_default=False)]
OutputArgument = Annotated[
    str, typer.Argument(help="The output: a directory or s3://bucket/prefix.", show_default=False)
]
OptionalOutputArgument = Annotated[
    str | None,
    typer.Argument(help="The output: a directory or s3://bucket/prefix.", metavar="[OUTPUT]", show_default=False),
]
SetOption = Annotated[
    list[str],
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as model.precision=bfloat16. Repeatable."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def checked_run_id(run_id: str | None) -> str | None:
    """Return a run id of the command line, or None if none was given.

    Raises:
        UsageError: It is no run id.
    """
    return None if run_id is None else check_run_id(run_id)


def checked_text(text: str | None) -> str | None:
    """Return a text of the command line that tables are searched for, or None if none was given.

    Raises:
        UsageError: It has bytes that are not UTF-8, which no table holds and no statement can have.
    """
    try:
        (text or "").encode()
    except UnicodeEncodeError:
        raise UsageError(f"{shown_value(text)} is not UTF-8; set the terminal to UTF-8 and write it again") from None
    return text


RunIdOption = Annotated[
    str | None,
    typer.Option("--run-id", callback=checked_run_id, help="A run; default: the latest finished one."),
]
AnyRunIdOption = Annotated[
    str | None,
    typer.Option("--run-id", callback=checked_run_id, help="A run; default: all runs of the output."),
]
OwnRunIdOption = Annotated[
    str | None,
    typer.Option(
        "--run-id",
        callback=checked_run_id,
        help="Name the run yourself. An existing one is resumed if its fingerprint is the same.",
    ),
]
PrivateUriOption = Annotated[
    str | None, typer.Option("--private-uri", help="Where the private tree lies, if not in the output.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(help="A Ray cluster, such as http://head:8265; default: RAY_API_SERVER_ADDRESS or RAY_ADDRESS."),
]
EvaluationFileOption = Annotated[
    Path | None,
    typer.Option(
        "--config",
        parser=expand_home,
        metavar="PATH",
        help="Take the evaluation block of this job file; default: the one submitted.",
    ),
]
SelectOption = Annotated[
    Literal["new", "failed"] | None,
    typer.Option(
        "--select",
        help="Score a part of the input in a new run that builds on the newest one: files that are new or changed, or "
        "files that failed.",
    ),
]
NewRunOption = Annotated[bool, typer.Option("--new-run", help="Begin another run even if one could be resumed.")]
InputMovedOption = Annotated[
    bool,
    typer.Option("--input-moved", help="The archive of this output was moved to input.uri; its files are the same."),
]
OnlyOption = Annotated[Literal["new"] | None, typer.Option("--only", hidden=True)]
RetryOption = Annotated[Literal["failed"] | None, typer.Option("--retry", hidden=True)]


def run_request(
    run_id: str | None,
    new_run: bool,
    select: str | None,
    only: str | None,
    retry: str | None,
    input_moved: bool = False,
) -> "RunRequest":
    """Return what the options say about the run.

    Args:
        run_id: The value of --run-id.
        new_run: Whether --new-run is given.
        select: The value of --select: ``new`` or ``failed``.
        only: The value of --only, an old spelling of ``--select new``.
        retry: The value of --retry, an old spelling of ``--select failed``.
        input_moved: Whether --input-moved is given.

    Raises:
        UsageError: The options exclude each other.
    """
    from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest

    given = {selection for selection in (select, only, retry) if selection}
    if len(given) > 1:
        raise UsageError("new files and failed files are two runs; give --select new, then --select failed")
    if "failed" in given:
        return RunRequest(run_id, new_run, "failed", input_moved)
    return RunRequest(run_id, new_run, "new" if given else "all", input_moved)


def open_run(
    output: str, private_uri: str | None, run_id: str | None, *, is_watching: bool = False
) -> "tuple[Workspace, str | None]":
    """Open the output that a command names, and find the run that is named by its id or by the beginning of its id.

    Args:
        output: The output's path or URI.
        private_uri: Where the private tree lies, if not in ``_private/`` of the output.
        run_id: The run's id or what only that id begins with; None if no run is named.
        is_watching: Whether the command only looks at runs, so that it waits for storage for a short time only.

    Returns:
        The workspace and the run's whole id. A name that no run's id begins with is returned as it is.

    Raises:
        UsageError: Several runs have ids that begin so.
    """
    from diagchd_batch.runs.run_lookup import full_run_id
    from diagchd_batch.storage.timeouts import SHORT_TIMEOUT_S
    from diagchd_batch.workspace import DEFAULT_OBJECT_TIMEOUT_S, Workspace

    timeout_s = SHORT_TIMEOUT_S if is_watching else DEFAULT_OBJECT_TIMEOUT_S
    workspace = Workspace.open(output, private_uri, object_timeout_s=timeout_s)
    return workspace, None if run_id is None else full_run_id(workspace, run_id)


def open_workspace(output: str, private_uri: str | None = None) -> "Workspace":
    """Open the output that a command names.

    Args:
        output: The output's path or URI.
        private_uri: Where the private tree lies, if not in ``_private/`` of the output.

    Returns:
        The workspace.
    """
    from diagchd_batch.workspace import Workspace

    return Workspace.open(output, private_uri)
