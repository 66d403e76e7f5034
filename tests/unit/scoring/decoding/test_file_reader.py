"""The frames and failure codes that the reader yields for a planned file."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.planned_images import PlannedImage
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, plan_files, png, tiff


def _read(
    directory: Path, image: PlannedImage, *, rule: FrameRule = "all", max_file_bytes: int = 1_000_000
) -> tuple[list[Any], SourceRecord]:
    reader = FileReader(open_store(str(directory)), rule, max_file_bytes)
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), HEIGHT, WIDTH, None), ByteBudget(1 << 20))
    *frames, source = reader.read(image, decoder)
    assert isinstance(source, SourceRecord)
    assert all(isinstance(frame, FrameInput) for frame in frames)
    return frames, source


def test_a_file_gives_its_frames_and_its_digest(tmp_path: Path) -> None:
    data = png(77, size=(100, 50))
    (image,) = plan_files(tmp_path, {"a.png": data})
    (frame,), source = _read(tmp_path, image)
    assert (frame.frame, frame.source_frames, frame.error, frame.reference) == (0, 1, None, None)
    assert (frame.decoded.source_height, frame.decoded.source_width) == (100, 50)
    assert frame.decoded.image_hwc_u8.shape == (HEIGHT, WIDTH, 3)
    assert source.row()["sha256"] == hashlib.sha256(data).hexdigest()
    assert source.row()["error"] is None


@pytest.mark.parametrize(
    ("rule", "frames", "expected"),
    [
        ("all", None, [0, 1, 2]),
        ("first", None, [0]),
        ("middle", None, [1]),
        ("first", (2, 0), [0, 2]),
    ],
)
def test_frames_of_a_multi_page_file(
    tmp_path: Path, rule: FrameRule, frames: tuple[int, int] | None, expected: list[int]
) -> None:
    (image,) = plan_files(tmp_path, {"a.tif": tiff([10, 20, 30])}, frames={"a.tif": frames} if frames else None)
    rows, _ = _read(tmp_path, image, rule=rule)
    assert [row.frame for row in rows] == expected
    assert [int(row.decoded.image_hwc_u8[0, 0, 0]) for row in rows] == [10 * (1 + frame) for frame in expected]
    assert {row.source_frames for row in rows} == {3}


def test_a_missing_frame_fails_alone(tmp_path: Path) -> None:
    (image,) = plan_files(tmp_path, {"a.tif": tiff([10, 20])}, frames={"a.tif": (0, 7)})
    rows, source = _read(tmp_path, image)
    assert [(row.frame, row.error) for row in rows] == [(0, None), (7, FailureCode.FRAME_NOT_FOUND)]
    assert "frame_not_found" in source.row()["error"]


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: path.unlink(), FailureCode.NOT_FOUND),
        (lambda path: path.write_bytes(png(1)), FailureCode.SOURCE_CHANGED),
        (lambda path: os.utime(path, ns=(1, 1)), FailureCode.SOURCE_CHANGED),
    ],
)
def test_a_file_that_changed_since_planning(tmp_path: Path, spoil: Callable[[Path], Any], code: FailureCode) -> None:
    (image,) = plan_files(tmp_path, {"a.png": png(0)})
    spoil(tmp_path / "a.png")
    (row,), source = _read(tmp_path, image)
    assert (row.frame, row.source_frames, row.error) == (None, None, code)
    assert code.value in source.row()["error"]


def test_damaged_bytes_fail_with_their_digest_kept(tmp_path: Path) -> None:
    data = png(0, size=(200, 200))[:60]
    (image,) = plan_files(tmp_path, {"a.png": data})
    (row,), source = _read(tmp_path, image)
    assert row.error == FailureCode.DECODE_ERROR
    assert source.row()["sha256"] == hashlib.sha256(data).hexdigest()


def test_a_file_over_the_limit_is_not_read(tmp_path: Path) -> None:
    (image,) = plan_files(tmp_path, {"a.png": png(0)})
    (row,), source = _read(tmp_path, image, max_file_bytes=10)
    assert row.error == FailureCode.TOO_LARGE
    assert source.sha256 is None


@pytest.mark.parametrize(
    ("mask", "status"),
    [
        (png(2, mode="L"), "ok"),
        (png(3, mode="L"), "mask_invalid_values"),
        (png(1, mode="L", size=(HEIGHT + 1, WIDTH)), "mask_size_mismatch"),
        (b"", "mask_unreadable"),
    ],
)
def test_a_bad_mask_does_not_fail_its_image(tmp_path: Path, mask: bytes, status: str) -> None:
    (image,) = plan_files(tmp_path, {"a.png": png(0)}, masks={"a.png": mask})
    (row,), source = _read(tmp_path, image)
    assert row.error is None
    assert row.reference.status == status
    assert (row.reference.label_map_hw_u8 is not None) == (status == "ok")
    assert source.row()["mask_sha256"] == hashlib.sha256(mask).hexdigest()


def test_masks_that_are_gone_or_changed(tmp_path: Path) -> None:
    image, other = plan_files(
        tmp_path, {"a.png": png(0), "b.png": png(0)}, masks={"a.png": png(1, mode="L"), "b.png": png(1, mode="L")}
    )
    (tmp_path / "masks" / "a.png").unlink()
    os.utime(tmp_path / "masks" / "b.png", ns=(1, 1))
    assert _read(tmp_path, image)[0][0].reference.status == "mask_not_found"
    assert _read(tmp_path, other)[0][0].reference.status == "mask_changed"
