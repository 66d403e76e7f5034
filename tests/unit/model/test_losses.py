"""The losses agree with Keras's own cross-entropy, and with soft Dice written out by hand."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.model.losses import cross_entropy, segmentation_loss, soft_dice


def dice_by_hand(targets: np.ndarray, probabilities: np.ndarray, epsilon: float = 1e-6) -> np.ndarray:
    values = []
    for t, p in zip(targets, probabilities, strict=True):
        values.append(
            [
                (2 * (t[..., c] * p[..., c]).sum() + epsilon) / (t[..., c].sum() + p[..., c].sum() + epsilon)
                for c in range(3)
            ]
        )
    return np.mean(values, axis=1)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), sharpness=st.floats(0.1, 30), classes=st.sampled_from([(0,), (0, 2), (0, 1, 2)]))
def test_losses_are_the_original_s(seed: int, sharpness: float, classes: tuple[int, ...]) -> None:
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(3, 5, 7, 3)) * sharpness
    probabilities = np.exp(logits - logits.max(-1, keepdims=True))
    probabilities = (probabilities / probabilities.sum(-1, keepdims=True)).astype(np.float32)
    targets = np.eye(3, dtype=np.float32)[generator.choice(classes, (3, 5, 7))]
    # the original's loss is called on batches of one image
    expected = [
        float(keras.losses.CategoricalCrossentropy()(t[None], p[None]))
        for t, p in zip(targets, probabilities, strict=True)
    ]
    dice = dice_by_hand(targets.astype(np.float64), probabilities.astype(np.float64))
    np.testing.assert_allclose(cross_entropy(targets, probabilities), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(soft_dice(targets, probabilities), dice, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        segmentation_loss(targets, probabilities), np.array(expected) + 1 - dice, rtol=1e-4, atol=1e-5
    )


def test_a_perfect_answer_costs_nothing() -> None:
    targets = np.eye(3, dtype=np.float32)[np.random.default_rng(0).integers(0, 3, (2, 8, 8))]
    assert np.asarray(segmentation_loss(targets, targets)) == pytest.approx([0, 0], abs=1e-5)
    assert np.asarray(soft_dice(targets, targets)) == pytest.approx([1, 1], abs=1e-6)
