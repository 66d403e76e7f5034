"""Phantoms as arrays have the same images as the generator's and are made only once."""

from pathlib import Path

import numpy as np
import pytest

from dataset.arrays import Selection, digest, phantom_arrays
from dataset.phantom import Split, generate_image

GRID = (32, 40)


def test_arrays_are_the_generator_s_images(tmp_path: Path) -> None:
    selection = Selection("other", 3, 3)
    arrays = phantom_arrays(selection, GRID, tmp_path)
    counts = [selection.study(index).images for index in range(3)]
    assert arrays["studies"].tolist() == [index for index, count in enumerate(counts) for _ in range(count)]
    assert len(arrays["images"]) == len(arrays["masks"]) == len(arrays["labels"]) == sum(counts)
    last = generate_image(3, Split.OTHER, 2, counts[2] - 1, GRID)
    assert (arrays["images"][-1] == last.image_hwc_u8).all()
    assert (arrays["masks"][-1] == last.mask_hw_u8).all()
    assert arrays["labels"][-1] == last.label

    file = next(tmp_path.iterdir())
    written_ns = file.stat().st_mtime_ns
    assert digest(phantom_arrays(selection, GRID, tmp_path)) == digest(arrays)
    assert file.stat().st_mtime_ns == written_ns
    assert [path.name for path in tmp_path.iterdir()] == [file.name]


@pytest.mark.parametrize("change", [{"labels": np.array([0, 0])}, {"images": np.zeros((1, 2, 2), np.uint8)}])
def test_the_digest_sees_every_array(change: dict[str, np.ndarray]) -> None:
    arrays = {"images": np.zeros((2, 1, 2), np.uint8), "labels": np.array([0, 1])}
    assert digest(arrays) == digest(dict(arrays))
    assert digest(arrays) != digest(arrays | change)
