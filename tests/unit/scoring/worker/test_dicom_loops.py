"""DICOM loops of the beating phantom, scored from the file to the rows."""

import io
from pathlib import Path

import numpy as np
import pytest

from dataset.dicom_archive import FRAME_TIME_MS, dicom_object, render_frames
from dataset.phantom import Split, draw_study
from diagchd_batch.images.frames import chosen_frames
from diagchd_batch.images.resize import resize_to_grid
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, PlainModel
from tests.unit.scoring.made_runs import make_run

N_FRAMES = 7
STUDY = draw_study(7, Split.OTHER, 0)


def file_of(pixels: np.ndarray, image: int) -> bytes:
    buffer = io.BytesIO()
    dicom_object(STUDY, image, pixels).save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def loop() -> np.ndarray:
    return render_frames(STUDY, STUDY.images, N_FRAMES)[0]


@pytest.mark.parametrize("rule", ["all", "first", "middle", "every 3", "max 3"])
def test_each_chosen_frame_is_scored_with_its_time(tmp_path: Path, loop: np.ndarray, rule: str) -> None:
    run = make_run(tmp_path, {"study/loop.dcm": file_of(loop, 9)})
    model = PlainModel()
    run.score_all(model, frame_rule=rule)
    rows = run.rows()
    frames = chosen_frames(rule, None, N_FRAMES)
    assert [row["frame"] for row in rows] == list(frames)
    assert [row["frame_time_ms"] for row in rows] == pytest.approx([FRAME_TIME_MS * frame for frame in frames])
    assert {row["status"] for row in rows} == {"ok"}
    assert {row["source_frames"] for row in rows} == {N_FRAMES}
    assert {(row["source_height"], row["source_width"]) for row in rows} == {loop.shape[1:]}
    scored = np.concatenate(model.batches)[: len(frames)]
    for pixels, frame in zip(scored, frames, strict=True):
        in_colour = np.repeat(loop[frame][..., np.newaxis], 3, axis=2)
        np.testing.assert_array_equal(pixels, resize_to_grid(in_colour, HEIGHT, WIDTH))


def test_a_still_beside_a_loop_has_no_time(tmp_path: Path, loop: np.ndarray) -> None:
    files = {"study/loop.dcm": file_of(loop, 9), "study/still.png": file_of(loop[:1], 0)}  # names say nothing
    run = make_run(tmp_path, files)
    run.score_all()
    by_file: dict[int, list[float | None]] = {}
    for row in run.rows():
        by_file.setdefault(row["source_frames"], []).append(row["frame_time_ms"])
    assert by_file[1] == [None]
    assert by_file[N_FRAMES][:2] == [0.0, pytest.approx(FRAME_TIME_MS)]
