"""`plan`: what a submit would do."""

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from diagchd_batch.cli.console import duration, moment, print_json, print_pairs, say, size
from diagchd_batch.cli.dicom_object_counts import object_pairs, subject_pairs
from diagchd_batch.cli.forecast_of_training import planned_training, planned_training_json, planned_training_pairs
from diagchd_batch.cli.options import (
    ConfigArgument,
    InputMovedOption,
    JsonOption,
    NewRunOption,
    OnlyOption,
    OwnRunIdOption,
    RetryOption,
    SelectOption,
    SetOption,
    run_request,
)
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.runs.details_of_plan import PlanDetails
    from diagchd_batch.runs.plan import JobPreview
    from diagchd_batch.studies.plan.stored_plan import PlanHead


_KINDS_SHOWN = 6
"""Kinds of skipped files that are named, the most frequent first."""


def register(app: typer.Typer) -> None:
    """Add the command to the program."""
    app.command()(plan)


def plan(
    config: ConfigArgument,
    overrides: SetOption = [],  # noqa: B006
    run_id: OwnRunIdOption = None,
    new_run: NewRunOption = False,
    select: SelectOption = None,
    only: OnlyOption = None,
    retry: RetryOption = None,
    input_moved: InputMovedOption = False,
    measure: Annotated[
        bool, typer.Option(help="Time the model on this machine if no earlier run tells how fast it is.")
    ] = True,
    details: Annotated[
        bool,
        typer.Option("--details", help="Write the names of missing, skipped and duplicate files to the private tree."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Show what a submit would do: studies, images, bytes, shards, what is done already, the time expected.

    Of a job file with a block `training` it shows what `train` would do: studies, folds, steps, the cache of images.
    Checks the manifest and the evaluation's files, and writes nothing to the output but --details.

    Example: diagchd-batch plan job.yaml
    """
    from diagchd_batch.cli.progress import run_progress
    from diagchd_batch.config.loading import load_job
    from diagchd_batch.runs.plan import preview_job, with_measured_speed

    request = run_request(run_id, new_run, select, only, retry, input_moved)
    job = load_job(config, overrides, os.environ)
    if job.training is not None:
        training = planned_training(job, request, measure=measure, with_details=details)
        if as_json:
            print_json(planned_training_json(training) | _details_json(training.details))
        else:
            named = details_pairs(training.details)
            print_pairs([*planned_training_pairs(job, training), *not_listed_pairs(training.head), *named])
        return
    say_caution(job)
    with run_progress() as progress:
        preview = preview_job(job, os.environ, request=request, on_listed=progress.listed, with_details=details)
    if preview.images_per_s is None and measure:
        say("timing the model on this machine (--no-measure omits that)")
        preview = with_measured_speed(preview)
    if as_json:
        print_json(_as_json(preview) | _details_json(preview.details))
    else:
        print_pairs([*_pairs(job, preview), *details_pairs(preview.details)])


def say_caution(job: "JobConfig") -> None:
    """Warn if the model's weights were trained on simulated images only and the job's images are real."""
    from diagchd_batch.model.clinical_warning import clinical_warning

    if text := clinical_warning(job.model.name, job.model.weights, simulated_images=job.input.simulated):
        say(f"caution: {text}")


def _pairs(job: "JobConfig", preview: "JobPreview") -> list[tuple[str, Any]]:
    head = preview.head
    pairs: list[tuple[str, Any]] = [
        ("model", f"{preview.model.name}, {preview.model.precision}, weights {preview.model.weights_digest[:12]}"),
        ("studies", f"{head.n_studies:,} of {counted(head.n_subjects, 'subject')}"),
        ("images", f"{head.n_images:,} ({size(head.size_bytes)}), {head.n_masks:,} with a reference mask"),
        ("frames", _frames(head)),
        ("shards", f"{head.n_shards:,} of up to {counted(head.images_per_shard, 'image')}"),
        ("run", _run(preview)),
        ("left to score", counted(preview.images_left, "image")),
    ]
    if preview.expected_s is not None:
        speed = f"{preview.images_per_s:.1f} images/s ({preview.images_per_s_source})"
        start = ", with the start of the workers" if preview.expected_s else ""
        pairs.append(("time expected", f"{duration(preview.expected_s)} at {speed}{start}"))
    else:
        pairs.append(("time expected", "not known: there is no earlier run, and --no-measure was given"))
    if head.n_excluded:
        whole = counted(head.n_excluded_studies, "study")
        pairs.append(("excluded", f"{counted(head.n_excluded, 'row')}; {whole} excluded as a whole"))
    pairs += [*missing_pairs(head), *not_listed_pairs(head)]
    if head.n_unlisted:
        pairs.append(("not in the manifest", f"{counted(head.n_unlisted, 'image file')} below input.uri"))
    pairs += [*skipped_pairs(head), *duplicate_pairs(preview.n_duplicates)]
    pairs += [*subject_pairs(head), *object_pairs(head)]
    if preview.headers_listed_at is not None:
        age = duration((datetime.now(UTC) - preview.headers_listed_at).total_seconds())
        pairs.append(("index", f"as of {moment(preview.headers_listed_at)}, {age} ago; submit brings it up to date"))
    for name, match in preview.matches.items():
        text = f"{counted(match.n_matched, 'study')} matched, {match.n_without_row:,} without a row"
        if match.unmatched_ids:
            text += f"; {counted(len(match.unmatched_ids), 'study')} of it not in the inventory"
        pairs.append((f"evaluation.{name}", text))
    pairs.append(("output", job.output.uri))
    return pairs


def missing_pairs(head: "PlanHead") -> list[tuple[str, Any]]:
    """Return names and values to print of planned files that the listing of the archive lacks.

    Args:
        head: The plan in numbers.
    """
    pairs: list[tuple[str, Any]] = []
    if head.n_missing:
        pairs.append(("missing", f"{counted(head.n_missing, 'planned image')} not there; each will be a failed row"))
    if head.n_missing_masks:
        note = f"{counted(head.n_missing_masks, 'planned mask')} not there"
        pairs.append(("missing masks", f"{note}; their images are scored, but not compared with a mask"))
    return pairs


def skipped_pairs(head: "PlanHead") -> list[tuple[str, Any]]:
    """Return the name and value to print of files below `input.uri` that are no images by their names.

    Args:
        head: The plan in numbers.
    """
    if not head.skipped_files:
        return []
    kinds = sorted(head.skipped_files.items(), key=lambda kind: (-kind[1], kind[0]))
    named = ", ".join(f"{n:,} {f'.{ending}' if ending else 'of other names'}" for ending, n in kinds[:_KINDS_SHOWN])
    more = f", and {counted(len(kinds) - _KINDS_SHOWN, 'kind')} more" if len(kinds) > _KINDS_SHOWN else ""
    return [
        ("skipped", f"{counted(sum(head.skipped_files.values()), 'file')} that are no images by name: {named}{more}")
    ]


def duplicate_pairs(n_duplicates: int | None) -> list[tuple[str, Any]]:
    """Return the name and value to print of images that have the content of another one.

    Args:
        n_duplicates: Their number; None if it is not known.
    """
    if not n_duplicates:
        return []
    return [("double", f"{counted(n_duplicates, 'image')} with the content of another one; --details names them")]


def _not_listed() -> dict[str, tuple[str, str]]:
    """Return what the listing left out -> the noun, and what follows the number and the noun."""
    from diagchd_batch.sources.source import (
        KEYS_NOT_ADDRESSABLE,
        LINKS_NOT_FOLLOWED,
        NAMES_NOT_UTF8,
        PATHS_TOO_LONG,
    )

    return {
        LINKS_NOT_FOLLOWED: ("link", "not followed: the directory is listed under another name"),
        PATHS_TOO_LONG: ("path", "too long to be opened; shorten the names of its directories"),
        NAMES_NOT_UTF8: (
            "name",
            "not valid UTF-8, and what lies below it; rename what shall be scored "
            "(convmv -r -f latin1 -t utf8 --notest DIRECTORY)",
        ),
        KEYS_NOT_ADDRESSABLE: (
            "object key",
            "with a leading slash, or a '.' or '..' part; rename what shall be scored",
        ),
    }


def not_listed_pairs(head: "PlanHead") -> list[tuple[str, Any]]:
    """Return names and values to print of what the listing of the archive left out. They name nothing.

    Args:
        head: The plan in numbers.
    """
    pairs: list[tuple[str, Any]] = []
    for kind, n in head.not_listed.items():
        noun, why = _not_listed()[kind]
        pairs.append(("left out", f"{counted(n, noun)} {why}"))
    return pairs


def _frames(head: "PlanHead") -> str:
    if head.n_frames is not None:
        return f"{head.n_frames:,} as the headers count them ({head.frames} of each image file)"
    return f"{head.frames} of each image file, unless the manifest names frames; counted when files are read"


def details_pairs(details: "PlanDetails | None") -> list[tuple[str, Any]]:
    """Return the name and value to print of the file that names missing, skipped and duplicate files.

    Args:
        details: The file; None if it was not asked for.
    """
    if details is None:
        return []
    counts = ", ".join(f"{what}: {n:,}" for what, n in details.counts.items()) or "nothing to name"
    return [("details", f"{details.file} ({counts}); it can name patients")]


def _details_json(details: "PlanDetails | None") -> dict[str, Any]:
    return {} if details is None else {"details": {"file": details.file, "counts": details.counts}}


def _run(preview: "JobPreview") -> str:
    if preview.run_id:
        return f"{preview.run_id}, {counted(preview.done_images, 'image')} done"
    return f"a new one, which builds on {preview.builds_on}" if preview.builds_on else "a new one"


def _as_json(preview: "JobPreview") -> dict[str, Any]:
    head = preview.head
    counts = (
        "n_studies n_subjects n_images n_masks size_bytes n_shards images_per_shard n_excluded n_excluded_studies "
        "n_missing n_missing_masks n_unlisted subjects_given n_studies_without_subject n_studies_by_mother"
    )
    return {
        **{name: getattr(head, name) for name in counts.split()},
        "frame_rule": head.frames,
        "n_frames": head.n_frames,  # null without an index of headers, because a plan opens no file
        "objects": head.objects and head.objects.model_dump(),
        "not_listed": head.not_listed,
        "skipped_files": head.skipped_files,
        "n_duplicates": preview.n_duplicates,  # null where only reading the files would tell
        "headers_listed_at": preview.headers_listed_at,
        "run_id": preview.run_id,
        "builds_on": preview.builds_on,
        "done_shards": preview.done_shards,
        "done_images": preview.done_images,
        "images_per_s": preview.images_per_s,
        "images_per_s_source": preview.images_per_s_source,
        "expected_s": preview.expected_s,
        "evaluation": {
            name: {
                "n_matched": match.n_matched,
                "n_without_row": match.n_without_row,
                "n_unmatched": len(match.unmatched_ids),
            }
            for name, match in preview.matches.items()
        },
    }
