"""`export dicom` to a PACS: every object is read back, and whatever a server loses or changes is found."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import ImplicitVRLittleEndian

from diagchd_batch.exports.dicom.storing import pacs as storing_pacs
from diagchd_batch.exports.dicom.storing.dataset_differences import differences
from diagchd_batch.sources.request_permits import PermitBook
from tests.support.command_line import Ended, diagchd_batch
from tests.support.scored_dicom import CLIP, STILL, ScoredDicom, example, file_bytes, scored_dicom
from tests.unit.exports.dicom.fake_pacs import FakePacs, Refused

STUDIES = {"A": {"clip.dcm": example(CLIP)}, "B": {"still": example(STILL)}}

FAST = {"max_requests_per_second": 10_000.0, "max_requests_in_flight": 7}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ScoredDicom:
    return scored_dicom(tmp_path_factory.mktemp("scored"), STUDIES, frames=[3, 20], dicomweb=FAST)


@pytest.fixture
def pacs() -> Iterator[FakePacs]:
    with FakePacs().running() as server:
        yield server


def export(made: ScoredDicom, uri: str, *options: str) -> Ended:
    return diagchd_batch("export", "dicom", made.output.uri, uri, *options)


def sent(made: ScoredDicom, pacs: FakePacs, *options: str, exit_code: int = 0) -> dict[str, Any]:
    ended = export(made, pacs.uri, "--yes", "--json", *options)
    assert ended.exit_code == exit_code, ended.messages
    return {**json.loads(ended.printed), "messages": ended.messages}


def test_objects_in_the_pacs_are_those_of_a_folder(made: ScoredDicom, pacs: FakePacs, tmp_path: Path) -> None:
    done = sent(made, pacs)
    assert (done["n_stored"], done["failed"]) == ({"seg": 3, "sr": 2}, [])
    diagchd_batch("export", "dicom", made.output.uri, str(tmp_path / "folder"))
    in_folder = {path.read_bytes() for path in (tmp_path / "folder").rglob("*.dcm")}
    assert {data for _, _, data in pacs.objects.values()} == in_folder and pacs.n_stores == 1


def test_the_limits_on_requests_are_those_of_the_job(
    made: ScoredDicom, pacs: FakePacs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[int, float]] = []

    def recorded(in_flight: int, per_second: float) -> PermitBook:
        limits.append((in_flight, per_second))
        return PermitBook(in_flight, 10_000)

    monkeypatch.setattr(storing_pacs, "PermitBook", recorded)
    sent(made, pacs, "--study", made.tokens.study("B"))
    sent(scored_dicom(tmp_path, {"B": STUDIES["B"]}), pacs)
    assert limits == [(7, 10_000.0), (4, 10.0)]


def test_nothing_is_sent_without_yes(made: ScoredDicom, pacs: FakePacs) -> None:
    still = ("--study", made.tokens.study("B"))
    ended = export(made, pacs.uri, *still)
    assert ended.exit_code == 0 and "add --yes" in ended.messages and pacs.n_stores == 0
    sent(made, pacs, *still)
    ended = export(made, pacs.uri, "--json", *still)
    assert json.loads(ended.printed)["n_there"] == 2 and pacs.n_stores == 1


def test_a_second_export_sends_nothing(made: ScoredDicom, pacs: FakePacs) -> None:
    sent(made, pacs)
    done = sent(made, pacs)
    assert (done["n_stored"], done["n_there"], pacs.n_stores) == ({}, 5, 1)


def test_an_object_that_is_lost_in_silence_is_sent_again(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.keeps = lambda dataset, n_before: None if dataset.Modality == "SR" and n_before == 0 else dataset
    done = sent(made, pacs)
    assert (done["n_stored"], done["failed"]) == ({"seg": 3, "sr": 2}, [])
    assert sorted(map(pacs.arrived.count, set(pacs.arrived))) == [1, 1, 1, 2, 2]


def test_objects_that_the_pacs_never_keeps_are_reported(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.keeps = lambda dataset, n_before: None if dataset.Modality == "SR" else dataset
    done = sent(made, pacs, exit_code=1)
    assert done["n_stored"] == {"seg": 3} and len(done["failed"]) == 2
    assert "accepted it and does not hold it" in done["messages"]
    for dataset in (pydicom.dcmread(io.BytesIO(files[name])) for files in STUDIES.values() for name in files):
        assert str(dataset.PatientID) not in done["messages"] and dataset.StudyInstanceUID not in done["messages"]
    pacs.keeps = lambda dataset, n_before: dataset
    done = sent(made, pacs)
    assert (done["n_stored"], done["n_there"]) == ({"sr": 2}, 3)


def test_a_pacs_that_stores_nothing_and_says_ok_is_found_out(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.keeps = lambda dataset, n_before: None
    done = sent(made, pacs, "--study", made.tokens.study("B"), exit_code=1)
    assert done["n_stored"] == {} and len(done["failed"]) == 2


def test_the_reason_of_a_refusal_is_told(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.keeps = lambda dataset, n_before: Refused(0x0122) if dataset.Modality == "SEG" else dataset
    done = sent(made, pacs, exit_code=1)
    assert done["n_stored"] == {"sr": 2} and "failure reason 0x0122" in done["messages"]


@pytest.mark.parametrize(
    "said",
    [
        b"[" * 100_000,
        b'{"00081198": ' + b"9" * 5_000 + b"}",
        b'{"00081198": null}',
        b'{"00081198": {"Value": 5}}',
        b'[{"00081198": {"Value": [null, {"00081155": {"Value": [[]]}, "00081197": {"Value": [[]]}}]}}]',
        b"\xff\xfe",
    ],
    ids=lambda said: said[:20],
)
def test_an_answer_that_nobody_can_understand_changes_nothing(made: ScoredDicom, pacs: FakePacs, said: bytes) -> None:
    pacs.says = said
    done = sent(made, pacs, "--study", made.tokens.study("B"))
    assert (done["n_stored"], done["failed"]) == ({"seg": 1, "sr": 1}, [])


@pytest.mark.parametrize("reason", [10**4_000, -1, [[]], "x" * 10_000], ids=["huge", "negative", "list", "text"])
def test_an_impossible_reason_of_a_refusal_is_told_in_few_words(
    made: ScoredDicom, pacs: FakePacs, reason: object
) -> None:
    pacs.keeps = lambda dataset, n_before: Refused(reason)
    done = sent(made, pacs, "--study", made.tokens.study("B"), exit_code=1)
    assert len(done["failed"]) == 2 and len(done["messages"]) < 3_000


def test_an_object_that_the_pacs_changes_is_reported(made: ScoredDicom, pacs: FakePacs) -> None:
    def flips_a_pixel(dataset: Dataset, n_before: int) -> Dataset:
        if dataset.Modality == "SEG":
            dataset.PixelData = bytes([dataset.PixelData[0] ^ 1]) + dataset.PixelData[1:]
        return dataset

    pacs.keeps = flips_a_pixel
    done = sent(made, pacs, exit_code=1)
    assert done["n_stored"] == {"sr": 2} and "other values of PixelData" in done["messages"]
    assert len(pacs.arrived) == 5  # to send it again would not help


def test_what_a_pacs_adds_is_no_difference(made: ScoredDicom, pacs: FakePacs) -> None:
    def adds(dataset: Dataset, n_before: int) -> Dataset:
        dataset.InstanceAvailability = "ONLINE"
        dataset.add_new(0x00091001, "LO", "of the PACS")
        if dataset.Modality == "SEG":
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        return dataset

    pacs.keeps = adds
    assert sent(made, pacs)["failed"] == []


def test_a_server_that_is_busy_for_a_while_gets_everything(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.statuses = [503, 429]
    assert sent(made, pacs)["n_stored"] == {"seg": 3, "sr": 2}


def test_one_object_that_is_too_large_keeps_no_other_out(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.statuses = [413, 413]  # the batch, and its first object
    study = made.tokens.study("B")
    done = sent(made, pacs, "--study", study)
    assert (done["n_stored"], done["failed"]) == ({"seg": 1, "sr": 1}, [])  # the first object came through later
    pacs.objects.clear()
    pacs.statuses = [413] * 100
    done = sent(made, pacs, "--study", study, exit_code=1)
    assert len(done["failed"]) == 2 and "HTTP 413" in done["messages"]


def test_refused_credentials_end_the_export(made: ScoredDicom, pacs: FakePacs) -> None:
    pacs.statuses = [401]
    ended = export(made, pacs.uri, "--yes")
    assert ended.exit_code == 1 and "credentials" in ended.messages


@pytest.mark.parametrize(
    "uri", ["dicomweb+http://pacs.example/dicom-web", "dicomweb+https://pacs.example/dicom-web?PatientID=1"]
)
def test_addresses_that_must_not_be_sent_to_are_refused(made: ScoredDicom, uri: str) -> None:
    assert export(made, uri, "--yes").exit_code == 2


def test_differences_are_found_on_every_level() -> None:
    one = pydicom.dcmread(io.BytesIO(example(CLIP)))
    assert differences(one, pydicom.dcmread(io.BytesIO(file_bytes(one)))) == []
    other = pydicom.dcmread(io.BytesIO(example(CLIP)))
    other.PatientName = "another"
    del other.SeriesNumber
    other.SequenceOfUltrasoundRegions[0].RegionLocationMinX0 += 1
    assert differences(one, other) == [
        "PatientName", "SequenceOfUltrasoundRegions.RegionLocationMinX0", "SeriesNumber",
    ]  # fmt: skip
    del other.SequenceOfUltrasoundRegions
    assert "SequenceOfUltrasoundRegions" in differences(one, other)
