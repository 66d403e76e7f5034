"""Overlap measures from pixel counts agree with those computed from the masks."""

import numpy as np
import pytest
from sklearn.metrics import f1_score, jaccard_score

from diagchd_batch.statistics.segmentation import (
    PixelCounts,
    dice,
    distribution,
    iou,
    mean_of_studies,
    pooled_dice,
    pooled_iou,
    whole_heart,
)


@pytest.fixture(scope="module")
def masks() -> tuple[np.ndarray, np.ndarray]:
    reference, predicted = np.random.default_rng(0).integers(0, 3, (2, 9, 6, 7))
    return reference, predicted


def counts_of(reference: np.ndarray, predicted: np.ndarray) -> PixelCounts:
    """Return the pixel counts of boolean masks (images × height × width)."""
    return PixelCounts(*(m.sum(axis=(1, 2)) for m in (reference & predicted, reference, predicted)))


def test_dice_and_iou_equal_sklearn(masks: tuple[np.ndarray, np.ndarray]) -> None:
    reference, predicted = (labels == 1 for labels in masks)
    counts = counts_of(reference, predicted)
    pairs = [(r.ravel(), p.ravel()) for r, p in zip(reference, predicted, strict=True)]
    assert list(dice(counts)) == pytest.approx([f1_score(r, p) for r, p in pairs])
    assert list(iou(counts)) == pytest.approx([jaccard_score(r, p) for r, p in pairs])
    pooled = f1_score(reference.ravel(), predicted.ravel()), jaccard_score(reference.ravel(), predicted.ravel())
    assert (pooled_dice(counts).value, pooled_iou(counts).value) == pytest.approx(pooled)


def test_whole_heart_is_the_union_of_septum_and_heart(masks: tuple[np.ndarray, np.ndarray]) -> None:
    reference, predicted = masks
    from_background = whole_heart(counts_of(reference == 0, predicted == 0), 42)
    direct = counts_of(reference > 0, predicted > 0)
    assert np.array_equal(from_background.intersection_px, direct.intersection_px)
    assert np.array_equal(from_background.reference_px, direct.reference_px)
    assert np.array_equal(from_background.predicted_px, direct.predicted_px)


def test_studies_weigh_alike_whatever_their_number_of_images() -> None:
    values = [0.2, 0.4, 0.9, np.nan, 0.5]
    estimate = mean_of_studies(values, ["a", "a", "b", "b", "c"], ["x", "x", "x", "x", "y"], resamples=200)
    assert estimate.value == pytest.approx((0.3 + 0.9 + 0.5) / 3)
    assert (estimate.n, estimate.n_subjects) == (3, 2)
    assert estimate.low < estimate.value < estimate.high


def test_images_of_one_study_do_not_narrow_the_interval() -> None:
    generator = np.random.default_rng(0)
    of_studies = generator.random(30)
    once = mean_of_studies(of_studies, np.arange(30))
    tenfold = mean_of_studies(np.repeat(of_studies, 10), np.repeat(np.arange(30), 10))
    assert (tenfold.low, tenfold.high) == pytest.approx((once.low, once.high))


def test_distribution_equals_numpy() -> None:
    values = np.random.default_rng(0).random(21)
    result = distribution([*values, np.nan, None])
    assert (result.mean, result.sd, result.n, result.n_undefined) == pytest.approx(
        (values.mean(), values.std(ddof=1), 21, 2)
    )
    quartiles = (result.minimum, result.quartile_1, result.median, result.quartile_3, result.maximum)
    assert quartiles == pytest.approx(tuple(np.percentile(values, [0, 25, 50, 75, 100])))
