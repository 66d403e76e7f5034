"""`export dicom` into a real PACS: it keeps every object beside the images, as it was sent."""

import io
import json
from pathlib import Path
from typing import Any

import pydicom
import pytest

from diagchd_batch.exports.dicom.storing.dataset_differences import differences
from diagchd_batch.sources import open_source
from diagchd_batch.sources.dicomweb.address import instance_key
from tests.support.command_line import Ended, diagchd_batch
from tests.support.scored_dicom import CLIP, STILL, ScoredDicom, example, scored_dicom
from tests.support.servers_and_hosts.orthanc import Orthanc

pytestmark = pytest.mark.slow


@pytest.fixture
def made(tmp_path: Path) -> ScoredDicom:
    studies = {"A": {"clip.dcm": example(CLIP)}, "B": {"still": example(STILL)}}
    return scored_dicom(tmp_path, studies, frames=[3, 20])


def export(made: ScoredDicom, destination: str, *options: str) -> Ended:
    return diagchd_batch("export", "dicom", made.output.uri, destination, "--secondary-capture", *options)


def exported(made: ScoredDicom, destination: str, *options: str) -> dict[str, Any]:
    ended = export(made, destination, "--json", *options)
    assert ended.exit_code == 0, ended.messages
    return json.loads(ended.printed)


def tags(pacs: Orthanc, level: str) -> list[dict[str, Any]]:
    return [pacs.call("GET", f"/{level}/{name}")["MainDicomTags"] for name in pacs.call("GET", f"/{level}")]


def test_the_pacs_holds_every_object_beside_its_images(made: ScoredDicom, pacs: Orthanc, tmp_path: Path) -> None:
    pacs.upload(path for path in made.archive.rglob("*") if path.is_file())
    assert exported(made, pacs.uri)["n_stored"] == {"seg": 3, "sr": 2, "sc": 3}
    assert len(tags(pacs, "instances")) == 2  # nothing is sent without --yes
    done = exported(made, pacs.uri, "--yes")
    assert (done["n_stored"], done["failed"]) == ({"seg": 3, "sr": 2, "sc": 3}, [])
    assert len(tags(pacs, "patients")) == len(tags(pacs, "studies")) == 2
    modalities = sorted(series["Modality"] for series in tags(pacs, "series"))
    assert modalities == ["OT", "OT", "SEG", "SEG", "SR", "SR", "US", "US"]

    exported(made, str(tmp_path / "folder"))
    paths = list((tmp_path / "folder").rglob("*.dcm"))
    assert len(paths) == 8
    source = open_source(pacs.uri)
    for path in paths:
        sent = pydicom.dcmread(path)
        held = source.read(instance_key(sent.StudyInstanceUID, sent.SeriesInstanceUID, sent.SOPInstanceUID))
        assert differences(sent, pydicom.dcmread(io.BytesIO(held))) == []

    again = exported(made, pacs.uri, "--yes")
    assert (again["n_stored"], again["n_there"]) == ({}, 8)


def test_an_export_goes_on_after_the_pacs_lost_objects(made: ScoredDicom, pacs: Orthanc) -> None:
    exported(made, pacs.uri, "--yes")
    study = pydicom.dcmread(made.archive / "A/clip.dcm", stop_before_pixels=True).StudyInstanceUID
    pacs.delete_study(study)
    done = exported(made, pacs.uri, "--yes")
    assert (done["n_stored"], done["n_there"]) == ({"seg": 2, "sr": 1, "sc": 2}, 3)


def test_a_wrong_password_sends_nothing(made: ScoredDicom, pacs: Orthanc, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DIAGCHD_DICOMWEB_PASSWORD", "wrong")
    ended = export(made, pacs.uri, "--yes")
    assert ended.exit_code == 1 and "credentials" in ended.messages
    assert tags(pacs, "instances") == []
