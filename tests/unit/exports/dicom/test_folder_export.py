"""`export dicom` to a folder: what it writes, what it leaves alone, and what it refuses."""

import io
import json
import os
import stat
from pathlib import Path
from typing import Any
from unittest import mock

import highdicom
import numpy as np
import pydicom
import pytest
from PIL import Image

from diagchd_batch import output_layout
from diagchd_batch.exports.destinations import MARKER
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.model.packages.decision_files import PackageDecisions
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from diagchd_batch.runs.export import write_dicom
from diagchd_batch.storage.local import LocalStore
from diagchd_batch.workspace import Workspace
from tests.support.command_line import Ended, diagchd_batch
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy
from tests.support.scored_dicom import CLIP, STILL, ScoredDicom, example, scored_dicom

STUDIES = {
    "A": {"clip.dcm": example(CLIP)},
    "B": {"still": example(STILL), "other": example(STILL, SOPInstanceUID="1.2.3")},
}
FRAMES = (3, 20)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> ScoredDicom:
    return scored_dicom(tmp_path_factory.mktemp("scored"), STUDIES, frames=FRAMES)


def export(made: ScoredDicom, destination: Path | str, *options: str) -> Ended:
    return diagchd_batch("export", "dicom", made.output.uri, str(destination), *options)


def summary(made: ScoredDicom, destination: Path | str, *options: str) -> dict[str, Any]:
    ended = export(made, destination, "--json", *options)
    assert ended.exit_code == 0, ended.messages
    return json.loads(ended.printed)


def objects(destination: Path, name: str = "*") -> list[Path]:
    return sorted(destination.glob(f"*/*/{name}.dcm"))


def contents(destination: Path) -> dict[str, bytes]:
    return {str(path.relative_to(destination)): path.read_bytes() for path in objects(destination)}


def test_every_scored_frame_has_a_segmentation_and_every_image_a_report(made: ScoredDicom, tmp_path: Path) -> None:
    destination = tmp_path / "dest"
    done = summary(made, destination, "--secondary-capture")
    assert done["n_stored"] == {"seg": 4, "sc": 4, "sr": 3} and (done["n_studies"], done["n_images"]) == (2, 3)
    clip = made.tokens.image("A/clip.dcm")
    names = [path.name for path in objects(destination) if clip in path.name]
    assert names == sorted(
        [f"{clip}-{frame:05d}-{kind}.dcm" for frame in FRAMES for kind in ("sc", "seg")] + [f"{clip}-sr.dcm"]
    )
    study = pydicom.dcmread(io.BytesIO(STUDIES["A"]["clip.dcm"]), stop_before_pixels=True)
    for path in objects(destination, f"{clip}*"):
        dataset = pydicom.dcmread(path)
        assert (dataset.StudyInstanceUID, dataset.PatientID) == (study.StudyInstanceUID, study.PatientID)
    assert "name patients" in export(made, destination).messages


def test_a_report_has_the_study_s_score_with_the_calibration_of_the_package(tmp_path: Path) -> None:
    made = scored_dicom(tmp_path, {"A": {"1.dcm": example(STILL), "2.dcm": example(STILL, SOPInstanceUID="1.2.3")}})
    record = read_private_run_record(made.private, RUN_ID)
    assert record is not None
    calibration = {"method": "temperature", "slope": 0.5, "study_score": "mean", "note": "", "measured": []}
    decisions = PackageDecisions.model_validate({"calibration": calibration})
    model = record.model.model_copy(update={"decisions": decisions})
    write_run_record(made.output, made.private, record.model_copy(update={"model": model}))
    summary(made, tmp_path / "dest")
    probabilities = [row["chd_probability"] for row in made.scores()]
    score = sum(probabilities) / 2
    calibrated = 1 / (1 + (score / (1 - score)) ** -0.5)
    for path in objects(tmp_path / "dest", "*-sr"):
        content = highdicom.sr.srread(path).content
        assert isinstance(content, highdicom.sr.MeasurementReport)
        measured = [one.value for one in content.get_image_measurement_groups()[0].get_measurements()]
        assert measured == pytest.approx([score, calibrated], abs=2e-6)
    assert len(objects(tmp_path / "dest", "*-sr")) == 2


