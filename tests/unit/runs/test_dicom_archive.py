"""A folder of DICOM files as archives have them: indexed, planned, scored, evaluated, verified, continued, deleted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import UID

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, InputError, UsageError
from diagchd_batch.results.columns.comparison_tables import TABLES as COMPARISONS
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.query.database import open_query
from diagchd_batch.results.run_record import Selection
from diagchd_batch.results.verify.one_run import verify_run
from diagchd_batch.runs import submit
from diagchd_batch.runs.compare import compare
from diagchd_batch.runs.delete import delete
from diagchd_batch.runs.plan import preview_job
from diagchd_batch.runs.show import show
from diagchd_batch.runs.submit import SubmitOptions
from diagchd_batch.scoring.driver import ray_data
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.workspace import Workspace
from tests.support.dicom_archives import dicom_file, ultrasound_header
from tests.unit.scoring.driver.test_run_job import OneMachine, Silent, score_here
from tests.unit.scoring.made_inputs import png

SR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.88.33")
DICOMDIR_STORAGE = UID("1.2.840.10008.1.3.10")


def image(number: int, study: str, patient: str | None = "4711", **values: Any) -> bytes:
    """Return an ultrasound image of 16 × 16 pixels."""
    header = ultrasound_header(
        number,
        StudyInstanceUID=UID(study),
        Rows=16,
        Columns=16,
        PixelData=bytes([10 * number] * 256),
        IssuerOfPatientID="North" if patient else "",
        **values,
    )
    header.PatientID = patient or ""
    return dicom_file(header)


def screenshot(number: int, screen_hw_u8: np.ndarray) -> bytes:
    """Return an ultrasound image with these pixels, the only one of its study."""
    height, width = screen_hw_u8.shape
    study, pixels = UID(f"1.8.{number}"), screen_hw_u8.tobytes()
    header = ultrasound_header(
        number, StudyInstanceUID=study, Rows=height, Columns=width, BodyPartExamined="HEART", PixelData=pixels
    )
    return dicom_file(header)


def other(sop_class: UID, number: int) -> bytes:
    header = ultrasound_header(number, SOPClassUID=sop_class)
    del header.Rows, header.Columns
    return dicom_file(header)


class Archive:
    """A folder with two studies of one patient, one of nobody, and everything else that such folders hold."""

    def __init__(self, root: Path, **settings: Any) -> None:
        self.root = root / "archive"
        for key, data in {
            "IM_0001": image(1, "1.7.1", AccessionNumber="A1"),
            "deep/er/IM0002.dcm": image(2, "1.7.1", AccessionNumber="A1"),
            "scan": image(3, "1.7.2", AccessionNumber="A2"),
            "copy of scan": image(3, "1.7.2", AccessionNumber="A2"),
            "unnamed.dcm": image(4, "1.7.3", patient=None),
            "report.dcm": other(SR_STORAGE, 5),
            "DICOMDIR": other(DICOMDIR_STORAGE, 6),
            "picture.dcm": png(80),
            "notes.txt": b"nothing",
            "damaged.dcm": image(7, "1.7.4")[:150] + b"\xff" * 60,
            ".hidden.dcm": image(8, "1.7.5"),
        }.items():
            self.add(key, data)
        (root / "reference.csv").write_text("accession_number,label\nA1,1\nA2,0\nA9,0\n")
        self.config = JobConfig.model_validate(
            {
                "input": {"uri": str(self.root), "layout": "dicom", **settings},
                "model": {"name": "diagchd-compact", "weights": "seed:0"},
                "output": {"uri": str(root / "out")},
                "evaluation": {"reference": str(root / "reference.csv"), "resamples": 100},
            }
        )
        self.output = Workspace.open(self.config.output.uri, environ={})

    def add(self, key: str, data: bytes) -> None:
        path = self.root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def submit(self, selection: Selection = "all") -> RunOutcome:
        options = SubmitOptions(self.config, {}, ["submit"], RunRequest(selection=selection), None)
        return submit.submit_here(options, Silent()).outcome

    def change_input(self, **changes: Any) -> None:
        changed = self.config.model_dump() | {"input": self.config.input.model_dump() | changes}
        self.config = JobConfig.model_validate(changed)

    def rows(self, sql: str) -> list[dict[str, Any]]:
        database = open_query(self.output, TABLES, comparisons=COMPARISONS, may_name_patients=True)
        return database.table(sql).to_pylist()

    def problems(self, run_id: str) -> list[Any]:
        plan = open_plan(self.output.private, run_id)
        return list(verify_run(self.output.storage, self.output.private, plan, run_id).problems)


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Archive]:
    monkeypatch.setattr(ray_data, "run_shards", score_here)
    monkeypatch.setattr(submit, "LocalCluster", lambda *_: OneMachine())
    return lambda **settings: Archive(tmp_path, **settings)


def test_a_folder_of_dicom_files_is_scored_as_its_headers_say(archive: Callable[..., Archive]) -> None:
    made = archive()
    outcome = made.submit()
    assert outcome.counts is not None
    assert (outcome.counts.n_images, outcome.counts.n_ok, dict(outcome.counts.failures)) == (5, 4, {"decode_error": 1})
    assert made.problems(outcome.run_id) == []
    head = open_plan(made.output.private, outcome.run_id).head
    assert head.objects is not None
    assert head.objects.not_planned == {"not DICOM": 2, "Comprehensive SR Storage": 1, "DICOMDIR": 1}
    assert (head.objects.n_copies, head.objects.n_unreadable) == (1, 1)
    studies = {row["source_study_id"]: row for row in made.rows("SELECT * FROM studies")}
    assert {study: row["source_subject_id"] for study, row in studies.items()} == {
        "1.7.1": "4711^^^North",
        "1.7.2": "4711^^^North",
        "1.7.3": None,
        "file:damaged.dcm": None,
    }
    preview = preview_job(made.config, {})
    assert preview.headers_listed_at is not None
    assert (preview.run_id, preview.images_left, preview.head.objects) == (outcome.run_id, 0, head.objects)
    assert (preview.matches["reference"].n_matched, len(preview.matches["reference"].unmatched_ids)) == (2, 1)
    labels = made.rows("SELECT source_study_id, reference_label FROM study_results JOIN studies USING (study_id)")
    assert {row["source_study_id"]: row["reference_label"] for row in labels if row["reference_label"] is not None} == {
        "1.7.1": 1,
        "1.7.2": 0,
    }


def test_a_plan_needs_the_index_which_submit_makes(archive: Callable[..., Archive]) -> None:
    made = archive()
    with pytest.raises(UsageError, match=r"does not have yet; make it with the command `index`"):
        preview_job(made.config, {})
    made.submit()
    another = made.config.model_dump() | {"input": {"uri": str(made.root / "deep"), "layout": "dicom"}}
    made.config = JobConfig.model_validate(another)
    n_indexed = len(made.rows("SELECT * FROM headers"))
    with pytest.raises(ConfigError, match="--input-moved"):
        made.submit()
    assert len(made.rows("SELECT * FROM headers")) == n_indexed > 1


@pytest.mark.slow
def test_only_new_objects_are_scored_again_whatever_their_files_are_called(archive: Callable[..., Archive]) -> None:
    made = archive()
    first = made.submit()
    assert made.submit().repeated
    made.add("another copy", image(1, "1.7.1", AccessionNumber="A1"))
    assert made.submit("new").nothing_selected
    made.add("new", image(9, "1.7.1"))
    assert made.submit().n_new_images == 1
    second = made.submit("new")
    assert second.counts is not None
    assert (second.counts.n_images, made.problems(second.run_id)) == (1, [])
    assert first.run_id != second.run_id
    retried = made.submit("failed")
    assert retried.counts is not None
    assert retried.counts.n_images == 1


def test_a_subject_is_shown_and_deleted_by_its_patient_id(archive: Callable[..., Archive]) -> None:
    made = archive()
    outcome = made.submit()
    shown = show(made.output, "4711")
    assert {study.source_study_id for study in shown.studies} == {"1.7.1", "1.7.2"}
    assert len(shown.results) == 3
    assert show(made.output, "1.7.1").studies == [study for study in shown.studies if study.source_study_id == "1.7.1"]
    (token,) = {study.subject_id for study in shown.studies}
    answer = delete(made.output, subject="4711", confirmed=True)
    assert answer.deletion is not None
    assert (answer.deletion.n_studies, answer.deletion.n_images) == (2, 3)
    assert made.problems(outcome.run_id) == []
    assert not made.rows(f"SELECT * FROM predictions WHERE subject_id = '{token}'")
    assert not made.rows("SELECT * FROM headers WHERE patient_id = '4711'")


@pytest.mark.slow
def test_filters_are_part_of_what_a_run_is(archive: Callable[..., Archive]) -> None:
    made = archive()
    whole = made.submit()
    made.change_input(filter={"modality": ["CT", "us"]})
    filtered = made.submit()
    assert filtered.run_id != whole.run_id
    assert filtered.counts == whole.counts
    made.change_input(filter={"modality": ["CT"]})
    nearly_empty = made.submit()
    assert nearly_empty.counts is not None
    assert (nearly_empty.counts.n_images, nearly_empty.counts.n_failed) == (1, 1)  # the file that cannot be read
    flow = made.rows(f"SELECT note FROM flow WHERE run_id = '{nearly_empty.run_id}' AND name = 'left_out'")
    assert {"note": "input.filter.modality left out 3 studies before planning"} in flow


def test_an_ambiguous_accession_number_is_refused_before_anything_is_scored(archive: Callable[..., Archive]) -> None:
    made = archive()
    made.add("another study", image(11, "1.7.9", AccessionNumber="A1"))
    with pytest.raises(InputError, match=r"evaluation\.reference, line 2: the accession number belongs to several"):
        made.submit()
    assert not list(made.output.storage.list("scores"))
    made.change_input(layout="tree")
    with pytest.raises(InputError, match="which only layout dicom reads"):
        made.submit()


@pytest.mark.slow
def test_runs_of_the_whole_screen_and_of_the_sector_alone_are_compared(archive: Callable[..., Archive]) -> None:
    made = archive(filter={"modality": ["US"], "body_part": ["HEART"]})
    generator = np.random.default_rng(0)
    for number in range(20, 24):
        screen = np.zeros((240, 320), np.uint8)
        screen[30:190, 60:250] = generator.integers(20, 200, (160, 190))
        made.add(f"screen {number}", screenshot(number, screen))
    whole = made.submit().run_id
    made.change_input(region="found")
    found = made.submit().run_id
    assert found.split("-")[0] != whole.split("-")[0]  # another fingerprint
    rows = made.rows(f"SELECT * FROM predictions WHERE run_id = '{found}' AND status = 'ok'")
    assert len(rows) == 4 and {row["region_source"] for row in rows} == {"found"}
    for row in rows:
        top, left, height, width = (row[f"region_{name}"] for name in ("top", "left", "height", "width"))
        assert 22 <= top <= 31 and 52 <= left <= 61 and 155 <= height <= 176 and 185 <= width <= 206
    assert made.problems(found) == []
    compare(Workspace.open(made.config.output.uri, environ={}), whole, found, config=made.config.evaluation)
    notes = made.rows("SELECT note FROM comparison_flow WHERE name = 'difference'")
    assert notes == [{"note": "input.region: whole in the first run, found in the second"}]
