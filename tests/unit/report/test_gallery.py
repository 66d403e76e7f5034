"""The gallery's parts: which cases it shows, and that an outline is the edge of its mask."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.report.gallery import write_gallery
from diagchd_batch.report.gallery.cases import Case, choose_cases
from diagchd_batch.report.gallery.outlines import outline_path
from diagchd_batch.results import open_output
from diagchd_batch.results.datasets import read_predictions
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy
from tests.support.reference_frames import overlap

LATER = "0a1b2c3d-4e5f6071-2"


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=12)), st.integers(1, 5), st.integers(1, 5))
def test_an_outline_encloses_the_pixels_that_the_resize_takes_from_the_mask(
    mask: np.ndarray, rows_per_cell: int, columns_per_cell: int
) -> None:
    height, width = mask.shape[0] * rows_per_cell, mask.shape[1] * columns_per_cell
    source = resize_labels(mask.astype(np.uint8), height, width)
    assert (_inside(outline_path(mask, height, width), height, width) == source.astype(bool)).all()


def test_no_mask_no_outline() -> None:
    assert outline_path(np.zeros((4, 5), bool), 40, 50) == ""


def test_the_grid_is_stretched_to_the_source() -> None:
    assert outline_path(np.ones((2, 4), bool), 30, 100) == "M0 0H100M0 30H100M0 0V30M100 0V30"


def _inside(path: str, height: int, width: int) -> np.ndarray:
    """Return the pixels inside the path by the even-odd rule, which counts the vertical edges left of each pixel."""
    crossings = np.zeros((height, width + 1), int)
    for x, y, end in re.findall(r"M(\d+) (\d+)V(\d+)", path):
        crossings[int(y) : int(end), int(x)] += 1
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1


@pytest.fixture
def made(tmp_path: Path) -> MadeOutput:
    return MadeOutput(tmp_path)


def _cases(
    made: MadeOutput, worst_cases: Sequence[dict[str, Any]] = (), lineage: Sequence[str] = (RUN_ID,), n: int = 2
) -> dict[str, list[Case]]:
    return choose_cases(read_predictions(made.output), lineage, worst_cases, n)


def test_worst_best_and_flagged(made: MadeOutput) -> None:
    made.write_run(
        [MadeStudy(f"s{n}", [[{**overlap(0.5 + 0.04 * n), "quality_flags": ["unsure"] * (n == 3)}]]) for n in range(9)]
    )
    groups = _cases(made)
    assert [round(case.dice, 2) for case in groups["Lowest Dice"]] == [0.5, 0.54]
    assert [round(case.dice, 2) for case in groups["Highest Dice"]] == [0.82, 0.78]
    assert [case.flags for case in groups["Flagged"]] == [("unsure",)]
    assert set(groups) == {"Lowest Dice", "Highest Dice", "Flagged"}


def test_a_clip_is_shown_once_in_a_group(made: MadeOutput) -> None:
    loop = [{**overlap(share), "quality_flags": ["unsure"]} for share in (0.3, 0.2, 0.4, 0.9)]
    made.write_run([MadeStudy("loop", [loop]), MadeStudy("still", [[overlap(0.5)]])])
    groups = _cases(made)
    assert [(case.frame, round(case.dice, 2)) for case in groups["Lowest Dice"]] == [(1, 0.2), (0, 0.5)]
    assert [(case.frame, round(case.dice, 2)) for case in groups["Highest Dice"]] == [(3, 0.9), (0, 0.5)]
    assert [case.frame for case in groups["Flagged"]] == [0]


def test_a_wrong_call_is_shown_by_the_frame_that_speaks_most_for_it(made: MadeOutput) -> None:
    made.write_run([MadeStudy("s", [[0.7, 0.9, 0.8], [0.1]])])
    worst = [
        {"kind": kind, "rank": 1, "study_id": made.tokens.study("s")} for kind in ("false_positive", "false_negative")
    ]
    groups = _cases(made, worst)
    assert [case.probability for case in groups["Healthy studies called positive"]] == [pytest.approx(0.9)]
    assert [case.probability for case in groups["Diseased studies called negative"]] == [pytest.approx(0.1)]


def test_of_a_frame_scored_again_the_latest_counts(made: MadeOutput) -> None:
    made.write_run([MadeStudy("a", [[overlap(0.5)]]), MadeStudy("b", [[overlap(0.6)]])])
    made.write_run([MadeStudy("a", [[overlap(0.9)]])], LATER, parent=RUN_ID)
    lowest = _cases(made, lineage=(RUN_ID, LATER))["Lowest Dice"]
    assert [(case.run_id, round(case.dice, 2)) for case in lowest] == [(RUN_ID, 0.6), (LATER, 0.9)]


def test_a_run_with_nothing_to_show_says_so(made: MadeOutput) -> None:
    made.write_run([MadeStudy("a", [[0.2]], label=0)])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    with pytest.raises(UsageError, match="neither wrong calls"):
        write_gallery(open_output(made.output.uri), RUN_ID, 3)
