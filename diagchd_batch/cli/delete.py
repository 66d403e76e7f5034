"""`delete`: removes a run, or a subject who withdrew consent, from an output."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, print_text, say
from diagchd_batch.cli.options import (
    JsonOption,
    OutputArgument,
    PrivateUriOption,
    checked_run_id,
    checked_text,
    open_run,
)
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.runs.delete import Deletion


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(delete)


def delete(
    output: OutputArgument,
    run_id: Annotated[
        str | None, typer.Option("--run-id", callback=checked_run_id, help="Delete this run as a whole.")
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            callback=checked_text,
            help="Delete a subject from all runs: the own id of the manifest, or a token p-…",
        ),
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do it. Without it, the command shows what it would remove.")
    ] = False,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a run, or a subject who withdrew consent: rows, masks, private records and derived files.

    Without --yes it changes nothing, shows what it would remove, and ends with exit code 2. A deletion that was
    interrupted is finished by the next one.

    Example: diagchd-batch delete out/sample --subject p-0123456789abcdef
    """
    from diagchd_batch.runs.delete import delete as delete_from_output

    workspace, run_id = open_run(output, private_uri, run_id)
    answer = delete_from_output(workspace, run_id, subject, confirmed=yes, on_note=say)
    if as_json:
        print_json(
            {
                "finished_earlier": answer.finished_earlier and answer.finished_earlier.model_dump(mode="json"),
                "deletion": answer.deletion and asdict(answer.deletion),
            }
        )
    elif answer.deletion:
        _print(answer.deletion)
    if answer.deletion is None:
        return
    _advise(answer.deletion)
    if not answer.deletion.done:
        say("nothing was changed; give the command again with --yes to delete")
        raise typer.Exit(ExitCode.USAGE)


def _print(deletion: "Deletion") -> None:
    verb = "deleted" if deletion.done else "would delete"
    pairs: list[tuple[str, object]] = [
        (verb, "the run as a whole" if deletion.kind == "run" else "a subject from all runs"),
        ("runs", ", ".join(deletion.run_ids) or "none"),
    ]
    if deletion.kind == "subject":
        pairs.append(("of the plans", f"{counted(deletion.n_studies, 'study')}, {counted(deletion.n_images, 'image')}"))
    pairs += [
        ("rows", f"{deletion.n_rows:,}"),
        ("written again", f"{counted(len(deletion.replaced), 'file')}, {deletion.n_shards:,} of them score files"),
        ("removed", counted(len(deletion.removed), "file")),
    ]
    print_pairs(pairs)
    if not deletion.done:
        for key in deletion.removed:
            print_text(f"  {key}")


def _advise(deletion: "Deletion") -> None:
    for key in deletion.unknown:
        say(f"{key} is not a file of this program; it was searched, and nothing was found")
    for key in deletion.doubtful:
        say(f"{key} is not a file of this program and has an own id of the subject as a word; look into it")
    if deletion.to_evaluate:
        run_ids = ", ".join(deletion.to_evaluate)
        say(f"metrics and reports that rest on what is deleted go too; evaluate again: {run_ids}")
    for package in deletion.packages:
        say(
            f"the weights of the model package {package} were trained with the subject, and are not changed; train a "
            "new package without the subject, and remove this one and its copies. Checkpoints and decoded images of "
            "the training go with the subject"
        )
    if deletion.kind == "subject":
        say(
            "the archive still has the files: exclude the study in the manifest (include 0 and an exclude_reason) or "
            "remove its files, or a later submit scores them again"
        )
    say(
        "backups, older versions of objects on S3 (versioning), copies, and files that were exported or given away are "
        "not reached"
    )
