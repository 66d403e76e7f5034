"""`privacy`: searches what an output shows to others for identifiers."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, print_text, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, open_workspace
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.privacy.check import PrivacyReport

app = typer.Typer(no_args_is_help=True, help="Search what an output shows to others for identifiers.")


@app.callback()
def _group() -> None:
    """Make `check` a command of its own, because Typer would give the only command of a group the group's name."""


@app.command()
def check(
    output: OutputArgument,
    also: Annotated[
        list[str],
        typer.Option("--also", metavar="PLACE", help="Search this directory or s3://… as well: an export. Repeatable."),
    ] = [],  # noqa: B006
    allow: Annotated[
        list[str],
        typer.Option(
            "--allow", metavar="KIND", help="Do not search for values of this kind, such as StationName. Repeatable."
        ),
    ] = [],  # noqa: B006
    trained_in: Annotated[
        str | None,
        typer.Option(
            "--trained-in",
            metavar="OUTPUT",
            help="Search a model package, named in place of the output, for what this output of its training knows.",
        ),
    ] = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Search tables, reports and records for the identifiers that the private tree knows. Exit 1 if one is there.

    It looks for what stands in the headers of the images (DICOM elements, PNG text, EXIF, XMP), names of files and
    directories, and the ids and names of your tables. It prints where one was found, and never the value. Pixels are
    not searched: a name that is burned into a picture is out of its reach.

    A model package (a bundled name, a directory, s3://…) can stand in place of the output. Every file of it is searched
    for tokens and UIDs, and with --trained-in for all that the output of its training knows.

    Example: diagchd-batch privacy check out/sample --also for-the-paper
    """
    from diagchd_batch.runs.privacy_check import check_model_package, check_output, is_package

    if trained_in is not None or is_package(output):
        of_training = None if trained_in is None else open_workspace(trained_in, private_uri)
        report = check_model_package(output, of_training, also_allowed=allow)
        if trained_in is None:
            say("only tokens and UIDs were searched for; name the output of the training with --trained-in OUTPUT")
    else:
        report = check_output(open_workspace(output, private_uri), also=also, also_allowed=allow)
    if as_json:
        print_json({**asdict(report), "ok": report.ok})
    else:
        _print(report)
    for note in report.notes:
        say(note)
    if not report.ok:
        raise typer.Exit(ExitCode.FAILED)


def _print(report: "PrivacyReport") -> None:
    for finding in report.findings:
        print_text(f"{finding.kind}: {finding.file}: {finding.place}")
    for reason in report.unsearched:
        print_text(f"not searched: {reason}")
    print_pairs(
        [
            ("found", counted(report.n_findings, "place")),
            ("searched", f"{counted(report.n_files, 'file')}, {report.n_bytes / 1e6:,.1f} MB"),
            ("for", f"{counted(report.n_searched, 'spelling')} of {counted(report.n_values, 'value')}"),
            ("of these", f"{counted(report.n_short_numbers, 'short number')}, found only as a whole cell or string"),
            ("left out", f"{counted(report.n_allowed, 'value')} of allowed kinds"),
            ("", f"{counted(report.n_vocabulary, 'spelling')} that the program's own texts have"),
        ]
    )
    if report.n_findings > len(report.findings):
        say(f"not shown: {counted(report.n_findings - len(report.findings), 'more place')}")
    if report.n_findings:
        say(
            "do not share these files; if a kind of value may be shown, name it in privacy.allowed or with --allow, or "
            "else report the place as a fault of the program"
        )
