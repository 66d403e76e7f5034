"""Counts and pieces of label maps equal those of the plain formulas over all pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from diagchd_batch.images.label_map_shapes import class_pixels, share_outside_largest_piece

label_maps = arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 2))


def share_over_all_pixels(mask: np.ndarray) -> float:
    pieces, n_pieces = ndimage.label(mask, np.ones((3, 3), bool))
    if n_pieces <= 1:
        return 0.0
    sizes = np.bincount(pieces.ravel())[1:]
    return float(1 - sizes.max() / sizes.sum())


@settings(deadline=None)
@given(label_maps)
def test_counts_and_pieces_of_noise(label_map: np.ndarray) -> None:
    assert class_pixels(label_map) == tuple(np.bincount(label_map.ravel(), minlength=3))
    assert share_outside_largest_piece(label_map > 0) == share_over_all_pixels(label_map > 0)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.floats(0.3, 0.7))
def test_pieces_of_smooth_blobs(seed: int, level: float) -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(seed).random((40, 50)), 4) > level
    assert share_outside_largest_piece(mask) == share_over_all_pixels(mask)


@pytest.mark.parametrize(
    ("rows", "share"),
    [
        (["110", "011", "110"], 0),  # one run a row, each beside the next
        (["100", "010", "001"], 0),  # corners connect
        (["110", "000", "110"], 0.5),  # an empty row parts them
        (["1100", "0001"], 1 / 3),  # a gap of one column parts them
        (["101", "101", "111"], 0),  # two runs a row, one piece
        (["000", "000"], 0),
    ],
)
def test_pieces_drawn_by_hand(rows: list[str], share: float) -> None:
    mask = np.array([[pixel == "1" for pixel in row] for row in rows])
    assert share_outside_largest_piece(mask) == pytest.approx(share)


def test_an_unknown_class_is_refused() -> None:
    with pytest.raises(ValueError, match="values up to 3"):
        class_pixels(np.array([[0, 3]], np.uint8))
