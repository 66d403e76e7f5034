"""The rows of scored and failed frames."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import FrameMetadata
from diagchd_batch.scoring.decoding.file_reader import FrameInput
from diagchd_batch.scoring.decoding.in_process import GridFrame
from diagchd_batch.scoring.worker.score_rows import failed_row, scored_row
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, PlainModel, plan_files, png
from tests.unit.scoring.made_runs import make_run


@pytest.mark.parametrize("time_ms", [None, 0.0, 33.3666])
def test_a_row_has_the_time_of_its_frame_in_the_clip(tmp_path: Path, time_ms: float | None) -> None:
    (image,) = plan_files(tmp_path, {"a.png": png(0)})
    pixels = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    decoded = GridFrame(pixels, 100, 200, FrameMetadata(time_ms=time_ms))
    frame = FrameInput(image, 7, 30, decoded)
    prediction = PlainModel(1).predict(pixels[np.newaxis])
    assert scored_row(frame, prediction, 0, 0.5)["frame_time_ms"] == time_ms
    failed = replace(frame, decoded=None, error=FailureCode.DECODE_ERROR)
    assert failed_row(failed).get("frame_time_ms") is None


def test_stills_and_formats_without_times_have_no_time(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a/still.png": png(10)})
    run.score_all()
    assert [row["frame_time_ms"] for row in run.rows()] == [None]
