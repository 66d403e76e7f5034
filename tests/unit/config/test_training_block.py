"""The block `training` of the job file: what it refuses, and what it stands for."""

from typing import Any

import pytest
from pydantic import ValidationError

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.training_block import PRESETS, StageConfig, TrainingConfig
from diagchd_batch.config.uri_redaction import job_places


def _training(**keys: Any) -> TrainingConfig:
    return TrainingConfig.model_validate({"package_uri": "packages/mine", **keys})


def test_a_preset_gives_the_stages_unless_the_job_file_does() -> None:
    assert _training().resolved_stages == PRESETS["original"]
    assert _training(preset="quick").resolved_stages == PRESETS["quick"]
    assert _training(preset="quick", initial_weights="imagenet:xception.h5").resolved_stages == PRESETS["quick"]
    from_package = _training(preset="quick", initial_weights="diagchd-compact").resolved_stages
    assert max(stage.learning_rate for stage in from_package) < min(stage.learning_rate for stage in PRESETS["quick"])
    own = _training(preset="quick", stages=[{"name": "all", "epochs": 2}])
    assert own.resolved_stages == (StageConfig(name="all", epochs=2),)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"folds": {"rule": "leave_out"}}, "goes with rule: leave_out or column"),
        ({"folds": {"rule": "subject", "column": "site"}}, "goes with rule: leave_out or column"),
        ({"folds": {"number": 1}}, "greater than or equal to 2"),
        ({"stages": []}, "at least 1 item"),
        ({"stages": [{"name": "a", "epochs": 1}, {"name": "a", "epochs": 2}]}, "have one name"),
        ({"stages": [{"name": "a", "epochs": 1, "segmentation_weight": 0, "classification_weight": 0}]}, "both 0"),
        ({"stages": [{"name": "a", "epochs": 1, "trains": "classifier", "classification_weight": 0}]}, "above 0"),
        ({"augmentation": {"gain": [1.2, 0.8]}}, r"\[lowest, highest\]; 1.2 is above 0.8"),
        ({"augmentation": {"gain": [0, 1]}}, "greater than or equal to 0.1"),
        ({"augmentation": {"flip": True}}, "Extra inputs"),
        ({"test": {}}, "give either training.test.studies"),
        ({"test": {"studies": "a.csv", "column": "c", "value": "v"}}, "give either training.test.studies"),
        ({"test": {"studies": "a.csv", "value": "v"}}, "give either training.test.studies"),
        ({"test": {"column": "site"}}, "give either training.test.studies"),
        ({"package": {"operating_points": [{"name": "a", "rule": "cost"}]}}, "false_negative_cost goes with"),
        ({"package": {"operating_points": [{"name": "a", "rule": "youden", "at_least": 0.9}]}}, "at_least goes with"),
        ({"package": {"operating_points": [{"name": "a", "rule": "youden"}] * 2}}, "have one name"),
        ({"class_weights": [1.0, 0.0]}, "greater than 0"),
        ({"model_name": "../elsewhere"}, "should match pattern"),
    ],
)
def test_a_block_that_makes_no_sense_is_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        _training(**keys)


@pytest.mark.parametrize("test_set", [{"studies": "test.csv"}, {"column": "split", "value": "test"}])
def test_a_test_set_is_a_table_or_the_value_of_a_column(test_set: dict[str, str]) -> None:
    assert _training(test=test_set).test is not None


def test_the_places_of_a_training_are_hidden_in_logs() -> None:
    job = JobConfig.model_validate(
        {
            "input": {"uri": "in", "layout": "tree"},
            "output": {"uri": "out"},
            "training": {
                "package_uri": "s3://b/mine",
                "initial_weights": "imagenet:/w/x.h5",
                "test": {"studies": "/t.csv"},
            },
        }
    )
    places = dict(job_places(job))
    assert places["training.package_uri"] == "s3://b/mine"
    assert places["training.initial_weights"] == "/w/x.h5"
    assert places["training.test.studies"] == "/t.csv"
