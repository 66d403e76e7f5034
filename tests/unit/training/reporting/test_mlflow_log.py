"""A finished training in MLflow: what is refused before, and what a server's directory holds afterwards."""

import importlib
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.errors import ConfigError
from diagchd_batch.model import load_card
from diagchd_batch.model.card import ModelCard, TrainingSummary
from diagchd_batch.training.reporting import mlflow_log
from diagchd_batch.training.reporting.mlflow_log import check_mlflow, log_training
from tests.support.queries.engines_apart import missing_engine

HISTORY = [
    {"stage": "segmentation", "epoch": 0, "learning_rate": 1e-3, "loss": 0.75, "validation_iou": 0.5},
    {"stage": "everything", "epoch": 0, "learning_rate": 1e-4, "loss": 0.25, "validation_auc": 0.875},
]


def _card() -> ModelCard:
    summary = TrainingSummary(
        folds="2 folds, by subject, stratified by label",
        recipe={
            "seed": 7,
            "stages": [{"name": "segmentation"}, {"name": "everything"}],
            "augmentation": {"gain": None},
        },
        subjects=12,
        positives=None,
        sites=None,
        cross_validated_auc=None,
        region="whole",
        grid=(128, 160),
        versions={"keras": "3"},
        simulated=True,
    )
    return load_card("diagchd-compact").model_copy(update={"training": summary})


def test_a_training_that_is_not_to_be_logged_needs_nothing() -> None:
    check_mlflow(None, {})
    assert log_training(None, {}, "run", _card(), [HISTORY]) is None


def test_mlflow_that_is_missing_or_has_no_server_is_refused_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    there = {"mlflow": False}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there[name] else None)
    with pytest.raises(ConfigError, match=r"install it with pip install 'diagchd-batch\[mlflow\]'"):
        check_mlflow("hearts", {"MLFLOW_TRACKING_URI": "http://tracking"})
    there["mlflow"] = True
    with pytest.raises(ConfigError, match="set the variable to the server's address"):
        check_mlflow("hearts", {})
    check_mlflow("hearts", {"MLFLOW_TRACKING_URI": "http://tracking"})


def test_a_server_that_does_not_answer_costs_no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError("http://user:secret@tracking does not answer")

    monkeypatch.setattr(mlflow_log, "_log", fail)
    said = log_training("hearts", {"MLFLOW_TRACKING_URI": "http://user:secret@tracking"}, "run", _card(), [HISTORY])
    assert said and "not logged to MLflow (OSError)" in said and "secret" not in said


@pytest.mark.slow
def test_mlflow_reads_parameters_figures_by_epoch_and_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("mlflow") is None:
        missing_engine("MLflow", "install '.[mlflow]'")
    mlflow: Any = importlib.import_module("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions ask before they write to a directory
    environ = {"MLFLOW_TRACKING_URI": (tmp_path / "tracking").as_uri()}
    for _ in range(2):  # the second call, of a training that was resumed at its very end, adds nothing
        assert log_training("hearts", environ, "0a1b2c3d-4e5f6071-1", _card(), [HISTORY, HISTORY[:1]]) is None
    client = mlflow.MlflowClient(tracking_uri=environ["MLFLOW_TRACKING_URI"])
    experiment = client.get_experiment_by_name("hearts")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["recipe.seed"] == "7"
    assert run.data.params["recipe.stages.1.name"] == "everything"
    assert run.data.params["network"] == _card().architecture.identifier
    losses = client.get_metric_history(run.info.run_id, "fold-0/loss")
    assert [(point.step, point.value) for point in losses] == [(0, 0.75), (1, 0.25)]
    assert run.data.metrics["fold-0/validation_auc"] == 0.875
    assert len(client.get_metric_history(run.info.run_id, "fold-1/loss")) == 1
    (artifact,) = client.list_artifacts(run.info.run_id)
    card = json.loads(Path(client.download_artifacts(run.info.run_id, artifact.path)).read_text())
    assert ModelCard.model_validate(card) == _card()
    assert set(run.data.tags) <= {"diagchd_batch.training", "mlflow.runName"}
    assert run.info.user_id in ("", "unknown")
