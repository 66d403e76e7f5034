"""Single frames of a PACS: rows equal those of the whole file, and servers that do not send frames are read whole."""

import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian, JPEGBaseline8Bit

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import StorageFault
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.formats.image_file import PartsFile
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord, digest_of_frames
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.sources import Source, open_source
from diagchd_batch.sources.dicomweb.frame_requests import MAX_REFUSALS
from diagchd_batch.studies.plan.planned_images import PlannedImage
from tests.unit.images.dicom.dicom_files import colour, compressed, written
from tests.unit.scoring.made_inputs import HEIGHT, WIDTH, plan_files
from tests.unit.sources.dicomweb.scripted_server import Answer, Request, ScriptedServer

KEY = "studies/1.2/series/1.2.1/instances/1.2.1.1"
N_FRAMES = 20
NOISE = np.random.default_rng(5).integers(0, 256, (N_FRAMES, 121, 161, 3), dtype=np.uint8)
JPEGS = [bytes(imagecodecs.jpeg8_encode(frame, level=98)) for frame in NOISE]
EXPLICIT = "1.2.840.10008.1.2.1"


def loop(photometric: str = "RGB") -> Dataset:
    region = Dataset()
    for keyword, value in {
        "RegionSpatialFormat": 1,
        "RegionDataType": 1,
        "RegionFlags": 0,
        "RegionLocationMinX0": 10,
        "RegionLocationMinY0": 5,
        "RegionLocationMaxX1": 150,
        "RegionLocationMaxY1": 110,
        "PhysicalUnitsXDirection": 3,
        "PhysicalUnitsYDirection": 3,
        "PhysicalDeltaX": 0.02,
        "PhysicalDeltaY": 0.02,
    }.items():
        setattr(region, keyword, value)
    return colour(NOISE, photometric, FrameTime="25.5", PatientID="CANARY-1", SequenceOfUltrasoundRegions=[region])


LOOPS = {
    "uncompressed": (lambda: written(loop()), EXPLICIT),
    "implicit": (lambda: written(loop(), ImplicitVRLittleEndian), EXPLICIT),
    "jpeg": (lambda: compressed(loop("RGB"), JPEGS, JPEGBaseline8Bit), str(JPEGBaseline8Bit)),
    "jpeg without table": (
        lambda: compressed(loop("YBR_FULL"), JPEGS, JPEGBaseline8Bit, with_table=False),
        str(JPEGBaseline8Bit),
    ),
    "jpeg in fragments": (
        lambda: compressed(loop("YBR_FULL"), JPEGS, JPEGBaseline8Bit, fragments=3),
        str(JPEGBaseline8Bit),
    ),
}


class Pacs:
    """Answers with one instance and its frames. `frames_answer` replaces the answer to a request for frames."""

    def __init__(self, data: bytes, syntax: str) -> None:
        self.data, self.syntax = data, syntax
        self.frames_answer: Answer | None = None
        self.is_down = False
        self.without_length = False

    def __call__(self, request: Request) -> Answer:
        if self.is_down:
            return Answer(status=503)
        if match := re.search(r"/frames/([\d,]+)$", request.path):
            if self.frames_answer is not None:
                return self.frames_answer
            numbers = [int(number) for number in match[1].split(",")]
            assert request.headers["Accept"].endswith("transfer-syntax=*")
            if max(numbers) > N_FRAMES:
                return Answer(status=400)
            stored = JPEGS if self.syntax == JPEGBaseline8Bit else [frame.tobytes() for frame in NOISE]
            return multipart([stored[number - 1] for number in numbers], f"image/x; transfer-syntax={self.syntax}")
        if request.path.endswith("/studies"):
            return Answer(b"[]")
        whole = multipart([self.data], "application/dicom")
        whole.without_length = self.without_length
        return whole


def multipart(contents: list[bytes], content_type: str) -> Answer:
    parts = [f"--b\r\nContent-Type: {content_type}\r\n\r\n".encode() + content + b"\r\n" for content in contents]
    return Answer(b"".join(parts) + b"--b--\r\n", content_type='multipart/related; type="x"; boundary=b')