def test_progress_is_told_after_each_image_an_unusable_one_included(tmp_path: Path) -> None:
    made = scored_dicom(tmp_path, STUDIES)
    (tmp_path / "archive" / "B" / "other").unlink()
    told: list[tuple[int, int, int, int]] = []
    write_dicom(
        Workspace.open(made.output.uri),
        str(tmp_path / "dest"),
        on_progress=lambda n, n_all, done: told.append((n, n_all, sum(done.n_stored.values()), len(done.unusable))),
    )
    assert [(n, n_all) for n, n_all, _, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][2:] == (4, 1)


def test_segments_are_the_masks_of_the_scores(made: ScoredDicom, tmp_path: Path) -> None:
    summary(made, tmp_path / "dest")
    rows = {(row["image_id"], row["frame"]): row for row in made.scores()}
    assert len(rows) == 4
    for (image_id, frame), row in rows.items():
        (path,) = (tmp_path / "dest").glob(f"*/*/{image_id}-{frame:05d}-seg.dcm")
        segments = pydicom.dcmread(path).pixel_array
        labels = segments[0] + 2 * segments[1]
        committed = decode_mask(row["mask_png"])
        assert labels.shape == (240, 320) == (row["source_height"], row["source_width"])
        assert np.array_equal(resize_labels(labels, *committed.shape), committed)  # there and back


def test_the_mask_of_a_region_lies_where_the_region_was_scored(tmp_path: Path) -> None:
    top, left, height, width = 30, 100, 160, 200
    region = {"region_top": top, "region_left": left, "region_height": height, "region_width": width}
    made = scored_dicom(tmp_path, {"B": {"still": example(STILL)}}, values=region)
    summary(made, tmp_path / "dest")
    (row,) = made.scores()
    segments = pydicom.dcmread(objects(tmp_path / "dest", "*-seg")[0]).pixel_array
    labels = segments[0] + 2 * segments[1]
    wanted = resize_labels(decode_mask(row["mask_png"]), height, width)
    assert np.array_equal(labels[top : top + height, left : left + width], wanted)
    labels[top : top + height, left : left + width] = 0
    assert not labels.any()
    diagchd_batch("export", "png", made.output.uri, str(tmp_path / "png"))
    with Image.open(next((tmp_path / "png").rglob("*.png"))) as picture:
        assert np.array_equal(np.asarray(picture), segments[0] + 2 * segments[1])


def test_captures_show_the_frame_that_was_scored(made: ScoredDicom, tmp_path: Path) -> None:
    summary(made, tmp_path / "dest", "--secondary-capture")
    clip = made.tokens.image("A/clip.dcm")
    source = pydicom.dcmread(io.BytesIO(STUDIES["A"]["clip.dcm"])).pixel_array
    for frame in FRAMES:
        (path,) = (tmp_path / "dest").glob(f"*/*/{clip}-{frame:05d}-sc.dcm")
        picture = pydicom.dcmread(path).pixel_array[:240].astype(int)
        wanted = source[frame].astype(int)
        differs = (np.abs(picture - wanted) > 8).any(axis=2)  # decoders of JPEG differ a little
        assert 0.001 < differs.mean() < 0.03  # the outlines


def test_a_second_export_writes_nothing(made: ScoredDicom, tmp_path: Path) -> None:
    destination = tmp_path / "dest"
    summary(made, destination)
    before = {path: path.stat() for path in objects(destination)}
    done = summary(made, destination)
    assert (done["n_stored"], done["n_there"]) == ({}, 7)
    assert {path: path.stat().st_mtime_ns for path in objects(destination)} == {
        path: status.st_mtime_ns for path, status in before.items()
    }
    elsewhere = tmp_path / "elsewhere"
    summary(made, elsewhere)
    assert contents(elsewhere) == contents(destination)


def test_an_export_that_was_killed_goes_on(made: ScoredDicom, tmp_path: Path) -> None:
    destination = tmp_path / "dest"
    create = LocalStore.create
    n_created = 0

    def dies(store: LocalStore, key: str, data: bytes) -> bool:
        nonlocal n_created
        n_created += key.endswith(".dcm")
        if n_created > 3:
            raise KeyboardInterrupt
        return create(store, key, data)

    with mock.patch.object(LocalStore, "create", dies):
        assert export(made, destination).exit_code == 130
    assert len(objects(destination)) == 3
    done = summary(made, destination)
    assert (done["n_there"], sum(done["n_stored"].values())) == (3, 4)


