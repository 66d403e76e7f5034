"""The cohort that a training job names: labels, masks, frames, columns and the test set."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import JobConfig, ShardsConfig
from diagchd_batch.errors import InputError
from diagchd_batch.storage import open_store
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.training.cohort import TrainingCohort, load_cohort
from tests.unit.studies.archives import PSEUDONYMIZER

MANIFEST = """study_id,uri,subject_id,mask_uri,label,split,frame
s1,a.png,m1,a-mask.png,1,training,
s1,b.png,m1,,1,training,
s2,c.png,m1,,,training,
s3,d.png,m2,,0,test,
s4,e.png,m3,e-mask.png,,validation,1
s4,e.png,m3,e-mask.png,,validation,3
"""


def _cohort(tmp_path: Path, training: dict[str, Any], *, frames: Any = None, **tables: str) -> TrainingCohort:
    archive = tmp_path / "archive"
    archive.mkdir(exist_ok=True)
    for name in "abcde":
        for suffix in (".png", "-mask.png"):
            (archive / f"{name}{suffix}").touch()
    (tmp_path / "studies.csv").write_text(MANIFEST)
    for name, text in tables.items():
        (tmp_path / f"{name}.csv").write_text(text)
    config = JobConfig.model_validate(
        {
            "input": {"uri": str(archive), "layout": "manifest", "manifest": str(tmp_path / "studies.csv")},
            "output": {"uri": str(tmp_path / "out")},
            "evaluation": {name: str(tmp_path / f"{name}.csv") for name in tables if name != "test"},
            "training": {"package_uri": str(tmp_path / "package"), **training},
        }
    )
    plan = freeze_plan(
        config.input,
        ShardsConfig(),
        open_store(config.input.uri),
        open_store(str(tmp_path / "private"), owner_only=True),
        "run-1",
        PSEUDONYMIZER,
    )
    return load_cohort(config, plan, frames)


def _images(cohort: TrainingCohort) -> dict[tuple[str, int], tuple[int, bool]]:
    tokens = {PSEUDONYMIZER.image(f"{name}.png"): name for name in "abcde"}
    rows = zip(cohort.image_ids, cohort.frames, cohort.labels_i8, cohort.has_mask, strict=True)
    return {(tokens[image], int(frame)): (int(label), bool(mask)) for image, frame, label, mask in rows}


def test_labels_come_from_the_manifest_and_the_reference_and_masks_and_frames_from_the_manifest(tmp_path: Path) -> None:
    cohort = _cohort(tmp_path, {}, reference="study_id,label\ns4,1\ns1,1\n")
    assert _images(cohort) == {
        ("a", 0): (1, True),
        ("b", 0): (1, False),
        ("c", 0): (-1, False),
        ("d", 0): (0, False),
        ("e", 1): (1, True),
        ("e", 3): (1, True),
    }
    assert len(set(cohort.subject_ids)) == 3
    assert cohort.columns == {}


def test_the_frames_of_decoded_files_take_the_place_of_frame_0(tmp_path: Path) -> None:
    frames = {PSEUDONYMIZER.image("a.png"): (4, 9), PSEUDONYMIZER.image("b.png"): ()}
    names = set(_images(_cohort(tmp_path, {}, frames=frames)))
    assert names == {("a", 4), ("a", 9), ("c", 0), ("d", 0), ("e", 1), ("e", 3)}


@pytest.mark.parametrize(
    ("training", "tables"),
    [
        ({"test": {"column": "split", "value": "test"}}, {}),
        ({"test": {"studies": "test.csv"}}, {"test": "study_id\ns3\n"}),
        ({"folds": {"rule": "column", "column": "split"}}, {}),
    ],
)
def test_the_test_set_is_not_in_the_cohort(tmp_path: Path, training: dict[str, Any], tables: dict[str, str]) -> None:
    if "studies" in training.get("test", {}):
        training = {"test": {"studies": str(tmp_path / "test.csv")}}
    assert {name for name, _ in _images(_cohort(tmp_path, training, **tables))} == set("abce")


def test_a_column_comes_from_the_covariates_or_else_from_the_manifest(tmp_path: Path) -> None:
    folds = {"folds": {"rule": "leave_out", "column": "split"}}
    of_manifest = _cohort(tmp_path, folds, covariates="study_id,site\ns1,north\n")
    assert sorted(set(of_manifest.columns["split"])) == ["test", "training", "validation"]
    of_covariates = _cohort(
        tmp_path, {"folds": {"rule": "leave_out", "column": "site"}}, covariates="study_id,site\ns1,north\n"
    )
    assert sorted(of_covariates.columns["site"]) == ["", "", "", "", "north", "north"]


@pytest.mark.parametrize(
    ("training", "tables", "message"),
    [
        ({"folds": {"rule": "leave_out", "column": "hospital"}}, {}, "column hospital"),
        ({"test": {"column": "split", "value": "tset"}}, {}, "no study of the input has the value tset"),
        ({"test": {"studies": "test.csv"}}, {"test": "study_id\ns3\ns9\n"}, "1 study of 2 are not in the input"),
        ({"test": {"studies": "test.csv"}}, {"test": "study_id\ns1\n"}, "in the test set and study s-"),
        ({}, {"reference": "study_id,label\ns1,0\n"}, "contradicts"),
    ],
)
def test_tables_that_contradict_the_input_are_refused(
    tmp_path: Path, training: dict[str, Any], tables: dict[str, str], message: str
) -> None:
    if "studies" in training.get("test", {}):
        training = {"test": {"studies": str(tmp_path / "test.csv")}}
    with pytest.raises(InputError, match=message):
        _cohort(tmp_path, training, **tables)


def test_rows_are_taken_in_their_order(tmp_path: Path) -> None:
    cohort = _cohort(tmp_path, {"folds": {"rule": "leave_out", "column": "split"}})
    rows = np.array([3, 0])
    taken = cohort.take(rows)
    assert len(taken) == 2
    assert list(taken.image_ids) == list(cohort.image_ids[rows])
    assert list(taken.columns["split"]) == list(cohort.columns["split"][rows])
