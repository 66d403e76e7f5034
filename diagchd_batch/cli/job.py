"""`plan` and `submit`: what a job would do, and doing it."""

import os
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer

from diagchd_batch.cli.console import duration, print_json, print_pairs, say, size
from diagchd_batch.cli.options import ConfigArgument, JsonOption, SetOption
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.models import JobConfig
    from diagchd_batch.runs.plan import JobPreview
    from diagchd_batch.scoring.driver.identity import RunRequest
    from diagchd_batch.scoring.driver.lifecycle import RunOutcome

OnlyOption = Annotated[
    Literal["new"] | None, typer.Option("--only", help="Score what is new or changed since earlier runs.")
]
RetryOption = Annotated[Literal["failed"] | None, typer.Option("--retry", help="Score files again that failed.")]
RunId = Annotated[
    str | None,
    typer.Option("--run-id", help="Name the run yourself; an existing one is resumed if its fingerprint is the same."),
]

InputMovedOption = Annotated[
    bool,
    typer.Option("--input-moved", help="The archive of this output was moved to input.uri; its files are the same."),
]

WHICH_FILES = (
    "SELECT uri, error_code, reference_status FROM current JOIN plan USING (run_id, image_id) "
    "WHERE error_code IS NOT NULL OR reference_status <> 'ok'"
)


def register(app: typer.Typer) -> None:
    app.command()(plan)
    app.command()(submit)


