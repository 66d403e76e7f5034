"""What `submit` prints when a run has ended."""

from typing import TYPE_CHECKING, Any

from diagchd_batch.cli.console import print_pairs, say
from diagchd_batch.cli.dicom_object_counts import object_pairs
from diagchd_batch.errors import DiagchdBatchError
from diagchd_batch.escaping import as_argument, command_line
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.runs.submit import LineageTotals
    from diagchd_batch.scoring.driver.run_job import RunOutcome


def output_arguments(job: "JobConfig") -> list[str]:
    """Return the output as commands take it, and the private tree's place if it is elsewhere.

    Args:
        job: The run's job file.
    """
    private = ["--private-uri", as_argument(job.output.private_uri)] if job.output.private_uri else []
    return [as_argument(job.output.uri), *private]


def summary_json(job: "JobConfig", outcome: "RunOutcome") -> dict[str, Any]:
    """Return what `submit --json` prints of a run that ended.

    Args:
        job: The run's job file.
        outcome: How the run ended.
    """
    from diagchd_batch.runs.submit import plan_of_headers, report_uri

    head = plan_of_headers(job, outcome.run_id)
    return {
        "run_id": outcome.run_id,
        "exit_code": outcome.exit_code,
        "output": job.output.uri,
        "counts": outcome.counts.model_dump(mode="json") if outcome.counts else None,
        "resumed": outcome.resumed,
        "repeated": outcome.repeated,
        "n_new_images": outcome.n_new_images,
        "nothing_selected": outcome.nothing_selected,
        "ending": outcome.ending,
        "n_images_left": outcome.n_images_left,
        "objects": head.objects.model_dump() if head and head.objects else None,
        "report": report_uri(job, outcome.run_id),
    }


def _together(totals: "LineageTotals") -> str:
    """Return what a run has with those that it continues; the figures that follow are about all of it."""
    images = f"{counted(totals.n_images, 'image')} of {counted(totals.n_studies, 'study')}"
    frames = f"{counted(totals.n_ok, 'frame')} scored, {totals.n_failed:,} failed"
    return f"{images}: {frames}, with the {counted(totals.n_runs - 1, 'run')} that it continues"


def print_summary(job: "JobConfig", outcome: "RunOutcome") -> None:
    """Print what became of a run: counts, failures with their remedies, key figures, and the commands that follow.

    Args:
        job: The run's job file.
        outcome: How the run ended.
    """
    from diagchd_batch.failure_codes import REMEDIES, FailureCode
    from diagchd_batch.runs.submit import key_figures, lineage_totals, plan_of_headers, report_uri

    counts = outcome.counts
    pairs: list[tuple[str, Any]] = [("run", outcome.run_id)]
    if outcome.repeated:
        pairs.append(("", "finished before; nothing was done"))
        if outcome.n_new_images:
            pairs.append(("new images", f"{outcome.n_new_images:,} came in since; score them with --select new"))
    if outcome.nothing_selected:
        pairs.append(("", "there is nothing to score since then, so no run was begun"))
    if outcome.ending:
        pairs.append(("left", f"{counted(outcome.n_images_left, 'image')}; the same command goes on"))
    if head := plan_of_headers(job, outcome.run_id):
        pairs += object_pairs(head)
    if counts:
        scored = f"{counted(counts.n_ok, 'frame')} of {counted(counts.n_images, 'image')}"
        pairs.append(("scored", f"{scored}, {counts.n_chd_calls:,} called CHD"))
        if counts.n_failed:
            pairs.append(("failed", f"{counts.n_failed:,}"))
            for code, n in counts.failures.items():
                pairs.append((f"  {code}", f"{n:,}: {REMEDIES[FailureCode(code)]}"))
        bad_masks = {status: n for status, n in counts.reference_status.items() if status != "ok"}
        for code, n in bad_masks.items():
            pairs.append((f"  {code}", f"{counted(n, 'reference mask')}: {REMEDIES[FailureCode(code)]}"))
        if counts.quality_flags:
            pairs.append(("flagged", ", ".join(f"{flag} {n:,}" for flag, n in counts.quality_flags.items())))
        try:
            totals = lineage_totals(job, outcome.run_id)
        except DiagchdBatchError as error:  # the run itself has ended well
            say(f"the runs that this one continues cannot be counted: {error}")
            totals = None
        if totals:
            pairs.append(("all together", _together(totals)))
        pairs.extend((figure.name, str(figure)) for figure in key_figures(job, outcome.run_id))
        if report := report_uri(job, outcome.run_id):
            pairs.append(("report", report))
    pairs.append(("output", job.output.uri))
    print_pairs(pairs)
    if counts and (counts.n_failed or any(status != "ok" for status in counts.reference_status)):
        from diagchd_batch.runs.query import UNUSABLE_FILES

        output, *private = output_arguments(job)
        words = [output, UNUSABLE_FILES, "--run-id", outcome.run_id, *private]
        say(f"which files: {command_line('query', *words)}")
    if counts:
        say(f"check it with: {command_line('verify', *output_arguments(job))}")
