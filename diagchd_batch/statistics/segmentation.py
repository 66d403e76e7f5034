"""Overlap of masks from pixel counts, without opening an image again.

For each class there are three counts: the intersection (pixels of the class in both masks), the reference's pixels and
the predicted pixels. Arrays end with the axis of the images, or with images × classes where a function says so.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_column, subject_codes
from diagchd_batch.statistics.resampling import DEFAULT_RESAMPLES, subject_interval, totals_by_subject


class OverlapStatus(StrEnum):
    """Whether a class is present in the masks that are compared."""

    OK = "ok"
    BOTH_EMPTY = "both_empty"  # Dice and IoU are undefined
    ONE_EMPTY = "one_empty"  # Dice and IoU are 0, distances undefined


@dataclass(frozen=True, slots=True)
class PixelCounts:
    """Pixels of one class, or of images × classes, on one grid. The three arrays have the same shape, float64.

    Raises:
        StatisticsError: The shapes differ, or an intersection is larger than one of its masks.
    """

    intersection_px: np.ndarray
    reference_px: np.ndarray
    predicted_px: np.ndarray

    def __post_init__(self) -> None:
        for name in ("intersection_px", "reference_px", "predicted_px"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=np.float64))
        if not self.intersection_px.shape == self.reference_px.shape == self.predicted_px.shape:
            raise StatisticsError("pixel counts of one class must have one shape")
        if np.any(self.intersection_px > np.minimum(self.reference_px, self.predicted_px) + 1e-9):
            raise StatisticsError("an intersection holds more pixels than one of its masks: the counts are mixed up")

    def status(self) -> np.ndarray:
        """Return the `OverlapStatus` of each entry, as an object array."""
        empty = (self.reference_px == 0).astype(int) + (self.predicted_px == 0)
        names = np.array([OverlapStatus.OK, OverlapStatus.ONE_EMPTY, OverlapStatus.BOTH_EMPTY], dtype=object)
        return names[empty]


def whole_heart(background: PixelCounts, image_px: ArrayLike) -> PixelCounts:
    """Return the counts of septum ∪ heart, which is the complement of the background.

    Args:
        background: Counts of the background.
        image_px: Number of pixels of the grid.
    """
    pixels = np.asarray(image_px, dtype=np.float64)
    reference, predicted = pixels - background.reference_px, pixels - background.predicted_px
    either_background = background.reference_px + background.predicted_px - background.intersection_px
    return PixelCounts(pixels - either_background, reference, predicted)


def dice(counts: PixelCounts) -> np.ndarray:
    """Return 2 |A ∩ B| / (|A| + |B|) of each entry (Dice 1945).

    Args:
        counts: Pixel counts of any shape.

    Returns:
        float64 array of that shape, in [0, 1]; NaN where both masks are empty.
    """
    return _ratio(2 * counts.intersection_px, counts.reference_px + counts.predicted_px)


def iou(counts: PixelCounts) -> np.ndarray:
    """Return |A ∩ B| / |A ∪ B| of each entry (Jaccard 1912).

    Args:
        counts: Pixel counts of any shape.

    Returns:
        float64 array of that shape, in [0, 1]; NaN where both masks are empty.
    """
    return _ratio(counts.intersection_px, counts.reference_px + counts.predicted_px - counts.intersection_px)


def mean_iou_per_image(counts: PixelCounts) -> np.ndarray:
    """Return the OneHotMeanIoU of each image: the mean IoU over the classes that are present in either mask.

    The mean of these values over images is what the original model reports under that name. Never compare it with the
    pooled one.

    Args:
        counts: Counts of shape (n_images, n_classes). Omit the background's column for the figure without background.

    Returns:
        Array of shape (n_images,), NaN for an image without a pixel.

    Source: Keras, `OneHotMeanIoU`, called on one image.
    """
    per_class = iou(counts)
    present = ~np.isnan(per_class)
    return _ratio(np.where(present, per_class, 0).sum(axis=-1), present.sum(axis=-1))


def mean_iou_pooled(
    counts: PixelCounts,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the OneHotMeanIoU over all images: pixels are summed first, then classes are averaged.

    Args:
        counts: Counts of shape (n_images, n_classes).
        subjects: One id an image; without them every image is its own subject.
        level: Confidence level of the subject bootstrap, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `both_empty` if no class occurs in any image.

    Source: Keras, `OneHotMeanIoU`, accumulated over a data set.
    """
    n = len(counts.intersection_px)
    columns = np.hstack([counts.intersection_px, counts.reference_px, counts.predicted_px])
    if n and columns.sum() == 0:
        return Estimate.null(NullReason.BOTH_EMPTY, n)

    def mean_iou(sums: np.ndarray) -> np.ndarray:
        return mean_iou_per_image(PixelCounts(*np.split(sums, 3, axis=-1)))

    totals = totals_by_subject(columns, subject_codes(subjects, np.full(n, True)))
    return subject_interval(totals, mean_iou, n=n, level=level, resamples=resamples, seed=seed, bounds=(0.0, 1.0))


