"""`export`: what may be given away, and what the clinic works through."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.results.output import Output
    from diagchd_batch.results.run_record import RunRecord

app = typer.Typer(no_args_is_help=True, help="Export aggregates that may be shared, or the clinic's worklist.")


@app.command()
def shareable(
    output: OutputArgument,
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A directory or s3://…", show_default=False)],
    run_id: RunIdOption = None,
    min_cell: Annotated[
        int | None, typer.Option(min=2, help="Withhold smaller counts; default: the job's disclosure.min_cell.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's aggregates as CSV files, without small counts, tokens, or anything of a single study.

    Withholds every count from which a small one would follow. A README beside the files says how much is missing.

    Example: diagchd-batch export shareable out/sample for-the-paper
    """
    from diagchd_batch.exports.shareable import export_shareable
    from diagchd_batch.results import open_output
    from diagchd_batch.storage import open_store

    opened = open_output(output)
    summary = export_shareable(opened.storage, _record(opened, run_id), open_store(destination), min_cell)
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
    say(f"counts from 1 to {summary.min_cell - 1} and what would tell them are withheld; README.md says how")


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
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a run's studies by score under their own ids, and those that failed. Needs the private tree. IDENTIFIED.

    Example: diagchd-batch export worklist out/sample
    """
    from diagchd_batch import output_layout
    from diagchd_batch.exports.worklist import FAILED, SCORED, export_worklist
    from diagchd_batch.results import open_output
    from diagchd_batch.storage import open_store
    from diagchd_batch.uris import join_uri

    opened = open_output(output, private_uri)
    record = _record(opened, run_id)
    place = destination or join_uri(opened.private.uri, output_layout.worklist_prefix(record.run_id))
    summary = export_worklist(opened, record, open_store(place, owner_only=True))
    if as_json:
        print_json({**asdict(summary), "destination": place})
        return
    print_pairs(
        [
            ("run", summary.run_id),
            (SCORED, f"{counted(summary.n_scored, 'study')}, {summary.n_called_chd:,} called CHD"),
            (FAILED, f"{counted(summary.n_failed, 'study')}"),
            ("in", place),
        ]
    )
    say("these files hold the studies' own ids: keep them where such data belong")


def _record(output: "Output", run_id: str | None) -> "RunRecord":
    from diagchd_batch.runs.evaluate import latest_finished_run, named_run

    return named_run(output, run_id) if run_id else latest_finished_run(output)
