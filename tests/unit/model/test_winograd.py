"""Winograd's convolution agrees with Keras's own, and is exact in float64."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.model.runtimes.tensorflow.winograd import WinogradConvolution, pays_off, transform_kernel


def _both(height: int, width: int, channels_in: int, channels_out: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(height * 1000 + width)
    image = random.standard_normal((2, height, width, channels_in))
    kernel = random.standard_normal((3, 3, channels_in, channels_out)) / np.sqrt(9 * channels_in)
    bias = random.standard_normal(channels_out)
    layer = WinogradConvolution(channels_out, "winograd")
    layer.build((None, height, width, channels_in))
    layer.set_weights([transform_kernel(kernel), bias])
    theirs = keras.ops.conv(image, kernel, padding="same") + bias  # in float64
    return np.asarray(layer(image.astype(dtype))), np.asarray(theirs)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 13), st.integers(1, 13), st.integers(1, 5), st.integers(1, 5))
def test_it_is_a_convolution_whatever_the_size(height: int, width: int, channels_in: int, channels_out: int) -> None:
    ours, theirs = _both(height, width, channels_in, channels_out, "float32")
    np.testing.assert_allclose(ours, theirs, atol=2e-5)


def test_its_rounding_errors_are_near_those_of_the_direct_sum() -> None:
    """With the usual points 0, ±1, ±2 the errors would be more than five times as large."""
    ours, theirs = _both(18, 24, 512, 64, "float32")
    errors = ours - theirs
    assert np.sqrt(np.mean(errors**2)) < 3e-6
    assert np.abs(errors).max() < 3e-5


@pytest.mark.parametrize(
    ("channels_in", "channels_out", "expected"),
    [(1280, 256, True), (1024, 512, True), (856, 128, True), (256, 256, True), (128, 128, False), (320, 64, False)],
)
def test_it_is_used_where_it_was_measured_to_be_faster(channels_in: int, channels_out: int, expected: bool) -> None:
    assert pays_off(channels_in, channels_out) is expected
