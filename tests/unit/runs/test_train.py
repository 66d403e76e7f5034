"""What `train` refuses before anything is read or written, and what its progress says."""

import json
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.cli.train import JsonTrainProgress, LineTrainProgress
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, InputError
from diagchd_batch.runs.train import TrainOptions, train_here
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.training.run_training import FoldNote
from diagchd_batch.training.training_record import training_states
from diagchd_batch.workspace import Workspace


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
