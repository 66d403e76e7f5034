"""`verify`: proves what an output holds."""

from typing import TYPE_CHECKING

import typer

from diagchd_batch.cli.console import print_json, say
from diagchd_batch.cli.options import JsonOption, OutputArgument, PrivateUriOption, RunIdOption
from diagchd_batch.errors import UsageError

if TYPE_CHECKING:
    from diagchd_batch.results.verify_report import VerifyReport


def register(app: typer.Typer) -> None:
    app.command()(verify)


def verify(
    output: OutputArgument,
    run_id: RunIdOption = None,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that every planned frame has exactly one result, and that files are whole. Exit 1 names what is wrong.

    Checks all runs of the output, or the one named.

    Example: diagchd-batch verify out/sample
    """
    from diagchd_batch.results import open_output
    from diagchd_batch.results.verify import verify_run
    from diagchd_batch.studies.plan import open_plan

    opened = open_output(output, private_uri)
    run_ids = [run_id] if run_id else opened.run_ids()
    if not run_ids:
        raise UsageError(f"{output} holds no run; name the directory or prefix that is output.uri in the job file")
    reports = []
    for name in run_ids:
        plan = open_plan(opened.private, name)
        reports.append(verify_run(opened.storage, opened.private, plan, name))
        if not as_json:
            _print_report(reports[-1])
    if as_json:
        print_json([_report_json(report) for report in reports])
    if not all(report.ok for report in reports):
        raise typer.Exit(1)


def _print_report(report: "VerifyReport") -> None:
    counts = report.counts
    if report.ok and counts:
        print(
            f"run {report.run_id}: {counts.n_images:,} planned images, {counts.n_rows:,} rows "
            f"({counts.n_ok:,} scored, {counts.n_failed:,} failed) in {report.n_shards_checked:,} shards: "
            "every planned frame exactly once, all files whole"
        )
        return
    for problem in report.problems:
        print(f"run {report.run_id}: {problem}")
    say(f"run {report.run_id}: {report.n_problems:,} problems")


def _report_json(report: "VerifyReport") -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "n_shards_checked": report.n_shards_checked,
        "n_problems": report.n_problems,
        "counts": report.counts.model_dump(mode="json") if report.counts else None,
        "problems": [
            {"kind": p.kind, "place": p.place, "detail": p.detail, "remedy": p.remedy} for p in report.problems
        ],
    }