def plan(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    run_id: RunId = None,
    only: OnlyOption = None,
    retry: RetryOption = None,
    input_moved: InputMovedOption = False,
    measure: Annotated[
        bool, typer.Option(help="Time the model on this machine where no earlier run tells how fast it is.")
    ] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what a submit would do: studies, images, bytes, shards, what is done already, the time expected.

    Checks the manifest and the evaluation's files; writes nothing to the output.

    Example: diagchd-batch plan job.yaml
    """
    from diagchd_batch.cli.progress import run_progress
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.runs.plan import preview_job

    request = _request(run_id, False, only, retry, input_moved)
    job = load_job(config, overrides, os.environ)
    _say_caution(job)
    with run_progress() as progress:
        preview = preview_job(job, os.environ, request=request, on_listed=progress.listed)
    images_per_s, source = preview.images_per_s, "the latest run with this fingerprint"
    if images_per_s is None and measure:
        from diagchd_batch.runs.bench import measure_model

        say("timing the model on this machine (--no-measure leaves that out)")
        images_per_s, device = measure_model(preview.model)
        source = f"one actor on this machine's {device}"
    if as_json:
        print_json(_plan_json(preview, images_per_s, source))
    else:
        print_pairs(_plan_pairs(job, preview, images_per_s, source))


def submit(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    run_id: RunId = None,
    new_run: Annotated[bool, typer.Option("--new-run", help="Begin another run although one could go on.")] = False,
    only: OnlyOption = None,
    retry: RetryOption = None,
    input_moved: InputMovedOption = False,
    until: Annotated[
        str | None,
        typer.Option(help="Begin no shard that would not end by then: 06:00, 2026-11-24T06:00+01:00 or 7h30m."),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster, such as http://head:8265; else RAY_API_SERVER_ADDRESS or RAY_ADDRESS."),
    ] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="On a cluster: print the submission's id and go.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Score a cohort and evaluate it: here, with a Ray of its own, or on a cluster. Again: it resumes or repeats.

    Exit codes: 0 done, 1 failed (resumable), 2 usage or configuration, 3 done with failed inputs,
    4 fingerprint mismatch, 130/143 interrupted (resumable; a run on a cluster goes on without the client).

    Example: diagchd-batch submit configs/sample.yaml --set model.precision=bfloat16
    """
    from diagchd_batch.cli.progress import run_progress
    from diagchd_batch.cluster.embedded import EmbeddedRay
    from diagchd_batch.cluster.job_api import cluster_address
    from diagchd_batch.cluster.this_machine import this_machine
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.config.output_places import refuse_output_in_input
    from diagchd_batch.errors import UsageError
    from diagchd_batch.process.interrupts import RunInterrupted
    from diagchd_batch.report import write_report
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.evaluate import evaluate_output
    from diagchd_batch.runs.plan import read_evaluation_files
    from diagchd_batch.scoring.driver.lifecycle import run_job
    from diagchd_batch.scoring.liveness.deadline import parse_deadline

    cluster = cluster_address(address, os.environ)
    if no_wait and not cluster:
        raise UsageError("--no-wait goes with a cluster; name it with --address, or leave --no-wait out")
    deadline = parse_deadline(until, datetime.now(UTC)) if until else None
    request = _request(run_id, new_run, only, retry, input_moved)
    job = load_job(config, overrides, os.environ)
    _say_caution(job)
    refuse_output_in_input(job)
    read_evaluation_files(job.evaluation)  # a mistake in them is told now, not when the night is over
    if cluster:
        _submit_to_cluster(job, cluster, request, deadline, no_wait, as_json)
    notes: list[str] = []
    try:
        with run_progress() as progress:

            def evaluate(run: str) -> None:
                progress.message("scored; evaluating")
                output = open_output(job.output.uri, job.output.private_uri)
                notes.extend(evaluate_output(output, os.environ, run_id=run, config=job.evaluation).notes)

            def report(run: str) -> None:
                write_report(open_output(job.output.uri).storage, run)

            outcome = run_job(
                job,
                EmbeddedRay(this_machine()),
                progress,
                environ=os.environ,
                command=sys.argv[1:],
                request=request,
                until=deadline,
                derive=evaluate,
                conclude=report,
            )
    except RunInterrupted as interruption:
        say(f"interrupted ({interruption}); what is committed stays, the same command resumes the run")
        raise typer.Exit(interruption.exit_code) from None
    if as_json:
        print_json(_outcome_json(job, outcome))
    else:
        _print_outcome(job, outcome)
        if only and outcome.resumed and not outcome.ending:
            say("this run was begun before; the same command scores what has come in since it was planned")
        for note in notes:
            say(f"evaluation: {note}")
    raise typer.Exit(outcome.exit_code)


def _request(run_id: str | None, new_run: bool, only: str | None, retry: str | None, input_moved: bool) -> "RunRequest":
    from diagchd_batch.errors import UsageError
    from diagchd_batch.scoring.driver.identity import RunRequest

    if only and retry:
        raise UsageError("--only new and --retry failed are two runs: give the one, then the other")
    return RunRequest(run_id, new_run, "new" if only else "failed" if retry else "all", input_moved)


def _say_caution(job: "JobConfig") -> None:
    from diagchd_batch.model.caution import caution

    if text := caution(job.model.name, job.model.weights, simulated_images=job.input.simulated):
        say(f"caution: {text}")


def _submit_to_cluster(
    job: "JobConfig",
    address: str,
    request: "RunRequest",
    until: datetime | None,
    no_wait: bool,
    as_json: bool,
) -> NoReturn:
    from diagchd_batch.cluster.job_api import ClusterJobs
    from diagchd_batch.process.interrupts import RunInterrupted, interruptible
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.cluster_submit import follow_to_end, run_meant

    jobs = ClusterJobs(address)
    run = run_meant(job, os.environ, request)
    options = {"new": ["--only", "new"], "failed": ["--retry", "failed"]}.get(request.selection, [])
    if request.input_moved:
        options.append("--input-moved")
    if until:
        options += ["--until", until.isoformat()]
    submission_id, exit_code = "", 0
    try:
        with interruptible():
            private = open_output(job.output.uri, job.output.private_uri).private
            submission_id, was_there = jobs.submit(job, private, run, options)
            say(f"{'attached to' if was_there else 'submitted'} {submission_id}")
            if no_wait:
                _say_ways_back(job, run, request)
            else:
                exit_code = follow_to_end(jobs, job, run, submission_id, say)
    except RunInterrupted as interruption:
        if submission_id:
            say(f"detached ({interruption}); run {run} goes on on the cluster")
            _say_ways_back(job, run, request)
        else:
            say(f"interrupted ({interruption}) before the cluster had answered; the same command submits, or attaches")
        raise typer.Exit(interruption.exit_code) from None
    if as_json:
        print_json({"run_id": run, "submission_id": submission_id, "exit_code": None if no_wait else exit_code})
    else:
        print(submission_id)
    raise typer.Exit(exit_code)


def _say_ways_back(job: "JobConfig", run: str, request: "RunRequest") -> None:
    """To a run that goes on without us, as commands that a shell takes."""
    # The same command, but for what would not wait again, or begin one more run.
    words = [word for word in sys.argv[1:] if word not in ("--no-wait", "--new-run")]
    named = ["--run-id", run] if request.new_run else []
    output, *private = _output_words(job)
    for what, command in (
        ("follow it", [*words, *named]),
        ("see how far it is", ["status", output, "--run-id", run, *private]),
        ("end it", ["stop", run, "--output", output, *private]),
    ):
        say(f"{what}: {shlex.join(['diagchd-batch', *command])}")


def _plan_pairs(
    job: "JobConfig", preview: "JobPreview", images_per_s: float | None, source: str
) -> list[tuple[str, Any]]:
    head = preview.head
    left = head.n_images - preview.done_images
    pairs: list[tuple[str, Any]] = [
        ("model", f"{preview.model.name}, {preview.model.precision}, weights {preview.model.weights_digest[:12]}"),
        ("studies", f"{head.n_studies:,} of {counted(head.n_subjects, 'subject')}"),
        ("images", f"{head.n_images:,} ({size(head.size_bytes)}), {head.n_masks:,} with a reference mask"),
        ("shards", f"{head.n_shards:,} of up to {counted(head.images_per_shard, 'image')}"),
        ("run", _run_meant(preview)),
        ("left to score", counted(left, "image")),
    ]
    if images_per_s:
        pairs.append(("time expected", f"{duration(left / images_per_s)} at {images_per_s:.1f} images/s ({source})"))
    else:
        pairs.append(("time expected", "not known: no earlier run, and --no-measure"))
    if head.n_excluded:
        lost = counted(head.n_excluded_studies, "study")
        pairs.append(("excluded", f"{counted(head.n_excluded, 'row')}; without another image: {lost}"))
    if head.n_missing:
        note = f"{counted(head.n_missing, 'file', 'planned')} not there"
        pairs.append(("missing", f"{note}, {head.n_missing_masks:,} of them masks: failed rows to be"))
    if head.n_unlisted:
        pairs.append(("not in the manifest", f"{counted(head.n_unlisted, 'image file')} below input.uri"))
    if not head.subjects_given:
        pairs.append(
            ("subjects", f"not given for {counted(head.n_studies_without_subject, 'study')}: each study stands for one")
        )
    for name, match in preview.matches.items():
        text = f"{counted(match.n_matched, 'study')} matched, {match.n_without_row:,} without a row"
        if match.unmatched_ids:
            text += f"; not in the inventory: {counted(len(match.unmatched_ids), 'study')} of it"
        pairs.append((f"evaluation.{name}", text))
    pairs.append(("output", job.output.uri))
    return pairs


def _run_meant(preview: "JobPreview") -> str:
    if preview.run_id:
        return f"{preview.run_id}, {counted(preview.done_images, 'image')} done"
    return f"a new one, which builds on {preview.builds_on}" if preview.builds_on else "a new one"


def _plan_json(preview: "JobPreview", images_per_s: float | None, source: str) -> dict[str, Any]:
    head = preview.head
    counts = (
        "n_studies n_subjects n_images n_masks size_bytes n_shards images_per_shard n_excluded n_excluded_studies "
        "n_missing n_missing_masks n_unlisted subjects_given"
    )
    left = head.n_images - preview.done_images
    return {
        **{name: getattr(head, name) for name in counts.split()},
        "run_id": preview.run_id,
        "builds_on": preview.builds_on,
        "done_shards": preview.done_shards,
        "done_images": preview.done_images,
        "images_per_s": images_per_s,
        "images_per_s_source": source if images_per_s else None,
        "expected_s": left / images_per_s if images_per_s else None,
        "evaluation": {
            name: {
                "n_matched": match.n_matched,
                "n_without_row": match.n_without_row,
                "n_unmatched": len(match.unmatched_ids),
            }
            for name, match in preview.matches.items()
        },
    }


def _outcome_json(job: "JobConfig", outcome: "RunOutcome") -> dict[str, Any]:
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
        "report": _report_uri(job, outcome.run_id),
    }


