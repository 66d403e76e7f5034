"""Surface distances equal the definition, computed pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_erosion, distance_transform_edt, generate_binary_structure
from scipy.spatial.distance import directed_hausdorff

from diagchd_batch.images import surface_distance
from diagchd_batch.images.surface_distance import SurfaceDistances, surface_distances


def by_definition(a: np.ndarray, b: np.ndarray, sampling: tuple[float, float]) -> tuple[float, float, float]:
    cross = generate_binary_structure(2, 1)
    outlines = [np.argwhere(mask & ~binary_erosion(mask, cross)) * np.array(sampling) for mask in (a, b)]
    distances = np.linalg.norm(outlines[0][:, np.newaxis] - outlines[1], axis=2)
    one, other = distances.min(axis=1), distances.min(axis=0)
    hd95 = max(np.percentile(one, 95), np.percentile(other, 95))
    return max(one.max(), other.max()), hd95, np.concatenate([one, other]).mean()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.3, 4), st.floats(0.3, 4), st.floats(0.02, 0.98))
def test_equals_the_definition(seed: int, row_size: float, column_size: float, density: float) -> None:
    a, b = np.random.default_rng(seed).random((2, 14, 17)) < density
    if not (a.any() and b.any()):
        return
    sampling = (row_size, column_size)
    result = surface_distances(a, b, sampling)
    assert (result.hausdorff, result.hd95, result.assd) == pytest.approx(by_definition(a, b, sampling), abs=1e-9)
    assert surface_distances(b, a, sampling) == result
    assert 0 <= result.hd95 <= result.hausdorff


def test_hausdorff_equals_scipy() -> None:
    rows, columns = np.mgrid[:60, :80]
    a = (rows - 30) ** 2 + (columns - 40) ** 2 < 400
    b = (rows - 25) ** 2 + (columns - 50) ** 2 < 300
    outlines = [np.argwhere(m & ~binary_erosion(m)) for m in (a, b)]
    expected = max(directed_hausdorff(*outlines)[0], directed_hausdorff(*outlines[::-1])[0])
    assert surface_distances(a, b).hausdorff == pytest.approx(expected)


def test_many_outline_pixels_take_the_transform_and_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = np.random.default_rng(0).random((2, 60, 70)) < 0.5
    by_tree = surface_distances(a, b, (1.3, 0.7))
    monkeypatch.setattr(surface_distance, "_TREE_LIMIT", 0)
    called = []
    transform = distance_transform_edt
    monkeypatch.setattr(
        surface_distance,
        "distance_transform_edt",
        lambda *a, **k: called.append(1) or transform(*a, **k),  # type: ignore[func-returns-value]
    )
    by_transform = surface_distances(a, b, (1.3, 0.7))
    assert len(called) == 2
    assert (by_tree.hausdorff, by_tree.hd95, by_tree.assd) == pytest.approx(
        (by_transform.hausdorff, by_transform.hd95, by_transform.assd)
    )


def test_empty_masks_have_no_distance() -> None:
    mask, empty = np.ones((4, 5), dtype=bool), np.zeros((4, 5), dtype=bool)
    for a, b in ((mask, empty), (empty, mask), (empty, empty)):
        assert surface_distances(a, b) == SurfaceDistances(None, None, None)
    assert surface_distances(mask, mask) == SurfaceDistances(0.0, 0.0, 0.0)


def test_masks_of_two_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        surface_distances(np.ones((4, 5), dtype=bool), np.ones((5, 4), dtype=bool))
