"""Each quality flag is raised by a label map that was drawn for it."""

from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.images.quality import QUALITY_FLAGS, quality_flags

HEIGHT, WIDTH = 200, 300


def heart(rows: slice, columns: slice, *, septum_columns: slice | None = None) -> np.ndarray:
    label_map = np.zeros((HEIGHT, WIDTH), np.uint8)
    label_map[rows, columns] = 2
    if septum_columns is not None:
        label_map[rows, septum_columns] = 1
    return label_map


USUAL = heart(slice(50, 150), slice(80, 200), septum_columns=slice(138, 142))


def test_a_usual_view_raises_none() -> None:
    assert quality_flags(USUAL, 0.03) == ()
    assert quality_flags(USUAL, 0.97) == ()


@pytest.mark.parametrize(
    "flags, label_map",
    [
        (("no_septum", "no_heart"), np.zeros((HEIGHT, WIDTH), np.uint8)),
        (("no_heart",), np.where(USUAL == 1, USUAL, 0)),
        (("no_septum",), np.where(USUAL == 1, 2, USUAL)),
        (("heart_small",), heart(slice(0, 40), slice(0, 40), septum_columns=slice(18, 22))),
        (("heart_large",), heart(slice(0, 200), slice(0, 200), septum_columns=slice(90, 110))),
    ],
    ids=["empty", "septum alone", "no septum", "small", "large"],
)
def test_sizes(flags: tuple[str, ...], label_map: np.ndarray) -> None:
    assert quality_flags(label_map.astype(np.uint8), 0.9) == flags


def test_fragments() -> None:
    crumbs = USUAL.copy()
    crumbs[0:30:3, 0:240:3] = 2  # 800 single pixels: 6 % of the whole heart
    assert quality_flags(crumbs, 0.9) == ()
    halves = USUAL.copy()
    halves[:, 120:124] = 0
    assert quality_flags(halves, 0.9) == ("fragments",)
    diagonal = np.zeros((100, 100), np.uint8)
    diagonal[np.arange(100), np.arange(100)] = 2
    assert "fragments" not in quality_flags(diagonal, 0.9)  # Pixels that touch at a corner are connected.


@pytest.mark.parametrize("probability, unsure", [(0.39, False), (0.41, True), (0.5, True), (0.59, True), (0.61, False)])
def test_unsure(probability: float, unsure: bool) -> None:
    assert ("unsure" in quality_flags(USUAL, probability)) == unsure


def test_every_flag_is_documented() -> None:
    everything = set(quality_flags(np.zeros((9, 9), np.uint8), 0.5)) | {"heart_small", "heart_large", "fragments"}
    assert everything == set(QUALITY_FLAGS)


def test_the_documentation_has_every_flag_with_its_rule() -> None:
    lines = (Path(__file__).parents[3] / "docs" / "images.md").read_text(encoding="utf-8").splitlines()
    for flag, rule in QUALITY_FLAGS.items():
        (line,) = [line for line in lines if line.startswith(f"| `{flag}` |")]
        assert rule.replace(" of the grid", "") in line
