"""What `plan` prints of a training job."""

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from diagchd_batch.cli.console import duration, say, size
from diagchd_batch.wording import counted

if TYPE_CHECKING:
    from diagchd_batch.config.job_file import JobConfig
    from diagchd_batch.runs.forecast_of_training import PlannedFold, TrainingPreview
    from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
    from diagchd_batch.training.cohort import CohortCounts


def planned_training(
    job: "JobConfig", request: "RunRequest", *, measure: bool, with_details: bool = False
) -> "TrainingPreview":
    """Plan a training job. Messages go to stderr.

    Args:
        job: A job with a block `training`.
        request: What the command line says about the run.
        measure: Whether training steps are timed on this machine.
        with_details: Whether the names of missing, skipped and duplicate files are written to the private tree.

    Returns:
        What `train` would do.

    Raises:
        UsageError: An option chooses a part of the input, which a training does not do.
        DiagchdBatchError: What `train` would raise before it reads images.
    """
    from diagchd_batch.cli.progress import run_progress
    from diagchd_batch.errors import UsageError
    from diagchd_batch.runs.forecast_of_training import preview_training, with_measured_steps

    if request.selection != "all" or request.input_moved:
        raise UsageError(
            "a job file with a block training trains on the whole input; omit --select and --input-moved, or remove "
            "the block to see what submit would do"
        )
    with run_progress() as progress:
        preview = preview_training(
            job, os.environ, request=request, on_listed=progress.listed, with_details=with_details
        )
    if measure:
        say("timing training steps on this machine for about a minute (--no-measure omits that)")
        preview = with_measured_steps(preview, job)
        if not preview.speeds:
            say("the training steps could not be timed: their process died, such as of a lack of memory")
    return preview


def planned_training_pairs(job: "JobConfig", preview: "TrainingPreview") -> list[tuple[str, Any]]:
    """Return names and values to print of a planned training. They name nothing of the archive.

    Args:
        job: The job.
        preview: What `planned_training` returned.
    """
    assert job.training is not None
    whole, head = preview.whole, preview.head
    pairs = [
        ("network", f"{preview.network}, {preview.grid[0]} × {preview.grid[1]} pixels"),
        ("studies", f"{_studies(whole)}, {preview.n_unlabelled:,} without a label"),
        ("images", f"{counted(whole.n_frames, 'frame')}, {preview.n_with_mask:,} with a mask"),
        ("image cache", f"{size(preview.cache_bytes)} in the private tree"),
        ("training", _training(preview)),
        ("folds", f"{len(preview.folds)}, rule {job.training.folds.rule}{_drawn(preview)}"),
        *((f"fold {fold.number}", _fold(fold)) for fold in preview.folds),
        *((f"stage {stage.name}", _stage(preview, number)) for number, stage in enumerate(preview.folds[0].stages)),
        ("steps", f"at most {sum(fold.n_steps for fold in preview.folds):,} in all folds"),
        *_time_pairs(preview),
    ]
    if head.n_missing or head.n_missing_masks:
        missing = f"{counted(head.n_missing, 'planned image')} and {counted(head.n_missing_masks, 'planned mask')}"
        pairs.append(("missing", f"{missing} not there; they are left out"))
    return [*pairs, ("model package", job.training.package_uri)]


def planned_training_json(preview: "TrainingPreview") -> dict[str, Any]:
    """Return the facts of a planned training for a program.

    Args:
        preview: What `planned_training` returned.
    """
    left_out = ("head", "whole", "details")
    facts = {name: value for name, value in asdict(preview).items() if name not in left_out}
    counts = ("size_bytes", "n_images", "n_masks", "n_excluded", "n_missing", "n_missing_masks", "not_listed")
    facts = asdict(preview.whole) | {name: getattr(preview.head, name) for name in counts} | facts
    return facts | {"n_steps": sum(fold.n_steps for fold in preview.folds), "expected_s": preview.expected_s}


def _studies(part: "CohortCounts") -> str:
    return f"{part.n_studies:,} of {counted(part.n_subjects, 'subject')}, {part.n_positive:,} with CHD"


def _drawn(preview: "TrainingPreview") -> str:
    return "" if preview.folds_are_drawn else "; the first start draws them, with these sizes give or take one"


def _fold(fold: "PlannedFold") -> str:
    parts = (("trains on", fold.training), ("validates on", fold.validation), ("holds out", fold.held_out))
    texts = [
        f"{verb} {counted(part.n_subjects, 'subject')} ({part.n_positive:,} of {counted(part.n_studies, 'study')} CHD)"
        for verb, part in parts
        if part.n_studies
    ]
    return ", ".join(texts)


def _stage(preview: "TrainingPreview", number: int) -> str:
    stages = [fold.stages[number] for fold in preview.folds]
    steps = sorted({stage.steps_per_epoch for stage in stages})
    batches = f"{steps[0]:,}" if len(steps) == 1 else f"{steps[0]:,} to {steps[-1]:,}"
    first = stages[0]
    return f"up to {counted(first.epochs, 'epoch')} of {batches} batches of {counted(first.batch_size, 'image')}"


def _training(preview: "TrainingPreview") -> str:
    if preview.run_id is None:
        return "a new one"
    return f"{preview.run_id}, {preview.folds_done} of {counted(len(preview.folds), 'fold')} trained"


def _time_pairs(preview: "TrainingPreview") -> list[tuple[str, Any]]:
    if preview.expected_s is None:
        return [("time expected", "not known: no training step was timed")]
    rates: dict[str, list[str]] = {f"{1 / speed.train_image_s:.1f} images/s": [] for speed in preview.speeds.values()}
    for what, speed in preview.speeds.items():
        rates[f"{1 / speed.train_image_s:.1f} images/s"].append(what)
    shown = ", ".join(f"{rate} ({' and '.join(names)})" for rate, names in rates.items())
    at_a_time = f"{counted(preview.side_by_side, 'fold')} at a time with {counted(preview.threads, 'thread')}"
    return [
        ("time expected", f"at most {duration(preview.expected_s)}; stages may end early"),
        ("", f"{at_a_time}, at {shown}, as timed with a few steps on this machine"),
        ("", "without the decoding of the images and the predictions at the end"),
    ]