@pytest.fixture(autouse=True)
def no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("DIAGCHD_DICOMWEB_"):
            monkeypatch.delenv(name)


@pytest.fixture(params=LOOPS)
def pacs(request: pytest.FixtureRequest) -> Pacs:
    make, syntax = LOOPS[request.param]
    return Pacs(make(), syntax)


@pytest.fixture
def jpeg_pacs() -> Pacs:
    return Pacs(LOOPS["jpeg"][0](), str(JPEGBaseline8Bit))


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[ScriptedServer]:
    with ScriptedServer(lambda request: Answer(status=404)).running() as running:
        yield running


def opened(server: ScriptedServer, pacs: Pacs, timeout_s: float = 5.0) -> Source:
    server.answer = pacs
    return open_source(server.uri, object_timeout_s=timeout_s, dicomweb=DicomwebConfig(max_requests_per_second=10_000))


def read(
    source: Source, rule: str = "middle", frames: tuple[int, ...] | None = None
) -> tuple[list[FrameInput], SourceRecord]:
    no_version = dict.fromkeys(
        ("size_bytes", "etag", "modified_ns", "mask_uri", "mask_size_bytes", "mask_etag", "mask_modified_ns")
    )
    image = PlannedImage(0, 0, "subject", "study", "image", KEY, frames, **no_version)
    return results(source, image, rule)


def results(source: Source, image: PlannedImage, rule: str) -> tuple[list[FrameInput], SourceRecord]:
    decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), HEIGHT, WIDTH, None), ByteBudget(1 << 30))
    *found, record = FileReader(source, rule, 1 << 30).read(image, decoder)
    assert isinstance(record, SourceRecord)
    return [one for one in found if isinstance(one, FrameInput)], record


def whole(pacs: Pacs, tmp_path: Path, rule: str, frames: tuple[int, ...] | None) -> Any:
    (image,) = plan_files(tmp_path, {"a": pacs.data})
    return results(open_source(str(tmp_path)), replace(image, frames=frames), rule)


def frame_requests(server: ScriptedServer) -> list[str]:
    return [request.path.rpartition("/frames/")[2] for request in server.requests if "/frames/" in request.path]


def check_equal(one: list[FrameInput], other: list[FrameInput]) -> None:
    assert [(row.frame, row.source_frames, row.error) for row in one] == [
        (row.frame, row.source_frames, row.error) for row in other
    ]
    for row, expected in zip(one, other, strict=True):
        if row.decoded is not None:
            assert expected.decoded is not None
            np.testing.assert_array_equal(row.decoded.image_hwc_u8, expected.decoded.image_hwc_u8)
            assert row.decoded.metadata == expected.decoded.metadata
            assert row.decoded.region == expected.decoded.region


@pytest.mark.parametrize(
    ("rule", "frames", "asked"),
    [
        ("middle", None, "11"),
        ("first", None, "1"),
        ("every 7", None, "1,8,15"),
        ("max 2", None, "6,16"),
        ("all", (3, 19, 25), "4,20"),
    ],
)
def test_the_chosen_frames_alone_give_the_rows_of_the_file(
    server: ScriptedServer, pacs: Pacs, tmp_path: Path, rule: str, frames: tuple[int, ...] | None, asked: str
) -> None:
    pacs.without_length = True  # a stated length below 1 MiB would be a reason to read all
    rows, record = read(opened(server, pacs), rule, frames)
    assert frame_requests(server) == [asked]
    expected, whole_record = whole(pacs, tmp_path, rule, frames)
    check_equal(rows, expected)
    metadata = [row.decoded.metadata for row in rows if row.decoded]
    assert all(one.spacing_status == "ok" and one.colour_from for one in metadata)
    assert metadata[-1].time_ms == 25.5 * max(row.frame or 0 for row in rows if row.decoded)
    assert record.digest_of == "frames" and record.sha256 is not None
    assert record.collected == whole_record.collected and "CANARY-1" in str(record.collected)