def test_a_dry_run_writes_nothing(made: ScoredDicom, tmp_path: Path) -> None:
    destination = tmp_path / "dest"
    done = summary(made, destination, "--dry-run")
    assert done["n_stored"] == {"seg": 4, "sr": 3} and not destination.exists()
    summary(made, destination, "--study", made.tokens.study("A"))
    assert summary(made, destination, "--dry-run")["n_there"] == 3


def test_only_the_owner_can_read_the_objects(made: ScoredDicom, tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        summary(made, tmp_path / "dest")
    finally:
        os.umask(umask)
    for path in [tmp_path / "dest", *(tmp_path / "dest").rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


def test_studies_are_chosen_by_token_or_condition(made: ScoredDicom, tmp_path: Path) -> None:
    study = made.tokens.study("B")
    done = summary(made, tmp_path / "by token", "--study", study)
    assert {path.parent.name for path in objects(tmp_path / "by token")} == {study} and done["n_images"] == 2
    score = max(row["chd_probability"] for row in made.scores())
    (best,) = {row["study_id"] for row in made.scores() if row["chd_probability"] == score}
    summary(made, tmp_path / "by score", "--where", f"chd_probability >= {score}")
    assert {path.parent.name for path in objects(tmp_path / "by score")} == {best}
    summary(made, tmp_path / "by two", "--study", "B", "--study", made.tokens.study("A"))  # an own id and a token
    assert len({path.parent for path in objects(tmp_path / "by two")}) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--study", "s-0123456789abcdef"], "s-0123456789abcdef"),
        (["--study", "another"], "--study 'another': no plan of this run"),
        (["--study", "s-0123456789abcdef", "--where", "true"], "give one of them"),
        (["--where", "chd_probability > 2"], "no scored frame in the chosen studies"),
        (["--where", "nonsense > 2"], "nonsense"),
        (["--run-id", "another"], "holds no run another"),
    ],
)
def test_a_choice_of_nothing_is_refused(made: ScoredDicom, tmp_path: Path, options: list[str], said: str) -> None:
    ended = export(made, tmp_path / "dest", *options)
    assert ended.exit_code == 2 and said in ended.messages
    assert objects(tmp_path / "dest") == []


def test_a_source_that_has_changed_is_refused_and_the_others_are_exported(tmp_path: Path) -> None:
    made = scored_dicom(tmp_path, STUDIES)
    (made.archive / "B/still").write_bytes(example(STILL, PatientID="another patient"))
    (made.archive / "B/other").unlink()
    ended = export(made, tmp_path / "dest", "--json")
    assert ended.exit_code == 3
    done = json.loads(ended.printed)
    assert {(one["image_id"], one["code"]) for one in done["unusable"]} == {
        (made.tokens.image("B/still"), "source_changed"),
        (made.tokens.image("B/other"), "not_found"),
    }
    assert done["n_stored"] == {"seg": 1, "sr": 1}
    assert "B/still" not in ended.messages + ended.printed


def test_pictures_that_are_no_dicom_have_no_study_to_return_to(tmp_path: Path) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(300)
    made = scored_dicom(tmp_path, {"A": {"picture.png": png}})
    ended = export(made, tmp_path / "dest")
    assert ended.exit_code == 2 and "export png" in ended.messages
    assert objects(tmp_path / "dest") == []


