"""Decoding and resizing equal the function that the original uses, `keras.utils.load_img(target_size=…)`."""

import io

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.resize import resize_labels, resize_to_grid
from tests.unit.images.pictures import encoded, noise_hwc_u8

LIMITS = DecodeLimits()
KINDS = [
    *[("PNG", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA")],
    *[("JPEG", mode) for mode in ("L", "RGB", "CMYK")],
    *[("TIFF", mode) for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")],
    *[("BMP", mode) for mode in ("1", "L", "P", "RGB", "RGBA")],
]
side = st.integers(1, 160)


def as_keras(data: bytes, height: int, width: int) -> np.ndarray:
    return np.asarray(keras.utils.load_img(io.BytesIO(data), target_size=(height, width)))


def ours(data: bytes, height: int, width: int) -> np.ndarray:
    return resize_to_grid(open_image(data, LIMITS).frame(0), height, width)


@settings(max_examples=200, deadline=None)
@given(kind=st.sampled_from(KINDS), source=st.tuples(side, side), target=st.tuples(side, side))
def test_equal_to_keras(kind: tuple[str, str], source: tuple[int, int], target: tuple[int, int]) -> None:
    file_format, mode = kind
    picture = Image.fromarray(noise_hwc_u8(*source)).convert(mode)
    data = encoded(picture, file_format)
    np.testing.assert_array_equal(ours(data, *target), as_keras(data, *target))


@pytest.mark.parametrize("source", [(460, 324), (730, 745), (576, 768), (768, 1024), (1080, 1920), (577, 769)])
@pytest.mark.parametrize("grid", [(576, 768), (192, 256)])
def test_equal_to_keras_at_the_models_grids(source: tuple[int, int], grid: tuple[int, int]) -> None:
    data = encoded(noise_hwc_u8(*source), "BMP")
    np.testing.assert_array_equal(ours(data, *grid), as_keras(data, *grid))


def test_where_keras_is_left_on_purpose() -> None:
    """Keras makes all values above 255 of a 16-bit grey image white. This package keeps the image."""
    eight_bit = noise_hwc_u8(12, 14)[:, :, 0]
    data = encoded(eight_bit.astype(np.uint16) * 257)
    assert (as_keras(data, 12, 14) == 255).mean() > 0.95
    np.testing.assert_array_equal(ours(data, 12, 14)[:, :, 0], eight_bit)


@settings(max_examples=50, deadline=None)
@given(source=st.tuples(side, side), target=st.tuples(side, side))
def test_masks_are_sampled_where_images_are(source: tuple[int, int], target: tuple[int, int]) -> None:
    image = noise_hwc_u8(*source)
    np.testing.assert_array_equal(resize_labels(image[:, :, 1], *target), resize_to_grid(image, *target)[:, :, 1])
