"""Reference masks are accepted as they are or refused with an error code. They are never repaired."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from diagchd_batch.errors import ItemError
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.masks import read_label_mask
from tests.unit.images.pictures import encoded, noise_hwc_u8, tiff_of

LIMITS = DecodeLimits()
LABELS = np.array([[0, 1, 2], [2, 2, 0]], np.uint8)


def refusal(data: bytes, **options: Any) -> ItemError:
    with pytest.raises(ItemError) as caught:
        read_label_mask(data, options.pop("label_map", None), LIMITS, **options)
    return caught.value


@settings(deadline=None)
@given(
    labels=arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 2)),
    file_format=st.sampled_from(["PNG", "TIFF", "BMP"]),
)
def test_lossless_masks_come_back(labels: np.ndarray, file_format: str) -> None:
    read = read_label_mask(encoded(labels, file_format), None, LIMITS, expected_size=labels.shape)
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, labels)


@settings(deadline=None)
@given(
    values=arrays(np.uint8, (6, 7)),
    label_map=st.dictionaries(st.integers(0, 255), st.integers(0, 2), min_size=1, max_size=6),
)
def test_label_map_is_applied_or_the_mask_refused(values: np.ndarray, label_map: dict[int, int]) -> None:
    data = encoded(values)
    if set(np.unique(values).tolist()) <= label_map.keys():
        expected = np.vectorize(label_map.__getitem__)(values)
        np.testing.assert_array_equal(read_label_mask(data, label_map, LIMITS), expected)
    else:
        assert refusal(data, label_map=label_map).code == "mask_invalid_values"


@pytest.mark.parametrize("kind", ["rgb", "palette", "palette out of order", "alpha", "16 bit", "32 bit"])
def test_grey_in_other_wrappings(kind: str) -> None:
    if kind == "16 bit":
        data = encoded(LABELS.astype(np.uint16))
    elif kind == "32 bit":
        data = encoded(LABELS.astype(np.int32), "TIFF")
    elif kind == "rgb":
        data = encoded(np.stack([LABELS] * 3, axis=2))
    elif kind == "alpha":
        data = encoded(np.stack([LABELS, np.full_like(LABELS, 9)], axis=2))
    else:
        order = [0, 1, 2] if kind == "palette" else [2, 0, 1]
        picture = Image.fromarray(np.argsort(order).astype(np.uint8)[LABELS]).convert("P")
        picture.putpalette([grey for value in order for grey in [value] * 3])
        data = encoded(picture)
    np.testing.assert_array_equal(read_label_mask(data, None, LIMITS), LABELS)


def test_16_bit_values_are_mapped_unscaled() -> None:
    values = np.array([[0, 1000, 65535]], np.uint16)
    read = read_label_mask(encoded(values), {0: 0, 1000: 1, 65535: 2}, LIMITS)
    np.testing.assert_array_equal(read, [[0, 1, 2]])


def test_one_bit_masks_are_black_and_white() -> None:
    data = encoded(Image.fromarray(np.array([[True, False]])))
    assert refusal(data).code == "mask_invalid_values"
    np.testing.assert_array_equal(read_label_mask(data, {0: 0, 255: 2}, LIMITS), [[2, 0]])


def test_a_jpeg_mask_is_refused_with_the_reason() -> None:
    """A smooth white shape in a lossy file has about a hundred grey values, as in real archives."""
    rows, columns = np.mgrid[:256, :256]
    drawn = Image.fromarray((((rows - 128) / 60.0) ** 2 + ((columns - 128) / 90.0) ** 2 < 1).astype(np.uint8) * 255)
    blurred = drawn.resize((200, 200), Image.Resampling.BICUBIC).convert("RGB")
    for label_map in (None, {0: 0, 255: 2}):
        error = refusal(encoded(blurred, "JPEG", quality=75), label_map=label_map)
        assert error.code == "mask_invalid_values"
        assert "lossy compression" in error.detail


def test_colour_is_no_label_map() -> None:
    error = refusal(encoded(noise_hwc_u8(5, 5)))
    assert error.code == "mask_invalid_values"
    assert "colour" in error.detail


def test_wrong_size() -> None:
    error = refusal(encoded(LABELS), expected_size=(3, 2))
    assert error.code == "mask_size_mismatch"
    assert "2 x 3" in error.detail and "3 x 2" in error.detail


@pytest.mark.parametrize("data", [b"", b"no picture", encoded(LABELS)[:40]], ids=["empty", "text", "truncated"])
def test_unreadable(data: bytes) -> None:
    assert refusal(data).code == "mask_unreadable"


def test_pages_go_with_frames() -> None:
    pages = tiff_of([LABELS, LABELS[::-1].copy()])
    np.testing.assert_array_equal(read_label_mask(pages, None, LIMITS, frame=1, lone_frame=False), LABELS[::-1])
    np.testing.assert_array_equal(read_label_mask(encoded(LABELS), None, LIMITS, frame=7), LABELS)
    assert refusal(encoded(LABELS), frame=0, lone_frame=False).code == "mask_size_mismatch"
    assert refusal(pages, frame=2).code == "mask_size_mismatch"
