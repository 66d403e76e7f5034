"""`export`: what may be given to others, and what the clinic works through."""

from dataclasses import asdict
from typing import Annotated

import typer

from diagchd_batch.cli.console import print_json, print_pairs, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption, open_workspace
from diagchd_batch.wording import counted

app = typer.Typer(no_args_is_help=True, help="Export aggregates that may be shared, or the clinic's worklist.")


@app.command()
def shareable(
    output: OutputArgument,
    destination: Annotated[str, typer.Argument(metavar="DEST", help="A directory or s3://…", show_default=False)],
    run_id: RunIdOption = None,
    min_cell: Annotated[
        int | None, typer.Option(min=2, help="Withhold smaller counts; default: the job's disclosure.min_cell.")
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

    summary = share(
        open_workspace(output, private_uri),
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
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """List a run's studies by score under their own ids, and those that failed. Needs the private tree. IDENTIFIED.

    Example: diagchd-batch export worklist out/sample
    """
    from diagchd_batch.exports.worklist import FAILED, SCORED
    from diagchd_batch.runs.export import write_worklist

    done = write_worklist(open_workspace(output, private_uri), destination, run_id, on_note=say)
    summary = done.summary
    if as_json:
        print_json({**asdict(summary), "destination": done.destination})
        return
    print_pairs(
        [
            ("run", summary.run_id),
            (SCORED, f"{counted(summary.n_scored, 'study')}, {summary.n_called_chd:,} called CHD"),
            (FAILED, f"{counted(summary.n_failed, 'study')}"),
            ("in", done.destination),
        ]
    )
    say("these files hold the studies' own ids; keep them where such data belong")
