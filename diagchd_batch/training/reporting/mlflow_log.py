"""Logs a finished training to MLflow: its recipe as parameters, its figures by epoch, and the card of its package.

MLflow is optional (the extra `mlflow`). The client's low-level functions are used, because the others add the name of
the user and the path of the program to a run.
"""

import importlib
import importlib.util
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.card import ModelCard

TRACKING_URI = "MLFLOW_TRACKING_URI"
"""The environment variable that names the MLflow server or a directory, as MLflow has it."""

TRAINING_TAG = "diagchd_batch.training"

_PARAMETERS_AT_ONCE = 100
_NO_FIGURES = {"stage", "epoch"}


def check_mlflow(experiment: str | None, environ: Mapping[str, str]) -> None:
    """Check that a training can be logged, before anything is trained.

    Args:
        experiment: The value of `training.mlflow_experiment`; None for a training that is not logged.
        environ: The environment variables.

    Raises:
        ConfigError: MLflow is not installed, or no server is named.
    """
    if experiment is None:
        return
    if importlib.util.find_spec("mlflow") is None:
        raise ConfigError(
            "training.mlflow_experiment needs MLflow, which is not installed here; install it with "
            "pip install 'diagchd-batch[mlflow]', or remove the key"
        )
    if not environ.get(TRACKING_URI):
        raise ConfigError(
            f"training.mlflow_experiment is set, and {TRACKING_URI} names no MLflow server; set the variable to the "
            "server's address or to a directory, or remove the key"
        )


def log_training(
    experiment: str | None,
    environ: Mapping[str, str],
    training_id: str,
    card: ModelCard,
    histories: Sequence[Sequence[Mapping[str, Any]]],
) -> str | None:
    """Log a training as one run of MLflow, unless an earlier call has done so.

    Metrics are named by fold and figure, such as ``fold-0/validation_auc``. A step is the number of an epoch among
    those of all stages. The run holds no token, no name of a fold and no place.

    Args:
        experiment: The value of `training.mlflow_experiment`; None to log nothing.
        environ: The environment variables, with `MLFLOW_TRACKING_URI`.
        training_id: The training's run id.
        card: The card of its package.
        histories: The history of each fold (`fold_task.FoldResult.history`).

    Returns:
        Why the training could not be logged, as a message; None if it was.
    """
    if experiment is None:
        return None
    try:
        _log(experiment, environ[TRACKING_URI], training_id, card, histories)
    except Exception as error:  # of MLflow, its server or the network: the package must not be lost for them
        return (
            f"the training was not logged to MLflow ({type(error).__name__}); look at the server that {TRACKING_URI} "
            "names. The package is not affected"
        )
    return None


def _log(
    experiment: str,
    tracking_uri: str,
    training_id: str,
    card: ModelCard,
    histories: Sequence[Sequence[Mapping[str, Any]]],
) -> None:
    mlflow: Any = importlib.import_module("mlflow")
    entities: Any = importlib.import_module("mlflow.entities")
    client = mlflow.MlflowClient(tracking_uri=tracking_uri)
    found = client.get_experiment_by_name(experiment)
    experiment_id = found.experiment_id if found else client.create_experiment(experiment)
    logged = f"tags.`{TRAINING_TAG}` = '{training_id}' and attributes.status = 'FINISHED'"
    if client.search_runs([experiment_id], filter_string=logged, max_results=1):
        return
    tags = {TRAINING_TAG: training_id}
    run_id = client.create_run(experiment_id, tags=tags, run_name=f"{card.name} {card.version}").info.run_id
    parameters = [entities.Param(name, value) for name, value in _parameters(card)]
    for start in range(0, len(parameters), _PARAMETERS_AT_ONCE):
        client.log_batch(run_id, params=parameters[start : start + _PARAMETERS_AT_ONCE])
    now_ms = int(time.time() * 1000)
    for fold, history in enumerate(histories):
        for step, row in enumerate(history):
            figures = [(name, value) for name, value in row.items() if name not in _NO_FIGURES]
            metrics = [entities.Metric(f"fold-{fold}/{name}", float(value), now_ms, step) for name, value in figures]
            client.log_batch(run_id, metrics=metrics)
    client.log_dict(run_id, card.model_dump(mode="json"), "card.json")
    client.set_terminated(run_id, "FINISHED")


def _parameters(card: ModelCard) -> Iterator[tuple[str, str]]:
    """Yield what the card says of the training, as names and texts."""
    yield "network", card.architecture.identifier
    summary = card.training
    if summary is not None:
        yield from _flat("folds", summary.folds)
        yield from _flat("region", summary.region)
        yield from _flat("grid", " x ".join(map(str, summary.grid)))
        yield from _flat("versions", summary.versions)
        yield from _flat("recipe", summary.recipe)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value):
            yield from _flat(f"{name}.{number}", inner)
    else:
        yield name, str(value)
