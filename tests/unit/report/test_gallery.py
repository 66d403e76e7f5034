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

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.report.gallery import GalleryContents, document, write_gallery
from diagchd_batch.report.gallery.cases import Case, lineage_frames
from diagchd_batch.report.gallery.outlines import outline_path
from diagchd_batch.report.gallery.pictures import Picture
from diagchd_batch.results import open_output
from diagchd_batch.results.datasets import read_predictions
from diagchd_batch.results.output import Output
from diagchd_batch.runs.report import report
from diagchd_batch.scoring.driver.run_identity.archive_binding import InputRoot
from diagchd_batch.studies.tables.evaluation_inputs import read_reference
from diagchd_batch.workspace import Workspace
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
    with lineage_frames(read_predictions(made.output), lineage) as frames:
        return frames.remarkable(worst_cases, n)


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
        write_gallery(open_output(made.output.uri), RUN_ID, GalleryContents(n=3))


class _NoPictures:
    """Stands in for the reader of pictures, because a made run has no input."""

    input_uri: str | None = None

    def __init__(self, output: Output, run_id: str, input_uri: str | None = None) -> None:
        """Take the arguments of `RunPictures`."""
        type(self).input_uri = input_uri

    def read(self, shard: int, cases: Sequence[Case]) -> dict[tuple[str, int], Picture]:
        mask = np.zeros((2, 2), np.uint8)
        return {
            (case.image_id, case.frame): Picture(f"files/{case.probability}.png", None, "no input", mask, None)
            for case in cases
        }


def _page(
    made: MadeOutput, monkeypatch: pytest.MonkeyPatch, contents: GalleryContents, reference: str | None = None
) -> str:
    monkeypatch.setattr(document, "RunPictures", _NoPictures)
    config = EvaluationConfig(resamples=100, reference=reference)
    evaluate_run(made.output, made.private, RUN_ID, config, made.tokens)
    table = read_reference(reference) if reference else None
    key = write_gallery(open_output(made.output.uri), RUN_ID, contents, reference=table)
    return made.private.read(key).decode()


def _groups(page: str) -> list[tuple[str, list[str]]]:
    """Return each group's title with the studies of its cases."""
    parts = re.split(r"<h2>", page)[1:]
    return [(part.partition("</h2>")[0], re.findall(r"<h3>(.*?)</h3>", part)) for part in parts]


def _fact(page: str, name: str) -> list[str]:
    return re.findall(rf"<dt>{name}</dt><dd>(.*?)</dd>", page.replace("&#39;", "'"))


def test_without_labels_the_highest_scores_are_shown(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run([MadeStudy(f"own-{n}", [[0.1 * n]]) for n in range(5)])
    page = _page(made, monkeypatch, GalleryContents(n=2))
    assert _groups(page) == [("Highest scores", ["own-4", "own-3"])]
    assert _fact(page, "study's score") == ["0.400, called negative", "0.300, called negative"]
    assert not _fact(page, "reference") and not _fact(page, "diagnosis")


def test_a_case_has_its_study_s_score_diagnosis_and_other_images(
    made: MadeOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.write_run([MadeStudy("sick", [[0.9, 0.2], [0.6], [0.3]], label=1), MadeStudy("well", [[0.1]], label=0)])
    rows = [{"study_id": "sick", "label": 1, "diagnosis": "<HLHS>"}, {"study_id": "well", "label": 0, "diagnosis": ""}]
    page = _page(made, monkeypatch, GalleryContents(n_highest=1), made.table("reference", rows))
    assert _groups(page) == [("Highest scores", ["sick"])]
    assert (_fact(page, "reference"), _fact(page, "diagnosis")) == (["diseased"], ["&lt;HLHS&gt;"])
    assert _fact(page, "probability of CHD") == ["0.900"]
    others = page.partition('<ul class="others">')[2].partition("</ul>")[0]
    assert sorted(re.findall(r"0\.\d{3}, ", others)) == ["0.300, ", "0.600, "]


@pytest.mark.parametrize("named_by", ["own id", "token"])
def test_all_images_of_one_study_are_shown(made: MadeOutput, monkeypatch: pytest.MonkeyPatch, named_by: str) -> None:
    made.write_run(
        [MadeStudy("a", [[0.2]] * 9 + [["decode_error"], ["empty_image"], ["decode_error"]]), MadeStudy("b", [[0.9]])]
    )
    name = "a" if named_by == "own id" else made.tokens.study("a")
    page = _page(made, monkeypatch, GalleryContents(studies=(name,)))
    assert _groups(page) == [("Study a", ["a"] * 9)]
    assert "Failed and therefore not shown: 2 decode_error, 1 empty_image." in page


def test_a_study_without_a_scored_image_says_why(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run([MadeStudy("a", [[0.2]]), MadeStudy("out", exclude_reason="no heart")])
    page = _page(made, monkeypatch, GalleryContents(studies=("out",)))
    assert "No image of this study was scored. The evaluation says: excluded." in page


def test_a_study_that_no_plan_has_is_refused(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run([MadeStudy("a", [[0.2]])])
    with pytest.raises(UsageError, match=r"--study 'b': no plan of this run"):
        _page(made, monkeypatch, GalleryContents(studies=("b",)))


def test_pictures_are_read_where_the_archive_is_now(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run([MadeStudy("a", [[0.2]])])
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100), made.tokens)
    monkeypatch.setattr(document, "RunPictures", _NoPictures)
    root = InputRoot(first="/before", current="/now")
    root.write(made.private, output_layout.INPUT_ROOT)
    report(Workspace.open(made.output.uri), RUN_ID, gallery=GalleryContents(n_highest=1))
    assert _NoPictures.input_uri == "/now"


def test_a_large_study_says_how_many_images_are_left_out(made: MadeOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    made.write_run([MadeStudy("a", [[0.2]] * 9)])
    page = _page(made, monkeypatch, GalleryContents(n_highest=1))
    assert page.count("<li>") == document.N_OTHER_IMAGES
    assert "2 more are not shown" in page