def _quoted(job: "JobConfig", run_id: str) -> str:
    """A run for `query` as a shell takes it, and where its private tree lies if not in the output."""
    output, *private = _output_words(job)
    return shlex.join([output, "--run-id", run_id, *private])


def _output_words(job: "JobConfig") -> list[str]:
    """The output as commands take it, and where its private tree lies if not in it."""
    private = ["--private-uri", job.output.private_uri] if job.output.private_uri else []
    return [job.output.uri, *private]


def _report_uri(job: "JobConfig", run_id: str) -> str | None:
    from diagchd_batch import output_layout
    from diagchd_batch.results import open_output
    from diagchd_batch.uris import join_uri

    key = output_layout.report_file(run_id)
    return join_uri(job.output.uri, key) if open_output(job.output.uri).storage.stat(key) else None


def _print_outcome(job: "JobConfig", outcome: "RunOutcome") -> None:
    from diagchd_batch.failures import REMEDIES, FailureCode
    from diagchd_batch.report.summary import read_key_figures
    from diagchd_batch.results import open_output

    counts = outcome.counts
    pairs: list[tuple[str, Any]] = [("run", outcome.run_id)]
    if outcome.repeated:
        pairs.append(("", "finished before; nothing was done"))
        if outcome.n_new_images:
            pairs.append(("new images", f"{outcome.n_new_images:,} came in since; score them with --only new"))
    if outcome.nothing_selected:
        pairs.append(("", "nothing to score since then; no run was begun"))
    if outcome.ending:
        pairs.append(("left", f"{counted(outcome.n_images_left, 'image')}; the same command goes on"))
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
        output = open_output(job.output.uri).storage
        pairs.extend((figure.name, str(figure)) for figure in read_key_figures(output, outcome.run_id))
        if report := _report_uri(job, outcome.run_id):
            pairs.append(("report", report))
    pairs.append(("output", job.output.uri))
    print_pairs(pairs)
    if counts and (counts.n_failed or any(status != "ok" for status in counts.reference_status)):
        say(f'which files: diagchd-batch query {_quoted(job, outcome.run_id)} "{WHICH_FILES}"')
    if counts:
        say(f"check it with: diagchd-batch verify {job.output.uri}")
