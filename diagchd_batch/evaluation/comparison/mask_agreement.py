"""Rows of `comparison_masks` and `comparison_mask_cases`: how far the masks of two runs agree.

A clip is one image. Its value is the mean of its frames' values, except for pooled pixels.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS
from diagchd_batch.evaluation.comparison.mask_pairs import MaskPairs
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.results.columns import CLASSES
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.resampling import subject_interval, totals_by_subject
from diagchd_batch.statistics.segmentation import dice, distribution, mean_of_studies, pooled_dice

WORST_MASKS = 20
"""Number of frames in `comparison_mask_cases`."""

_CLASSES = {**{name: (place,) for place, name in enumerate(CLASSES)}, "whole_heart": (1, 2)}

_CLIP_VALUE = " (a clip's value is the mean of its frames' values)"
_CLIP_DEFINITIONS = {
    name: text.replace("over frames", f"over images{_CLIP_VALUE}")
    .replace("of a frame", f"of an image{_CLIP_VALUE}")
    .replace("the frames' mean Dice", f"the images' mean Dice{_CLIP_VALUE}")
    for name, text in DEFINITIONS.items()
    if name.startswith("mask_dice_")
}
"""Definitions for runs with clips."""


def mask_rows(
    rows: RowBuilder, pairs: MaskPairs, study: np.ndarray, subject: np.ndarray, runs: tuple[str, str]
) -> Iterator[Row]:
    """Estimate the Dice of the two runs' masks by class, and the share of pixels with the same class.

    Args:
        rows: Columns that all rows share.
        pairs: The frames with a mask in both runs.
        study: int64 [frames], the studies' numbers.
        subject: int64 [frames], the subjects' numbers.
        runs: Ids of the second and of the first run.

    Yields:
        Rows of `comparison_masks`.
    """
    image = _images_of_clips(pairs)
    n = len(study) if image is None else int(image.max(initial=-1)) + 1
    here = rows.with_columns(
        unit="image",
        cluster="subject",
        analysis_set="both_masks",
        n_subjects=len(np.unique(subject)),
        subject_kind="model",
        subject=runs[0],
        comparator_kind="run",
        comparator=runs[1],
    )
    study_of_image, subject_of_image = study, subject
    if image is not None:
        here = replace(here, definitions={**rows.definitions, **_CLIP_DEFINITIONS})
        _, first_frame = np.unique(image, return_index=True)
        study_of_image, subject_of_image = study[first_frame], subject[first_frame]
    options = rows.settings.bootstrap
    for name, classes in _CLASSES.items():
        counts = pairs.pixel_counts(classes)
        values = dice(counts) if image is None else _means_of_images(dice(counts), image, n)
        shown = distribution(values)
        exclusions = {"n_excluded": shown.n_undefined} | (
            {"excluded_reasons": f"both_empty={shown.n_undefined}"} if shown.n_undefined else {}
        )
        of_class = here.with_columns(class_=name, n_units=shown.n, **exclusions)
        mean = mean_of_studies(values, None, subject_of_image, **options)
        yield of_class.estimate("mask_dice_mean", mean)
        n_studies = len(np.unique(study_of_image[~np.isnan(values)]))
        of_studies = of_class.with_columns(unit="study", n_units=n_studies)
        mean = mean_of_studies(values, study_of_image, subject_of_image, **options)
        yield of_studies.estimate("mask_dice_of_study_means", mean)
        yield of_class.estimate("mask_dice_pooled", pooled_dice(counts, subject, **options))
        for endpoint, value in (("minimum", shown.minimum), ("q1", shown.quartile_1), ("median", shown.median)):
            reason = "no_units" if value is None else "description"
            described = Estimate(value, None, None, None, shown.n)
            yield of_class.estimate(f"mask_dice_{endpoint}", described, null_reason=reason)
    same = np.stack([np.trace(pairs.counts, axis1=1, axis2=2), pairs.counts.sum(axis=(1, 2))], axis=1)
    _, codes = np.unique(subject, return_inverse=True)
    share = subject_interval(
        totals_by_subject(same.astype(np.float64), codes),
        lambda sums: sums[..., 0] / sums[..., 1],
        n=n,
        bounds=(0.0, 1.0),
        **options,
    )
    yield here.with_columns(n_units=n, n_excluded=0).estimate("pixel_agreement", share)


def _images_of_clips(pairs: MaskPairs) -> np.ndarray | None:
    """Return each frame's image as a number from 0, int64 [frames]; None if no image has several frames."""
    tokens, image = np.unique(pairs.image_id, return_inverse=True)
    return image if len(tokens) < len(image) else None


def _means_of_images(values: np.ndarray, image: np.ndarray, n: int) -> np.ndarray:
    """Return the mean of the frames' values of each image, float64 [n], NaN where no frame has one."""
    known = ~np.isnan(values)
    counts = np.bincount(image[known], minlength=n)
    sums = np.bincount(image[known], weights=values[known], minlength=n)
    return np.divide(sums, counts, out=np.full(n, np.nan), where=counts > 0)


def mask_case_rows(pairs: MaskPairs) -> Iterator[Row]:
    """Select the images with the lowest Dice of septum and heart together. A clip is listed once, by its worst frame.

    Args:
        pairs: The frames with a mask in both runs.

    Yields:
        At most `WORST_MASKS` rows of `comparison_mask_cases`, the worst first.
    """
    values = dice(pairs.pixel_counts(_CLASSES["whole_heart"]))
    known = np.flatnonzero(~np.isnan(values))
    order = known[np.lexsort((pairs.frame[known], pairs.image_id[known], values[known]))]
    _, first = np.unique(pairs.image_id[order], return_index=True)
    order = order[np.sort(first)][:WORST_MASKS]
    for rank, place in enumerate(order, start=1):
        yield {
            "rank": rank,
            "study_id": pairs.study_id[place].decode(),
            "image_id": pairs.image_id[place].decode(),
            "frame": int(pairs.frame[place]),
            "foreground_dice": float(values[place]),
            "changed_px": int(pairs.changed_px[place]),
        }
