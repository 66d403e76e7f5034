"""A rule that chooses some frames of a large DICOM loop reads the header and these frames, and no more."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.uid import JPEGBaseline8Bit

from diagchd_batch.images.formats import open_image
from diagchd_batch.images.formats.dicom.dicom_file import DicomFile
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding import file_reader
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, SourceRecord, digest_of_frames
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.sources import ObjectInfo
from diagchd_batch.sources.local.source import LocalSource
from diagchd_batch.studies.plan.planned_images import PlannedImage
from tests.unit.images.dicom.dicom_files import colour, compressed, written
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, plan_files, png

N_FRAMES = 40
NOISE = np.random.default_rng(5).integers(0, 256, (N_FRAMES, 120, 160, 3), dtype=np.uint8)
JPEGS = [bytes(imagecodecs.jpeg8_encode(frame, level=95)) for frame in NOISE]
HEADER_BYTES = 64 << 10


class CountingSource(LocalSource):
    """A directory that counts the bytes that are read."""

    n_bytes = 0

    def read_range_versioned(self, key: str, start: int, length: int) -> tuple[bytes, ObjectInfo]:
        data, info = super().read_range_versioned(key, start, length)
        self.n_bytes += len(data)
        return data, info

    def read_versioned(self, key: str, max_bytes: int | None = None) -> tuple[bytes, ObjectInfo]:
        data, info = super().read_versioned(key, max_bytes)
        self.n_bytes += len(data)
        return data, info


def read(source: LocalSource, image: PlannedImage, rule: str, **options: Any) -> tuple[list[Any], SourceRecord]:
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), HEIGHT, WIDTH, None), ByteBudget(1 << 30))
    *frames, record = FileReader(source, rule, 1 << 30, **options).read(image, decoder)
    assert isinstance(record, SourceRecord)
    return frames, record


def uncompressed() -> bytes:
    return written(colour(NOISE))


def jpeg_with_table() -> bytes:
    return compressed(colour(NOISE, "YBR_FULL"), JPEGS, JPEGBaseline8Bit)


@pytest.mark.parametrize("rule", ["first", "middle", "every 15", "max 2"])
@pytest.mark.parametrize("make", [uncompressed, jpeg_with_table])
def test_only_the_chosen_frames_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rule: str, make: Any) -> None:
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 1 << 16)
    data = make()
    (image,) = plan_files(tmp_path, {"a": data})
    source = CountingSource(str(tmp_path))
    frames, record = read(source, image, rule)
    whole, whole_record = read(LocalSource(str(tmp_path)), image, "all")
    assert len(whole) == N_FRAMES and 0 < len(frames) < N_FRAMES
    for frame in frames:
        expected = whole[frame.frame].decoded
        np.testing.assert_array_equal(frame.decoded.image_hwc_u8, expected.image_hwc_u8)
        assert frame.decoded.metadata == expected.metadata
        assert frame.source_frames == N_FRAMES
    largest = max(HEADER_BYTES, max(len(frame) for frame in JPEGS) if make is jpeg_with_table else NOISE[0].nbytes)
    assert source.n_bytes <= 3 * HEADER_BYTES + (len(frames) + 1) * largest
    assert source.n_bytes < len(data) / 2
    assert (record.digest_of, whole_record.digest_of) == ("frames", "file")
    assert whole_record.sha256 == hashlib.sha256(data).hexdigest()
    chosen = [frame.frame for frame in frames]
    stored = NOISE if make is uncompressed else [frame + b"\0" * (len(frame) % 2) for frame in JPEGS]
    assert record.sha256 == hashlib.sha256(b"".join(bytes(stored[frame]) for frame in chosen)).hexdigest()
    file = open_image(data, DecodeLimits())
    assert isinstance(file, DicomFile) and record.sha256 == digest_of_frames(file, chosen)


def test_a_loop_without_an_offset_table_is_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its frames lie is only known when those before them have been passed."""
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 1 << 16)
    data = compressed(colour(NOISE, "YBR_FULL"), JPEGS, JPEGBaseline8Bit, with_table=False)
    (image,) = plan_files(tmp_path, {"a": data})
    source = CountingSource(str(tmp_path))
    (frame,), record = read(source, image, "middle")
    assert frame.error is None and (record.digest_of, record.sha256) == ("file", hashlib.sha256(data).hexdigest())
    assert source.n_bytes <= len(data) + 3 * HEADER_BYTES


def test_a_file_that_changed_after_planning_is_found_by_its_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 1 << 16)
    (image,) = plan_files(tmp_path, {"a": uncompressed()})
    os.utime(tmp_path / "a", ns=(1, 1))
    (failed,), record = read(LocalSource(str(tmp_path)), image, "middle")
    assert (failed.error, record.sha256) == ("source_changed", None)


def test_a_file_that_changes_while_its_frames_are_read_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 1 << 16)
    (image,) = plan_files(tmp_path, {"a": uncompressed()})
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), HEIGHT, WIDTH, None), ByteBudget(1 << 30))
    results = FileReader(LocalSource(str(tmp_path)), "every 10", 1 << 30).read(image, decoder)
    first: Any = next(results)
    os.utime(tmp_path / "a", ns=(1, 1))
    later: list[Any] = list(results)
    assert first.error is None and {frame.error for frame in later[:-1]} == {"source_changed"}


def test_small_files_and_other_formats_are_read_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 100)
    images = plan_files(tmp_path, {"a.png": png(7, size=(60, 40)), "one": written(colour(NOISE[0]))})
    for image in images:
        (frame,), record = read(LocalSource(str(tmp_path)), image, "middle")
        assert frame.error is None and record.digest_of == "file"
        assert record.sha256 == hashlib.sha256((tmp_path / image.uri).read_bytes()).hexdigest()


def test_several_threads_give_the_frames_in_their_order(tmp_path: Path) -> None:
    data = compressed(colour(NOISE, "YBR_FULL"), [*JPEGS[:20], b"\xff\xd8 damaged", *JPEGS[21:]], JPEGBaseline8Bit)
    (image,) = plan_files(tmp_path, {"a": data})
    alone, _ = read(LocalSource(str(tmp_path)), image, "all")
    with ThreadPoolExecutor(4) as threads:
        together, _ = read(LocalSource(str(tmp_path)), image, "all", frame_threads=threads, frames_ahead=8)
    assert [frame.frame for frame in together] == list(range(N_FRAMES))
    assert [frame.error for frame in together] == [None] * 20 + ["decode_error"] + [None] * 19
    for one, other in zip(alone, together, strict=True):
        if one.decoded is not None:
            np.testing.assert_array_equal(one.decoded.image_hwc_u8, other.decoded.image_hwc_u8)
            assert one.decoded.metadata == other.decoded.metadata
