"""`export`: what may be given to others, what the clinic works through, and what goes back to where images are read."""

from dataclasses import asdict
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption, checked_text, open_run
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.exports.dicom.export_studies import DicomExport

app = typer.Typer(no_args_is_help=True, help="Export aggregates that may be shared, the clinic's worklist, or masks.")


class WorklistFormat(StrEnum):
    """The formats of a worklist."""

    CSV = "csv"
    XLSX = "xlsx"


StudyOption = Annotated[
    list[str],
    typer.Option("--study", metavar="ID", help="Only this study (own id or token). Repeatable.", show_default=False),
]
WhereOption = Annotated[
    str | None,
    typer.Option(
        "--where",
        callback=checked_text,
        metavar="SQL",
        help="Only studies with a row of the view `current` that meets this, such as 'chd_probability > 0.9'.",
        show_default=False,
    ),
]


@app.command()
def shareable(
    output: OutputArgument,
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A directory or s3://…", show_default=False)],
    run_id: RunIdOption = None,
    min_cell: Annotated[
        int | None, typer.Option(min=1, help="Withhold smaller counts; default: the job's disclosure.min_cell.")
    ] = None,
    forget_earlier: Annotated[
        bool, typer.Option("--forget-earlier", help="No earlier export of this lineage of runs was given away.")
    ] = False,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's aggregates as CSV files, without small counts, tokens, or anything of a single study.

    Every count from which a small one would follow is withheld, also together with earlier exports of the same lineage
    of runs. A README beside the files says how much is missing.

    Example: diagchd-batch export shareable out/sample for-the-paper
    """
    from diagchd_batch.runs.export import share

    workspace, run_id = open_run(output, private_uri, run_id)
    summary = share(
        workspace,
        destination,
        run_id,
        min_cell=min_cell,
        forget_earlier=forget_earlier,
        on_note=say,
    )
    if as_json:
        print_json(asdict(summary))
        return
    print_pairs(
        [
            ("run", summary.run_id),
            *(
                (f"{name}.csv", f"{counted(n, 'row')}, {summary.n_withheld[name]:,} withheld")
                for name, n in summary.n_rows.items()
            ),
        ]
    )
    say(f"counts from 1 to {summary.min_cell - 1} and what would reveal them are withheld; README.md says how")


@app.command()
def worklist(
    output: OutputArgument,
    destination: Annotated[
        str | None,
        typer.Argument(
            metavar="[DEST]", help="A directory or s3://…; default: in the private tree.", show_default=False
        ),
    ] = None,
    run_id: RunIdOption = None,
    file_format: Annotated[
        WorklistFormat, typer.Option("--format", help="csv, or xlsx, in which Excel keeps leading zeros of ids.")
    ] = WorklistFormat.CSV,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a run's studies by score under their own ids, and those that failed. Needs the private tree. IDENTIFIED.

    Example: diagchd-batch export worklist out/sample
    """
    from diagchd_batch.exports.worklist import FAILED, SCORED
    from diagchd_batch.runs.export import write_worklist

    workspace, run_id = open_run(output, private_uri, run_id)
    done = write_worklist(workspace, destination, run_id, file_format=file_format.value, on_note=say)
    summary = done.summary
    if as_json:
        print_json({**asdict(summary), "destination": done.destination})
        return
    print_pairs(
        [
            ("run", summary.run_id),
            (f"{SCORED}.{file_format}", f"{counted(summary.n_scored, 'study')}, {summary.n_called_chd:,} called CHD"),
            (f"{FAILED}.{file_format}", f"{counted(summary.n_failed, 'study')}"),
            ("in", done.destination),
        ]
    )
    say("these files hold the studies' own ids; keep them where such data belong")


@app.command()
def dicom(
    output: OutputArgument,
    destination: Annotated[
        str, typer.Argument(metavar="DEST", help="A folder, or a PACS: dicomweb+https://host/path.", show_default=False)
    ],
    run_id: RunIdOption = None,
    study: StudyOption = [],  # noqa: B006 - typer needs a list, and never changes it
    where: WhereOption = None,
    secondary_capture: Annotated[
        bool, typer.Option("--secondary-capture", help="Also write pictures of the frames with the outlines.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Send to a PACS; default: say what would be sent.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be written, and write nothing.")] = False,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write masks and measurements as DICOM objects of the studies that were scored. IDENTIFIED. Research use only.

    Each scored frame becomes a Segmentation, and each image a Structured Report. What is there already is not written
    again. A PACS is sent to with --yes only, and every object is read back and compared.

    Example: diagchd-batch export dicom out/pacs for-the-pacs --where chd_call
    """
    from diagchd_batch.cli.progress import image_progress
    from diagchd_batch.exports.chosen_images import StudyChoice
    from diagchd_batch.runs.export import is_pacs, write_dicom

    needs_yes = is_pacs(destination) and not yes
    workspace, run_id = open_run(output, private_uri, run_id)
    with image_progress("export") as show:
        done = write_dicom(
            workspace,
            destination,
            run_id,
            choice=StudyChoice(tuple(study), where),
            captures=secondary_capture,
            dry_run=dry_run or needs_yes,
            on_note=say,
            on_progress=lambda n_images, n_all, done: show(n_images, n_all, _objects_so_far(done)),
        )
    if as_json:
        print_json(asdict(done))
    else:
        print_pairs(
            [
                ("to", done.destination),
                ("studies", f"{done.n_studies:,}"),
                ("images", f"{done.n_images:,}"),
                *((f"new {kind}", f"{n:,}") for kind, n in sorted(done.n_stored.items())),
                ("there already", f"{done.n_there:,}"),
            ]
        )
    for source in done.unusable:
        say(f"no objects for image {source.image_id} of study {source.study_id}: {source.code}")
    for stored in done.failed:
        say(f"not stored: {stored.identity.shown}: {stored.reason}")
    if needs_yes:
        say("nothing was sent to the PACS; add --yes to send these objects")
    elif dry_run:
        say("this was a dry run; nothing was written")
    else:
        say("these objects name patients; keep them where such data belong. They are for research, not for diagnosis")
    if done.failed:
        raise typer.Exit(ExitCode.FAILED)
    if done.unusable:
        raise typer.Exit(ExitCode.FAILED_INPUTS)


def _objects_so_far(done: "DicomExport") -> str:
    text = f"{counted(sum(done.n_stored.values()), 'new object')} · {done.n_there:,} there already"
    n_failed = len(done.failed) + len(done.unusable)
    return f"{text} · {n_failed:,} failed" if n_failed else text


@app.command()
def png(
    output: OutputArgument,
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A directory or s3://…", show_default=False)],
    run_id: RunIdOption = None,
    study: StudyOption = [],  # noqa: B006 - typer needs a list, and never changes it
    where: WhereOption = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write predicted masks as PNG files of class numbers (0 background, 1 septum, 2 heart), named by tokens.

    A file has the size of the frame that it belongs to. Pseudonymised: no picture, no name of a file.

    Example: diagchd-batch export png out/sample masks --where chd_call
    """
    from diagchd_batch.exports.chosen_images import StudyChoice
    from diagchd_batch.runs.export import write_label_pngs

    choice = StudyChoice(tuple(study), where)
    workspace, run_id = open_run(output, private_uri, run_id)
    done = write_label_pngs(workspace, destination, run_id, choice=choice, on_note=say)
    if as_json:
        print_json({**asdict(done), "destination": destination})
        return
    print_pairs([("masks", f"{done.n_written:,} written"), ("there already", f"{done.n_there:,}"), ("in", destination)])
