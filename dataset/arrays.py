"""Generates phantoms as arrays at a network's grid, in several processes, and keeps them on disk for training."""

import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from dataset.phantom import Split, Study, draw_study, generate_study_image

Image = tuple[np.ndarray, np.ndarray, int, int]


@dataclass(frozen=True)
class Selection:
    """The first studies of a split and seed.

    Attributes:
        split: Name of the split, such as ``training``.
        seed: Seed of the cohort.
        studies: Number of studies; they have the indices 0 … `studies` - 1.
        images_per_study: How many images to take from each study, from its first on. None takes all.
    """

    split: str
    seed: int
    studies: int
    images_per_study: int | None = None

    def study(self, index: int) -> Study:
        return draw_study(self.seed, Split[self.split.upper()], index)


def phantom_arrays(selection: Selection, grid: tuple[int, int], directory: Path) -> dict[str, np.ndarray]:
    """Return the images of a selection as arrays, and generate them unless the directory already holds them.

    Args:
        selection: The studies and images.
        grid: Height and width of the images.
        directory: Where the arrays are kept.

    Returns:
        ``images`` uint8 [n, height, width, 3], ``masks`` uint8 [n, height, width] (0, 1 or 2), ``labels`` int32 [n]
        (0 or 1) and ``studies`` int32 [n] (the index of the study in the selection).
    """
    how_many = selection.images_per_study or "all"
    name = f"{selection.split}-{selection.seed}-{selection.studies}-{how_many}-{grid[0]}x{grid[1]}.npz"
    path = directory / name
    if not path.exists():
        directory.mkdir(parents=True, exist_ok=True)
        unfinished = directory / f"unfinished-{name}"
        np.savez(unfinished, **_generate(selection, grid))  # type: ignore[arg-type]
        unfinished.replace(path)
    with np.load(path) as arrays:
        return dict(arrays)


def digest(*cohorts: dict[str, np.ndarray]) -> str:
    """Return the SHA-256 over names, shapes, dtypes and contents of all arrays, as 64 hex digits."""
    total = hashlib.sha256()
    for cohort in cohorts:
        for name, array in cohort.items():
            total.update(f"{name} {array.shape} {array.dtype.str} ".encode())
            total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def _generate(selection: Selection, grid: tuple[int, int]) -> dict[str, np.ndarray]:
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        by_study = list(pool.map(partial(_render, selection, grid), range(selection.studies), chunksize=16))
    images, masks, labels, studies = zip(*(image for study in by_study for image in study), strict=True)
    return {
        "images": np.stack(images),
        "masks": np.stack(masks),
        "labels": np.array(labels, np.int32),
        "studies": np.array(studies, np.int32),
    }


def _render(selection: Selection, grid: tuple[int, int], index: int) -> list[Image]:
    study = selection.study(index)
    chosen = range(selection.images_per_study or study.images)
    phantoms = [generate_study_image(study, number, grid) for number in chosen]
    return [(phantom.image_hwc_u8, phantom.mask_hw_u8, phantom.label, index) for phantom in phantoms]
