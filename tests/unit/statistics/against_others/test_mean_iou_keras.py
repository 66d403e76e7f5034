"""Both ways to compute OneHotMeanIoU agree with Keras itself."""

import numpy as np
import pytest

from diagchd_batch.statistics.segmentation import PixelCounts, mean_iou_per_image, mean_iou_pooled


@pytest.fixture(scope="module")
def masks() -> tuple[np.ndarray, np.ndarray]:
    """Return reference and predicted label maps (images × height × width) with absent classes."""
    generator = np.random.default_rng(0)
    reference, predicted = generator.integers(0, 3, (2, 12, 8, 10))
    reference[0], predicted[0] = 0, 0  # one class in both masks
    reference[1], predicted[1] = np.minimum(reference[1], 1), np.minimum(predicted[1], 1)  # class 2 in neither
    reference[2], predicted[2] = 1, 0  # nothing in common
    return reference, predicted


def counts_of(reference: np.ndarray, predicted: np.ndarray) -> PixelCounts:
    in_reference, in_predicted = (labels[..., np.newaxis] == np.arange(3) for labels in (reference, predicted))
    pixels = ((in_reference & in_predicted), in_reference, in_predicted)
    return PixelCounts(*(one.sum(axis=(1, 2)) for one in pixels))


@pytest.mark.filterwarnings("default")  # TensorFlow's own, while it is imported
def test_both_ways_of_averaging_equal_keras(masks: tuple[np.ndarray, np.ndarray]) -> None:
    keras = pytest.importorskip("keras")
    reference, predicted = masks
    counts = counts_of(reference, predicted)
    pooled, by_image = keras.metrics.OneHotMeanIoU(num_classes=3), []
    for one_reference, one_predicted in zip(np.eye(3)[reference], np.eye(3)[predicted], strict=True):
        single = keras.metrics.OneHotMeanIoU(num_classes=3)
        single.update_state(one_reference, one_predicted)
        by_image.append(float(single.result()))
        pooled.update_state(one_reference, one_predicted)
    assert mean_iou_per_image(counts) == pytest.approx(by_image, abs=1e-6)
    assert mean_iou_pooled(counts, resamples=50).value == pytest.approx(float(pooled.result()), abs=1e-6)
    assert mean_iou_pooled(counts, resamples=50).value != pytest.approx(np.mean(by_image), abs=1e-3)
