"""`verify`: proves what an output holds."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from diagchd_batch.cli.console import print_json, print_text, say
from diagchd_batch.cli.options import AnyRunIdOption, JsonOption, OutputArgument, PrivateUriOption, open_run
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.results.verify.findings import LineageReport, Problem, VerifyReport
    from diagchd_batch.workspace import Workspace

_SHOWN_ALIKE = 3
"""Problems of one kind that are printed for a run. The others are counted."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(verify)


def verify(
    output: OutputArgument,
    run_id: AnyRunIdOption = None,
    rescore: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Instead, score N random frames of a run (the latest finished one) again and compare.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the frames of --rescore.")] = 0,
    private_uri: PrivateUriOption = None,
    as_json: JsonOption = False,
) -> None:
    """Prove that every planned frame has exactly one result, and that files are whole. Exit 1 names what is wrong.

    Checks all runs of the output, or the one that is named, and also the runs that build on one another together. With
    --rescore it ends with exit code 1 if a score differs, and with 3 if none does but a file is gone or has changed.

    Example: diagchd-batch verify out/sample
    """
    from diagchd_batch.runs.verify import verify as verify_output

    workspace, run_id = open_run(output, private_uri, run_id)
    if rescore is not None:
        _rescore(workspace, run_id, rescore, seed, as_json)
        return
    if as_json:
        found = verify_output(workspace, run_id)
        print_json([*map(_report_json, found.runs), *map(_lineage_json, found.lineages)])
    else:
        found = verify_output(workspace, run_id, on_run=_print_report)
        for lineage in found.lineages:
            _print_lineage(lineage)
    if found.leftovers:
        say(
            f"killed writers left {counted(len(found.leftovers), 'file')}, such as {found.leftovers[0]}: no result is "
            "affected, and the next run that writes there removes them"
        )
    if not found.ok:
        raise typer.Exit(ExitCode.FAILED)


def _rescore(workspace: "Workspace", run_id: str | None, n_frames: int, seed: int, as_json: bool) -> None:
    from diagchd_batch.runs.rescore import describe
    from diagchd_batch.runs.rescore import rescore as rescore_frames

    result = rescore_frames(workspace, n_frames, run_id, seed=seed, on_note=say)
    if as_json:
        print_json(asdict(result))
    else:
        print_text(f"run {result.run_id}: {describe(result)}")
        for kind, found in (("different score", result.different), ("file not usable", result.unusable)):
            for one in found:
                print_text(f"run {result.run_id}: {kind}: image {one.image_id}, frame {one.frame}: {one.detail}")
    if not result.ok:
        raise typer.Exit(ExitCode.FAILED)
    if result.unusable:
        raise typer.Exit(ExitCode.FAILED_INPUTS)


def _print_report(report: "VerifyReport") -> None:
    counts, name = report.counts, f"run {report.run_id}"
    if report.ok and counts:
        print_text(
            f"run {report.run_id}: {counted(counts.n_images, 'image', 'planned')}, {counted(counts.n_rows, 'row')} "
            f"({counts.n_ok:,} scored, {counts.n_failed:,} failed) in {counted(report.n_shards_checked, 'shard')}: "
            "every planned frame exactly once, all files whole"
        )
        return
    alike: dict[tuple[str, str], list[Problem]] = {}
    for problem in report.problems:
        alike.setdefault((problem.kind, problem.remedy), []).append(problem)
    for (kind, _), problems in alike.items():
        for problem in problems[:_SHOWN_ALIKE]:
            place = "" if problem.place == name else f"{problem.place}: "
            print_text(f"{name}: {kind}: {place}{problem.detail} ({problem.remedy})")
        if len(problems) > _SHOWN_ALIKE:
            print_text(f"{name}: {kind}: {len(problems) - _SHOWN_ALIKE:,} more of this kind; --json lists them")
    say(f"run {report.run_id}: {counted(report.n_problems, 'problem')}")


def _print_lineage(report: "LineageReport") -> None:
    name = f"runs {' → '.join(report.run_ids)} together"
    if report.ok:
        rows = f"{counted(report.n_images, 'image', 'planned')}, {counted(report.n_rows, 'row')}"
        print_text(f"{name}: {rows}: every frame exactly once")
    for problem in report.problems:
        print_text(f"{name}: {problem}")


def _lineage_json(report: "LineageReport") -> dict[str, object]:
    return {
        "lineage": report.run_ids,
        "ok": report.ok,
        "n_images": report.n_images,
        "n_rows": report.n_rows,
        "problems": [asdict(problem) for problem in report.problems],
    }


def _report_json(report: "VerifyReport") -> dict[str, object]:
    return {
        "run_id": report.run_id,
        "ok": report.ok,
        "n_shards_checked": report.n_shards_checked,
        "n_problems": report.n_problems,
        "counts": report.counts.model_dump(mode="json") if report.counts else None,
        "problems": [asdict(problem) for problem in report.problems],
    }
