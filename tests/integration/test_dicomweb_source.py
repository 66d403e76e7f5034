"""The source for a PACS against a real one: what it lists, reads and refuses, and that files come back unchanged."""

import hashlib
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom import dcmread, examples
from pydicom.data import get_testdata_file
from pydicom.encaps import get_frame
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from diagchd_batch.config.job_file import DicomwebConfig
from diagchd_batch.errors import DiagchdBatchError, ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader
from diagchd_batch.scoring.decoding.in_process import DecodeSettings, InProcessDecoder
from diagchd_batch.sources import HeaderSource, Source, open_source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.sources.dicomweb import connection, frame_requests
from diagchd_batch.sources.dicomweb import source as dicomweb_source
from diagchd_batch.studies.plan.planned_images import PlannedImage
from tests.support.servers_and_hosts.orthanc import Orthanc
from tests.unit.images.dicom.dicom_files import colour, compressed, written
from tests.unit.scoring.made_inputs import plan_files

FAST = DicomwebConfig(max_requests_per_second=1000)
FILES = [
    Path(examples.get_path("ybr_color")),  # a loop of 30 JPEG frames
    Path(examples.get_path("rgb_color")),
    Path(get_testdata_file("CT_small.dcm")),
]
LOOP, STILL, CT = (
    "studies/1.2.840.114340.3.8251017118051.1.20160503.120850.2171/series/1.2.840.114340.3.8251017118051.2.20160503"
    ".120850.2171/instances/1.2.840.114340.3.8251017118051.3.20160503.121539.16117.4",
    "studies/1.3.6.1.4.1.5962.1.2.13.20040826185059.5457/series/1.3.6.1.4.1.5962.1.3.13.1.20040826185059.5457/instances"
    "/1.2.826.0.1.3680043.8.498.60462359955763750474035947786807696063",
    "studies/1.3.6.1.4.1.5962.1.2.1.20040119072730.12322/series/1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322/instances"
    "/1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322",
)


def opened(pacs: Orthanc, filters: str = "", timeout_s: float = 20.0) -> Source:
    return open_source(f"{pacs.uri}{filters}", object_timeout_s=timeout_s, dicomweb=FAST)


@pytest.fixture
def filled(pacs: Orthanc) -> Orthanc:
    pacs.store(FILES)
    return pacs


def test_it_lists_and_reads_the_files_byte_for_byte(pacs: Orthanc) -> None:
    pacs.upload(FILES)
    source = opened(pacs)
    check_readable(source)
    assert {info.key for info in source.list()} == {LOOP, STILL, CT}
    for key, path in zip((LOOP, STILL, CT), FILES, strict=True):
        data, info = source.read_versioned(key)
        assert source.stat(key) == info
        assert data == path.read_bytes()
        assert source.read_range(key, 100, 500) == data[100:600]
        assert source.read_range(key, len(data) - 5, 500) == data[-5:]


def test_files_that_came_over_dimse_keep_their_transfer_syntax(filled: Orthanc) -> None:
    loop = dcmread(io.BytesIO(opened(filled).read(LOOP)))
    assert loop.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert get_frame(loop.PixelData, 14) == get_frame(dcmread(FILES[0]).PixelData, 14)


@pytest.mark.parametrize(
    ("filters", "keys"),
    [
        ("?ModalitiesInStudy=US", {LOOP, STILL}),
        ("?StudyDate=20160101-20161231", {LOOP}),
        ("?ModalitiesInStudy=US&SOPInstanceUID=" + LOOP.rpartition("/")[2], {LOOP}),
        ("?PatientID=nobody", set()),
    ],
)
def test_filters_choose_studies_and_instances(filled: Orthanc, filters: str, keys: set[str]) -> None:
    source = opened(filled, filters)
    assert {info.key for info in source.list()} == keys
    assert isinstance(source, HeaderSource)
    assert {info.key for info, _, _ in source.list_headers()} == keys


def test_headers_come_without_reading_the_instances(filled: Orthanc) -> None:
    source = opened(filled)
    assert isinstance(source, HeaderSource)
    headers = {info.key: header for info, header, _ in source.list_headers()}
    assert set(headers) == {LOOP, STILL, CT}
    assert headers[LOOP].NumberOfFrames == 30
    assert headers[LOOP].SequenceOfUltrasoundRegions[0].RegionLocationMinX0 == 84
    assert "PixelData" not in headers[LOOP]


def test_a_prefix_lists_one_study(filled: Orthanc) -> None:
    source = opened(filled)
    study = LOOP.partition("/series")[0]
    assert [info.key for info in source.list(study)] == [LOOP]
    assert list(source.list("studies/1.2.3")) == []


def test_what_is_not_there_is_not_found(filled: Orthanc) -> None:
    source = opened(filled)
    for key in (LOOP[:-1] + "9", "studies/1/series/2/instances/3", "a.dcm"):
        assert source.stat(key) is None
        with pytest.raises(ItemError) as caught:
            source.read(key)
        assert caught.value.code is FailureCode.NOT_FOUND


