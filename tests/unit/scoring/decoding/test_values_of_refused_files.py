"""What the headers of files say about a person is collected although the files cannot be scored."""

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin
from pydicom import Dataset
from pydicom.uid import (
    MPEG4HP41,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    SegmentationStorage,
)

from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats.byte_ranges import RangedFile
from diagchd_batch.images.identifying.values import NOTHING_COLLECTED
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding import file_reader
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, SourceRecord
from diagchd_batch.scoring.decoding.in_process import Decoder, DecodeSettings, InProcessDecoder
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
from diagchd_batch.storage import open_store
from tests.unit.images.dicom.dicom_files import colour, compressed, grey, written
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, plan_files

NAME = "CANARY^PATIENT"
SETTINGS = DecodeSettings(DecodeLimits(max_pixels=10_000), HEIGHT, WIDTH, None)
PIXELS = np.zeros((50, 60), np.uint8)


def report() -> Dataset:
    """Return a report, whose text names the patient a second time."""
    item = Dataset()
    item.ValueType, item.TextValue = "TEXT", "seen by Dr CANARY-REFERRER"
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientName = BasicTextSRStorage, "2.25.7", NAME
    dataset.ContentSequence = [item]
    return dataset


def directory() -> Dataset:
    record = Dataset()
    record.DirectoryRecordType, record.PatientName = "PATIENT", NAME
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = MediaStorageDirectoryStorage, "2.25.8"
    dataset.DirectoryRecordSequence = [record]
    return dataset


def picture(form: str, size: tuple[int, int]) -> bytes:
    """Return a picture whose metadata has the name."""
    file = io.BytesIO()
    image = Image.new("L", size)
    if form == "PNG":
        chunks = PngImagePlugin.PngInfo()
        chunks.add_text("Author", NAME)
        image.save(file, form, pnginfo=chunks)
    else:
        image.save(file, form, comment=NAME.encode()) if form == "JPEG" else image.save(file, form, description=NAME)
    return file.getvalue()


def without_pixels() -> Dataset:
    dataset = grey(PIXELS, 8, PatientName=NAME)
    del dataset.PixelData
    return dataset


FILES = {
    "report": (written(report()), FailureCode.NOT_AN_IMAGE),
    "directory": (written(directory()), FailureCode.NOT_AN_IMAGE),
    "segmentation": (
        written(grey(PIXELS, 8, SOPClassUID=SegmentationStorage, PatientName=NAME)),
        FailureCode.NOT_AN_IMAGE,
    ),
    "deflated report": (written(report(), DeflatedExplicitVRLittleEndian), FailureCode.NOT_AN_IMAGE),
    "no pixels": (written(without_pixels()), FailureCode.DECODE_ERROR),
    "no rows": (written(grey(PIXELS, 8, Rows=0, PatientName=NAME)), FailureCode.EMPTY_IMAGE),
    "video": (compressed(grey(PIXELS, 8, PatientName=NAME), [b"film"], MPEG4HP41), FailureCode.UNSUPPORTED_FORMAT),
    "large": (written(colour(np.zeros((200, 200, 3), np.uint8), PatientName=NAME)), FailureCode.TOO_LARGE),
    "PNG": (picture("PNG", (200, 200)), FailureCode.TOO_LARGE),
    "PNG without rows": (picture("PNG", (200, 200)).replace(b"\0\0\0\xc8", b"\0\0\0\0", 1), FailureCode.EMPTY_IMAGE),
    "JPEG": (picture("JPEG", (200, 200)), FailureCode.TOO_LARGE),
    "TIFF": (picture("TIFF", (200, 200)), FailureCode.TOO_LARGE),
}


@pytest.fixture(scope="module", params=["in process", "isolated"])
def decoder(request: pytest.FixtureRequest) -> Iterator[Decoder]:
    made: Decoder = InProcessDecoder(SETTINGS, ByteBudget(1 << 30))
    if request.param == "isolated":
        made = IsolatedDecoder(SETTINGS, timeout_s=60, memory_bytes=4 << 30)
    with closing(made):
        yield made


def read(tmp_path: Path, decoder: Decoder, data: bytes, rule: str = "all") -> tuple[FailureCode, SourceRecord]:
    (image,) = plan_files(tmp_path, {"file": data})
    row, source = FileReader(open_store(str(tmp_path)), rule, 1 << 30).read(image, decoder)
    assert isinstance(source, SourceRecord) and not isinstance(row, SourceRecord) and row.error is not None
    return row.error, source


@pytest.mark.parametrize(("data", "code"), FILES.values(), ids=FILES)
def test_a_refused_file_tells_what_its_headers_say(
    tmp_path: Path, decoder: Decoder, data: bytes, code: FailureCode
) -> None:
    error, source = read(tmp_path, decoder, data)
    assert error == code
    (collected,) = source.collected
    assert collected.complete or code is FailureCode.EMPTY_IMAGE
    assert NAME in {value for _, value in collected.values}
    if data == FILES["report"][0]:
        assert "seen by Dr CANARY-REFERRER" in {value for _, value in collected.values}


def test_a_file_that_is_opened_in_parts_tells_it_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_reader, "PARTS_FROM_BYTES", 100)
    opened: list[object] = []

    class Recording(InProcessDecoder):
        def open(self, data: object) -> int:
            opened.append(data)
            return super().open(data)  # type: ignore[arg-type]

    error, source = read(tmp_path, Recording(SETTINGS, ByteBudget(1 << 30)), FILES["segmentation"][0], "middle")
    assert error is FailureCode.NOT_AN_IMAGE and isinstance(opened[0], RangedFile)
    assert NAME in {value for _, value in source.collected[0].values}


def test_a_file_that_is_not_read_or_not_known_tells_nothing_of_the_file_before(
    tmp_path: Path, decoder: Decoder
) -> None:
    read(tmp_path, decoder, FILES["report"][0])
    for data in (b"", b"no image at all"):
        _, source = read(tmp_path, decoder, data)
        assert source.collected == [NOTHING_COLLECTED]
    read(tmp_path, decoder, FILES["report"][0])
    (image,) = plan_files(tmp_path, {"gone": FILES["report"][0]})
    (tmp_path / "gone").unlink()
    *_, source = FileReader(open_store(str(tmp_path)), "all", 1 << 30).read(image, decoder)
    assert isinstance(source, SourceRecord) and source.collected == [NOTHING_COLLECTED]
