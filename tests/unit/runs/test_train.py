"""What `train` refuses before anything is read or written, and what its progress says."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Never

import pytest

from diagchd_batch.cli.forecast_of_training import planned_training_json, planned_training_pairs
from diagchd_batch.cli.train import JsonTrainProgress, LineTrainProgress
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, InputError, RunFault
from diagchd_batch.model import load_card
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.augmented_pages import preview_augmentation
from diagchd_batch.runs.forecast_of_training import preview_training
from diagchd_batch.runs.train import TrainOptions, train_here
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.training.run_training import FoldNote
from diagchd_batch.training.step_speed import StepSpeed, measured_speeds
from diagchd_batch.training.training_record import training_states
from diagchd_batch.workspace import Workspace
from tests.support.command_line import diagchd_batch
from tests.support.dicom_archives import dicom_file, ultrasound_header
from tests.unit.scoring.made_inputs import png


def _options(tmp_path: Path, training: dict[str, Any] | None) -> TrainOptions:
    archive = tmp_path / "archive"
    for study in ("a", "b", "c"):
        (archive / study).mkdir(parents=True)
        (archive / study / "1.png").touch()
    config = JobConfig.model_validate(
        {
            "input": {"uri": str(archive), "layout": "tree"},
            "model": {"name": "diagchd-compact"},
            "output": {"uri": str(tmp_path / "out")},
            "training": training,
        }
    )
    return TrainOptions(config, {}, ["train"], RunRequest())


def test_a_job_without_a_block_training_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="has no block training"):
        train_here(_options(tmp_path, None), LineTrainProgress())
    assert not (tmp_path / "out").exists()


def test_a_place_with_another_package_is_refused(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "card.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a model package already; name a new directory"):
        train_here(_options(tmp_path, {"package_uri": str(tmp_path / "package")}), LineTrainProgress())


def test_folds_that_cannot_be_are_refused_before_an_image_is_read(tmp_path: Path) -> None:
    options = _options(tmp_path, {"package_uri": str(tmp_path / "package"), "folds": {"number": 4}})
    with pytest.raises(InputError, match=r"training\.folds\.number is 4, and the input has 3 subjects"):
        train_here(options, LineTrainProgress())
    (state,) = training_states(Workspace.of_job(options.config, {}))
    assert state.status == "lost"


def _archive(tmp_path: Path) -> JobConfig:
    """Return a job that leaves one of two sites out at a time. Its 12 files are empty: a plan opens none."""
    rows = ["study_id,uri,subject_id,label,mask_uri,site"]
    (tmp_path / "archive").mkdir()
    for number in range(12):
        (tmp_path / "archive" / f"{number}.png").touch()
        mask = "" if number % 3 else f"{number}.png"
        rows.append(f"s{number},{number}.png,p{number // 2},{int(number // 2 % 2)},{mask},{number // 6}")
    (tmp_path / "studies.csv").write_text("\n".join(rows))
    stage = {"epochs": 2, "batch_size": 4}
    return JobConfig.model_validate(
        {
            "input": {
                "uri": str(tmp_path / "archive"), "layout": "manifest", "manifest": str(tmp_path / "studies.csv")
            },
            "model": {"name": "diagchd-compact"},
            "output": {"uri": str(tmp_path / "out")},
            "training": {
                "package_uri": str(tmp_path / "package"),
                "folds": {"rule": "leave_out", "column": "site", "validation_fraction": 0.3},
                "stages": [
                    {"name": "maps", "trains": "segmentation", "classification_weight": 0, **stage},
                    {"name": "head", "trains": "classifier", **stage},
                ],
            },
        }
    )  # fmt: skip


def test_plan_shows_folds_steps_and_the_cache_and_writes_nothing(tmp_path: Path) -> None:
    job = _archive(tmp_path)
    preview = preview_training(job, {})
    assert not (tmp_path / "out").exists()
    assert (preview.whole.n_subjects, preview.whole.n_studies, preview.whole.n_positive) == (6, 12, 6)
    assert (preview.n_with_mask, preview.n_unlabelled) == (4, 0)
    assert preview.cache_bytes == 12 * 128 * 160 * 4
    for fold in preview.folds:
        assert fold.held_out.n_studies == 6
        assert fold.training.n_studies + fold.validation.n_studies == 6
        maps, head = fold.stages
        assert head.n_steps == 2 * (fold.training.n_frames // 4)
        assert maps.steps_per_epoch == 1  # its one or two masks are one batch
    assert preview.expected_s is None


def test_places_that_cannot_be_written_are_refused_before_anything_is_trained(tmp_path: Path) -> None:
    job = _archive(tmp_path)
    nowhere = str(tmp_path / "studies.csv" / "below a file")
    package = job.model_copy(update={"training": job.training.model_copy(update={"package_uri": nowhere})})
    output = job.model_copy(update={"output": job.output.model_copy(update={"uri": nowhere})})
    for refused, name in ((package, r"training\.package_uri"), (output, r"output\.uri")):
        with pytest.raises(ConfigError, match=rf"{name}: .*/studies\.csv is no directory"):
            preview_training(refused, {})
    with pytest.raises(ConfigError, match=r"training\.package_uri: .*/studies\.csv is no directory"):
        train_here(TrainOptions(package, {}, ["train"], RunRequest()), LineTrainProgress())
    assert not (tmp_path / "package").exists()


def test_the_expected_time_is_that_of_the_folds_one_after_the_other(tmp_path: Path) -> None:
    preview = preview_training(_archive(tmp_path), {})
    speeds = {"segmentation": StepSpeed(10.0, 1.0, 0.5), "classifier": StepSpeed(1.0, 0.1, 0.1)}
    timed = replace(preview, speeds=speeds, side_by_side=1)
    of_folds = [replace(timed, folds=(fold,)).expected_s or 0 for fold in timed.folds]
    assert min(of_folds) > 11
    assert timed.expected_s == pytest.approx(sum(of_folds))
    assert replace(timed, side_by_side=2).expected_s == pytest.approx(max(of_folds))
    assert replace(timed, folds_done=1).expected_s == pytest.approx(max(of_folds))


def test_what_plan_prints_of_a_training_names_no_site_and_no_file(tmp_path: Path) -> None:
    job = _archive(tmp_path)
    (tmp_path / "archive" / "0.png").unlink()
    preview = preview_training(job, {})
    pairs = planned_training_pairs(job, preview)
    assert ("missing", "1 planned image and 1 planned mask not there; they are left out") in pairs
    texts = json.dumps(planned_training_json(preview)) + str(pairs[:-1])
    assert "png" not in texts
    assert str(tmp_path) not in texts
    timed = replace(preview, speeds={"segmentation": StepSpeed(1, 1, 1), "classifier": StepSpeed(1, 1, 1)})
    assert any("1.0 images/s (segmentation and classifier)" in value for _, value in planned_training_pairs(job, timed))


def test_a_preview_shows_training_images_and_begins_nothing(tmp_path: Path) -> None:
    job = _archive(tmp_path)
    for number in range(12):
        (tmp_path / "archive" / f"{number}.png").write_bytes(png(number % 3, mode="L"))
    page = Path(preview_augmentation(job, {}, 3, LineTrainProgress()))
    assert page.is_relative_to(Workspace.of_job(job, {}).private.uri)
    text = page.read_text()
    assert len(re.findall("<h2>Image i-[0-9a-f]{16}</h2>", text)) == 3
    assert training_states(Workspace.of_job(job, {})) == []


def test_dicom_files_are_read_as_their_headers_say_and_labelled_by_the_reference(tmp_path: Path) -> None:
    (tmp_path / "archive").mkdir()
    rows = ["accession_number,label"]
    for number in range(12):
        values = {"Rows": 16, "Columns": 16, "PixelData": bytes([20 * number] * 256), "AccessionNumber": f"A{number}"}
        header = ultrasound_header(number, PatientID=f"P{number // 2}", **values)
        (tmp_path / "archive" / f"IM{number}").write_bytes(dicom_file(header))
        rows.append(f"A{number},{number // 2 % 2}")
    (tmp_path / "reference.csv").write_text("\n".join(rows))
    job = JobConfig.model_validate(
        {
            "input": {"uri": str(tmp_path / "archive"), "layout": "dicom"},
            "model": {"name": "diagchd-compact"},
            "output": {"uri": str(tmp_path / "out")},
            "evaluation": {"reference": str(tmp_path / "reference.csv")},
            "training": {"package_uri": str(tmp_path / "package"), "folds": {"number": 2}},
        }
    )
    page = Path(preview_augmentation(job, {}, 3, LineTrainProgress()))
    assert len(re.findall("<h2>Image i-[0-9a-f]{16}</h2>", page.read_text())) == 3
    whole = preview_training(job, {}).whole
    assert (whole.n_subjects, whole.n_studies, whole.n_positive) == (6, 12, 6)


def test_a_preview_of_images_that_cannot_be_decoded_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFault, match="none of the images that were drawn could be decoded"):
        preview_augmentation(_archive(tmp_path), {}, 3, LineTrainProgress())


def test_an_interrupted_preview_ends_with_the_code_of_its_signal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> Never:
        raise RunInterrupted(2)

    monkeypatch.setattr("diagchd_batch.runs.augmented_pages.check_places", interrupted)
    (tmp_path / "train.json").write_text(_archive(tmp_path).model_dump_json())
    ended = diagchd_batch("train", str(tmp_path / "train.json"), "--preview", "3")
    assert ended.exit_code == 130, ended.messages
    assert "no page was written" in ended.messages


@pytest.mark.slow
def test_steps_are_timed_in_a_process_of_their_own(tmp_path: Path) -> None:
    job = _archive(tmp_path)
    assert job.training is not None
    (_, head) = job.training.resolved_stages
    settings = job.training.model_copy(update={"stages": [head]})
    found = measured_speeds(settings, load_card("diagchd-compact"), threads=1)
    assert found is not None
    assert found["classifier"].compile_s > found["classifier"].train_image_s > 0


NOTE = FoldNote(fold=1, stage="everything", epoch=3, epochs=12, step=2, steps=9, loss=0.5)


def test_progress_is_a_line_now_and_then_or_a_json_object_for_each_change() -> None:
    lines: list[str] = []
    plain = LineTrainProgress(lines.append)
    plain.folds([None, NOTE])
    plain.folds([None, NOTE])
    assert lines == ["fold 0: waits; fold 1: everything, epoch 3 of 12, loss 0.500"]
    lines.clear()
    for_programs = JsonTrainProgress(lines.append)
    for_programs.folds([None, NOTE])
    for_programs.folds([None, NOTE])
    for_programs.cached(1, 2)
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events] == ["folds", "cached"]
    assert events[0]["folds"][1]["epoch"] == 3