def test_a_study_that_was_deleted_is_not_found(filled: Orthanc) -> None:
    source = opened(filled)
    filled.delete_study(LOOP.split("/")[1])
    with pytest.raises(ItemError) as caught:
        source.read(LOOP)
    assert caught.value.code is FailureCode.NOT_FOUND
    assert {info.key for info in source.list()} == {STILL, CT}


def test_a_file_over_the_limit_is_refused(filled: Orthanc) -> None:
    source = opened(filled)
    size = len(source.read(LOOP))
    assert len(source.read(LOOP, max_bytes=size)) == size
    with pytest.raises(ItemError) as caught:
        source.read(LOOP, max_bytes=size - 1)
    assert caught.value.code is FailureCode.TOO_LARGE


def refusal(source: Source) -> str:
    with pytest.raises(DiagchdBatchError) as caught:
        check_readable(source)
    return str(caught.value)


def test_a_wrong_password_is_refused_at_once(filled: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGCHD_DICOMWEB_PASSWORD", "wrong-password")
    text = refusal(opened(filled, "?PatientID=someone"))
    assert "refuses the credentials" in text and "DIAGCHD_DICOMWEB_USER" in text
    assert "wrong-password" not in text and "someone" not in text
    monkeypatch.delenv("DIAGCHD_DICOMWEB_PASSWORD")
    monkeypatch.delenv("DIAGCHD_DICOMWEB_USER")
    assert "needs some" in refusal(opened(filled))


def test_a_wrong_path_is_refused_at_once(filled: Orthanc) -> None:
    wrong = open_source(filled.uri.replace("/dicom-web", "/elsewhere"), dicomweb=FAST)
    assert "no DICOMweb service (QIDO-RS) at this path" in refusal(wrong)
    page = open_source(filled.uri.replace("/dicom-web", "/app/explorer.html?x=1".partition("?")[0]), dicomweb=FAST)
    assert "input.uri" in refusal(page)


def test_a_server_that_is_not_there_is_refused_after_the_time_limit(filled: Orthanc, tmp_path: Path) -> None:
    with Orthanc(tmp_path / "other") as other:
        source = opened(other, timeout_s=0.5)
        other.kill()
        assert "did not answer in time" in refusal(source)
    shutil.rmtree(tmp_path / "other", ignore_errors=True)


def long_loop(syntax: UID) -> bytes:
    """Return a loop of 20 frames of noise, of more than 1 MiB."""
    noise = np.random.default_rng(3).integers(0, 256, (20, 240, 320, 3), dtype=np.uint8)
    uids = {"StudyInstanceUID": "2.25.11", "SeriesInstanceUID": "2.25.12", "SOPInstanceUID": "2.25.13"}
    dataset = colour(noise, "YBR_FULL" if syntax == JPEGBaseline8Bit else "RGB", FrameTime="40", PatientID="A", **uids)
    if syntax != JPEGBaseline8Bit:
        return written(dataset, syntax)
    return compressed(dataset, [imagecodecs.jpeg8_encode(frame, level=95) for frame in noise], syntax)


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_the_middle_frame_of_a_loop_is_transferred_alone(
    pacs: Orthanc, syntax: UID, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loop.dcm"
    path.write_bytes(long_loop(syntax))
    pacs.upload([path])
    (info,) = opened(pacs).list()
    n_bytes = 0

    def counted(*arguments: Any) -> Iterator[bytes]:
        nonlocal n_bytes
        for chunk in connection.read_body(*arguments):
            n_bytes += len(chunk)
            yield chunk

    monkeypatch.setattr(dicomweb_source, "read_body", counted)
    monkeypatch.setattr(frame_requests, "read_body", counted)

    def read(source: Source, image: PlannedImage, rule: str = "middle") -> Any:
        decoder = InProcessDecoder(DecodeSettings(DecodeLimits(), 24, 32, None), ByteBudget(1 << 30))
        return list(FileReader(source, rule, 1 << 30).read(image, decoder))

    (planned,) = plan_files(tmp_path, {"loop.dcm": path.read_bytes()})
    in_pacs = replace(planned, uri=info.key, size_bytes=None, etag=None, modified_ns=None)
    frame, record = read(opened(pacs), in_pacs)
    assert 0 < n_bytes < path.stat().st_size / 5
    frame_of_file, record_of_file = read(open_source(str(tmp_path)), planned)
    assert (record.digest_of, record.sha256) == (record_of_file.digest_of, record_of_file.sha256)
    assert (frame.frame, frame.error, frame.source_frames) == (10, None, 20)
    assert (frame_of_file.frame, frame_of_file.decoded.metadata) == (10, frame.decoded.metadata)
    np.testing.assert_array_equal(frame.decoded.image_hwc_u8, frame_of_file.decoded.image_hwc_u8)
    n_bytes = 0
    assert read(opened(pacs), in_pacs, "all")[-1].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert n_bytes > path.stat().st_size