def test_an_object_without_a_study_gets_no_results(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(io.BytesIO(example(STILL)))
    del dataset.StudyInstanceUID
    buffer = io.BytesIO()
    dataset.save_as(buffer)
    made = scored_dicom(tmp_path, {"A": {"still": buffer.getvalue()}})
    ended = export(made, tmp_path / "dest")
    assert ended.exit_code == 3 and "decode_error" in ended.messages


def test_a_changed_file_of_an_earlier_export_is_kept_and_reported(made: ScoredDicom, tmp_path: Path) -> None:
    summary(made, tmp_path / "dest")
    path = objects(tmp_path / "dest", "*-seg")[0]
    path.write_bytes(b"changed")
    ended = export(made, tmp_path / "dest")
    assert ended.exit_code == 1 and "other contents" in ended.messages
    assert path.read_bytes() == b"changed"


def test_millimetres_of_the_scores_are_in_the_report(tmp_path: Path) -> None:
    values = {
        "heart_area_mm2": 431.25,
        "septum_area_mm2": 33.5,
        "whole_heart_area_mm2": 464.75,
        "septum_length_mm": 21.5,
    }
    made = scored_dicom(tmp_path, {"B": {"still": example(STILL)}}, values=values)
    summary(made, tmp_path / "dest")
    content = highdicom.sr.srread(objects(tmp_path / "dest", "*-sr")[0]).content
    assert isinstance(content, highdicom.sr.MeasurementReport)
    found = {
        (group.finding_type.meaning, one.name.meaning, one.unit.value): one.value
        for group in content.get_planar_roi_measurement_groups()
        for one in group.get_measurements()
    }
    assert found["Interventricular septum", "Area", "mm2"] == 33.5
    assert found["Heart", "Area", "mm2"] == 431.25
    (of_frame,) = content.get_image_measurement_groups()
    whole = {one.unit.value: one.value for one in of_frame.get_measurements() if one.name.value == "whole_heart_area"}
    assert whole["mm2"] == 464.75 and whole["{pixels}"] > 0
    assert found["Interventricular septum", "Length", "mm"] == 21.5


def test_identified_objects_stay_out_of_shareable_places(made: ScoredDicom, tmp_path: Path) -> None:
    output = Path(made.output.uri)
    other = MadeOutput(tmp_path / "another")
    other.write_run([MadeStudy("A", [[0.5]])])
    given_away = tmp_path / "given away"
    given_away.mkdir()
    (given_away / MARKER).write_text('{"kind": "shareable", "files": {}}')
    link = tmp_path / "link"
    link.symlink_to(output)
    tables = Path(other.output.uri)
    places = (output, output / "masks", output.parent, link / "masks", tables / "scores", tables, given_away / "masks")
    for place in places:
        ended = export(made, place)
        assert ended.exit_code == 2, (place, ended.messages)
    assert not list(output.rglob("*.dcm")) and not list(tmp_path.rglob("*.dcm"))
    for uri in ("s3://bucket/prefix", "https://pacs.example/dicom-web"):
        ended = export(made, uri)
        assert ended.exit_code == 2, ended.messages
    assert summary(made, output / output_layout.PRIVATE / "for the PACS")["n_images"] == 3


def test_a_folder_of_another_kind_is_left_alone(made: ScoredDicom, tmp_path: Path) -> None:
    summary(made, tmp_path / "dest", "--study", made.tokens.study("A"))
    assert diagchd_batch("export", "png", made.output.uri, str(tmp_path / "dest")).exit_code == 2
    (tmp_path / "dest" / "notes.txt").write_text("mine")
    assert export(made, tmp_path / "dest").exit_code == 2
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("mine")
    assert export(made, tmp_path / "used").exit_code == 2
    assert [path.name for path in (tmp_path / "used").iterdir()] == ["notes.txt"]


def test_excluded_studies_are_left_out(tmp_path: Path) -> None:
    made = scored_dicom(tmp_path, STUDIES)
    child = MadeOutput(tmp_path).write_run([MadeStudy("A", exclude_reason="no consent")], "later", parent=RUN_ID)
    done = summary(made, tmp_path / "dest", "--run-id", child)
    assert {path.parent.name for path in objects(tmp_path / "dest")} == {made.tokens.study("B")}
    assert {path.parent.parent.name for path in objects(tmp_path / "dest")} == {RUN_ID} and done["n_studies"] == 1


@pytest.mark.parametrize("digest_of", ["file", "frames"])
def test_what_was_scored_is_told_by_its_digest_and_not_by_its_date(tmp_path: Path, digest_of: str) -> None:
    made = scored_dicom(tmp_path, {"A": {"clip.dcm": example(CLIP)}}, frames=[15], digest_of=digest_of)
    path = made.archive / "A/clip.dcm"
    os.utime(path, (1, 1))
    assert summary(made, tmp_path / "dest")["n_stored"] == {"seg": 1, "sr": 1}
    dataset = pydicom.dcmread(path)
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=30))
    dataset.PixelData = pydicom.encaps.encapsulate(list(reversed(frames)))
    dataset.save_as(path)
    ended = export(made, tmp_path / "another")
    assert ended.exit_code == 3 and "source_changed" in ended.messages