def test_the_digest_is_that_of_the_stored_frames(server: ScriptedServer, pacs: Pacs) -> None:
    pacs.without_length = True
    _, record = read(opened(server, pacs), "every 7")
    file = open_image(pacs.data, DecodeLimits())
    assert isinstance(file, PartsFile) and record.sha256 == digest_of_frames(file, [0, 7, 14])


@pytest.mark.parametrize(("rule", "frames"), [("all", None), ("every 1", None), ("max 15", None), ("all", (25,))])
def test_a_loop_is_read_whole_where_most_of_it_or_nothing_is_wanted(
    server: ScriptedServer, jpeg_pacs: Pacs, tmp_path: Path, rule: str, frames: tuple[int, ...] | None
) -> None:
    jpeg_pacs.without_length = True
    rows, record = read(opened(server, jpeg_pacs), rule, frames)
    assert len(server.requests) == 1 and record.digest_of == "file"
    check_equal(rows, whole(jpeg_pacs, tmp_path, rule, frames)[0])


def test_a_small_instance_and_a_still_are_read_whole_in_one_request(server: ScriptedServer, jpeg_pacs: Pacs) -> None:
    source = opened(server, jpeg_pacs)  # the server states a length below 1 MiB
    assert read(source)[1].digest_of == "file"
    jpeg_pacs.without_length = True
    jpeg_pacs.data = written(colour(np.tile(NOISE[0], (4, 4, 1))))
    assert read(source)[1].digest_of == "file"
    jpeg_pacs.data = b"<html>" * 60_000
    assert read(source)[0][0].error == "unsupported_format"
    assert len(server.requests) == 3


TRANSCODED = multipart([JPEGS[10]], "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.4.57")
REFUSALS = {
    **{str(status): Answer(status=status) for status in (400, 403, 404, 406, 415, 500, 501)},
    "transcoded": TRANSCODED,
    "no syntax": multipart([JPEGS[10]], "application/octet-stream"),
    "too many parts": multipart(JPEGS[:3], f"image/jpeg; transfer-syntax={JPEGBaseline8Bit}"),
    "no multipart": Answer(JPEGS[10], content_type="image/jpeg"),
    "nothing": Answer(status=204),
}


@pytest.mark.parametrize("answer", REFUSALS.values(), ids=REFUSALS)
def test_a_server_that_does_not_send_frames_is_read_whole_and_soon_not_asked_again(
    server: ScriptedServer, jpeg_pacs: Pacs, tmp_path: Path, answer: Answer
) -> None:
    jpeg_pacs.without_length, jpeg_pacs.frames_answer = True, answer
    source = opened(server, jpeg_pacs)
    expected, _ = whole(jpeg_pacs, tmp_path, "middle", None)
    for _ in range(MAX_REFUSALS + 2):
        rows, record = read(source)
        check_equal(rows, expected)
        assert record.digest_of == "file"
    assert len(frame_requests(server)) == MAX_REFUSALS
    assert len(server.requests) == 3 * MAX_REFUSALS + 2


def test_uncompressed_frames_of_another_size_are_not_used(server: ScriptedServer, tmp_path: Path) -> None:
    pacs = Pacs(LOOPS["uncompressed"][0](), EXPLICIT)
    pacs.without_length, pacs.frames_answer = True, multipart([NOISE[10].tobytes()[:-3]], "application/octet-stream")
    rows, record = read(opened(server, pacs))
    check_equal(rows, whole(pacs, tmp_path, "middle", None)[0])
    assert record.digest_of == "file"


def test_a_server_that_fails_between_the_header_and_the_frames_is_a_fault(
    server: ScriptedServer, jpeg_pacs: Pacs
) -> None:
    jpeg_pacs.without_length = True
    source = opened(server, jpeg_pacs, timeout_s=0.3)

    def answer(request: Request) -> Answer:
        jpeg_pacs.is_down = jpeg_pacs.is_down or "/frames/" in request.path
        return jpeg_pacs(request)

    server.answer = answer
    with pytest.raises(StorageFault, match="did not answer in time"):
        read(source)