def pooled_dice(
    counts: PixelCounts,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the Dice coefficient of the pixels of all images together, in which large images weigh more.

    Arguments are those of `mean_iou_pooled`, with counts of shape (n_images,). Null with `both_empty`.
    """
    columns = np.stack([2 * counts.intersection_px, counts.reference_px + counts.predicted_px], axis=1)
    return _pooled(columns, subjects, level=level, resamples=resamples, seed=seed)


def pooled_iou(
    counts: PixelCounts,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the IoU of the pixels of all images together, in which large images weigh more.

    Arguments are those of `mean_iou_pooled`, with counts of shape (n_images,). Null with `both_empty`.
    """
    union = counts.reference_px + counts.predicted_px - counts.intersection_px
    columns = np.stack([counts.intersection_px, union], axis=1)
    return _pooled(columns, subjects, level=level, resamples=resamples, seed=seed)


@dataclass(frozen=True, slots=True)
class Distribution:
    """Mean, standard deviation (n − 1), quartiles and extremes of per-image values.

    A quantity is None where there are too few values.

    Attributes:
        n: Number of images with a value.
        n_undefined: Number of images without one (both masks empty, or a distance to an empty mask).
    """

    mean: float | None
    sd: float | None
    minimum: float | None
    quartile_1: float | None
    median: float | None
    quartile_3: float | None
    maximum: float | None
    n: int
    n_undefined: int


def distribution(values: ArrayLike) -> Distribution:
    """Return the distribution of per-image values. Missing values are left out and counted."""
    values = as_column(values, "values")
    defined = values[~np.isnan(values)]
    missing = len(values) - len(defined)
    if len(defined) == 0:
        return Distribution(None, None, None, None, None, None, None, 0, missing)
    minimum, first, median, third, maximum = (float(q) for q in np.quantile(defined, [0, 0.25, 0.5, 0.75, 1]))
    sd = float(defined.std(ddof=1)) if len(defined) > 1 else None
    return Distribution(float(defined.mean()), sd, minimum, first, median, third, maximum, len(defined), missing)


def mean_of_studies(
    values: ArrayLike,
    studies: ArrayLike | None = None,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the mean over studies of each study's mean image value, with the subject bootstrap.

    Args:
        values: One value an image; missing values are left out.
        studies: One study id an image; without them every image is its own study. A study lies within one subject.
        subjects: One subject id an image; without them every study is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate, whose `n` counts studies. Null with `no_units` if every value is missing.
    """
    values = as_column(values, "values")
    defined = ~np.isnan(values)
    values = values[defined]
    if len(values) == 0:
        return Estimate.null(NullReason.NO_UNITS)
    study_codes = subject_codes(studies, defined)
    means = np.bincount(study_codes, weights=values) / np.bincount(study_codes)
    n = len(means)
    of_images = study_codes if subjects is None else subject_codes(subjects, defined)
    _, first_image = np.unique(study_codes, return_index=True)
    totals = totals_by_subject(np.stack([means, np.ones(n)], axis=1), of_images[first_image])
    return subject_interval(totals, _quotient, n=n, level=level, resamples=resamples, seed=seed)


def penalised_distance(distance: ArrayLike, status: ArrayLike, diagonal: ArrayLike) -> np.ndarray:
    """Return distances in which one empty mask counts as the image's diagonal; NaN where both masks are empty.

    A mean distance that leaves out images with one empty mask would hide the worst cases.

    Args:
        distance: One distance an image, NaN where it is undefined.
        status: One `OverlapStatus` an image.
        diagonal: The image's diagonal, in the unit of the distance.
    """
    distance = as_column(distance, "distance")
    penalty = np.broadcast_to(np.asarray(diagonal, dtype=np.float64), distance.shape)
    return np.where(np.asarray(status, dtype=object) == OverlapStatus.ONE_EMPTY, penalty, distance)


def _pooled(columns: np.ndarray, subjects: ArrayLike | None, *, level: float, resamples: int, seed: int) -> Estimate:
    n = len(columns)
    if n and columns[:, 1].sum() == 0:
        return Estimate.null(NullReason.BOTH_EMPTY, n)
    totals = totals_by_subject(columns, subject_codes(subjects, np.full(n, True)))
    return subject_interval(totals, _quotient, n=n, level=level, resamples=resamples, seed=seed, bounds=(0.0, 1.0))


def _quotient(sums: np.ndarray) -> np.ndarray:
    return _ratio(sums[..., 0], sums[..., 1])


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    denominator = np.asarray(denominator, dtype=np.float64)
    return np.divide(numerator, denominator, out=np.full(denominator.shape, np.nan), where=denominator > 0)
