"""Writes a model package: the folds' weights, what was decided out of fold, and the card, which comes last."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, InputError, ItemError
from diagchd_batch.model import view_check
from diagchd_batch.model.card import ModelCard, TrainingData, TrainingSummary, WeightsFile
from diagchd_batch.model.packages.decision_files import CALIBRATION, OPERATING_POINTS
from diagchd_batch.model.packages.package import CARD, MAX_CARD_BYTES, file_digest
from diagchd_batch.model.spec import resolve_model
from diagchd_batch.model.view_check import ViewCheck, fit_view_check
from diagchd_batch.statistics.classification.cross_validated import cross_validated_auc
from diagchd_batch.storage import Store
from diagchd_batch.training.cohort import UNLABELLED, TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.image_cache import ImageCache
from diagchd_batch.training.out_of_fold import (
    HeldOutPredictions,
    OutOfFoldScores,
    predict_held_out,
    study_scores,
)
from diagchd_batch.training.package_decisions import choose_calibration, choose_operating_points
from diagchd_batch.training.recipe.initial_weights import describe_initial_weights

INTENDED_USE = (
    "TO BE FILLED IN by whoever releases this package: for which patients, views and devices, by whom, and for what. "
    "Until then it is for research alone."
)
_LIMITATIONS = (
    "Trained with diagchd-batch on the data of one archive. Its out-of-fold figures hold for images like those. "
    "Thresholds and calibration were chosen on scores of single folds and are approximate for the ensemble."
)
_ORIGIN = " It was trained further from the package {name} {version}."
_SIMULATED_ORIGIN = " That package was trained on SIMULATED images."
_VERSIONS = ("diagchd-batch", "keras", "tensorflow", "numpy")
_PRIVATE_KEYS = {"package_uri", "initial_weights", "test", "model_name", "model_version", "mlflow_experiment"}


@dataclass(frozen=True)
class WrittenPackage:
    """What `write_package` wrote.

    Attributes:
        card: The card.
        scores: The out-of-fold scores that decisions were made on; they are not in the package.
        notes: What the package lacks, and why.
    """

    card: ModelCard
    scores: OutOfFoldScores
    notes: tuple[str, ...]


def write_package(
    package: Store,
    base_card: ModelCard,
    config: JobConfig,
    cohort: TrainingCohort,
    folds: Sequence[Fold],
    weights: Sequence[Path],
    predictions: Sequence[HeldOutPredictions],
    picture_digests: np.ndarray,
    devices: Sequence[str],
) -> WrittenPackage:
    """Write the package of a training. A package is there once its card is; the same training may write it again.

    It holds no tokens, no values of columns such as sites, nothing of single patients, and no count from 1 to below
    `disclosure.min_cell`.

    Args:
        package: The store at `training.package_uri`.
        base_card: The card of the network that was trained (`model.name`).
        config: The job, with a block `training`.
        cohort: What was trained on.
        folds: The folds, in the order of their numbers.
        weights: The weights file of each fold.
        predictions: The held-out predictions of each fold; none for a fold without held-out rows.
        picture_digests: str ``[n]``, the digest of each row's picture.
        devices: What trained the folds (`FoldResult.devices`), without repeats.

    Returns:
        What was written.

    Raises:
        ConfigError: The place holds another package.
    """
    training = config.training
    assert training is not None
    min_cell = config.disclosure.min_cell
    scores = study_scores(cohort, list(predictions), config.evaluation)
    points = choose_operating_points(scores, training.package, config.evaluation.study_score, min_cell)
    calibration = choose_calibration(scores, training.package, config.evaluation.study_score, min_cell)
    notes = [] if points.points else ["no operating points: no studies of both classes were held out"]
    if training.package.calibration and calibration is None:
        notes.append("no calibration: it needs held-out studies of both classes in two folds at least")
    check, note = _view_check(config, cohort, predictions)
    notes += [note] if note else []
    files = [
        WeightsFile(file=f"weights/fold-{fold.number}.h5", sha256=file_digest(path), size_bytes=path.stat().st_size)
        for fold, path in zip(folds, weights, strict=True)
    ]
    card = _card(base_card, config, cohort, folds, files, scores, picture_digests, devices)
    refuse_another_package(package, card)
    for file, path in zip(files, weights, strict=True):
        package.create(file.file, path)
    package.replace(OPERATING_POINTS, points.model_dump_json(indent=2).encode() + b"\n")
    described = None if calibration is None else calibration.model_dump_json(indent=2).encode() + b"\n"
    _replace_or_delete(package, CALIBRATION, described)
    _replace_or_delete(package, view_check.FILE, None if check is None else check.to_json())
    package.replace(CARD, json.dumps(card.model_dump(mode="json"), indent=2).encode() + b"\n")
    return WrittenPackage(card, scores, tuple(notes))


def predict_and_write(
    package: Store,
    base_card: ModelCard,
    config: JobConfig,
    cohort: TrainingCohort,
    folds: Sequence[Fold],
    cache: ImageCache,
    weights: Sequence[bytes],
    devices: Sequence[str],
    directory: Path,
) -> WrittenPackage:
    """Predict the held-out rows of each fold with the fold's weights, and write the package.

    Args:
        package: As in `write_package`, like all that is not named here.
        base_card: The card of the network.
        config: The job.
        cohort: What was trained on.
        folds: The folds.
        cache: The decoded images; rows are those of the cohort.
        weights: The bytes of each fold's weights file.
        devices: What trained the folds.
        directory: Where the weights lie while they are used.

    Returns:
        What was written.

    Raises:
        ConfigError: The place holds another package.
        RunFault: A file of the cache is gone.
    """
    paths, predictions = [], []
    for fold, data in zip(folds, weights, strict=True):
        path = directory / f"fold-{fold.number}.h5"
        path.write_bytes(data)
        paths.append(path)
        if len(fold.held_out_rows):
            spec = resolve_model(config.model.name, str(path), config.model.precision)
            predictions.append(predict_held_out(spec, fold.number, fold.held_out_rows, cache.images))
    digests = cache.picture_digests
    return write_package(package, base_card, config, cohort, folds, paths, predictions, digests, devices)


def _replace_or_delete(package: Store, key: str, data: bytes | None) -> None:
    if data is None:
        package.delete(key)
    else:
        package.replace(key, data)


def _view_check(
    config: JobConfig, cohort: TrainingCohort, predictions: Sequence[HeldOutPredictions]
) -> tuple[ViewCheck | None, str]:
    """Return the view check, or None and the reason."""
    training = config.training
    assert training is not None
    wanted = training.package.view_check
    if wanted is None:
        return None, ""
    if not predictions:
        return None, "no view check: no studies were held out"
    try:
        return fit_view_check(
            [one.view_vectors for one in predictions],
            [cohort.subject_ids[one.rows] for one in predictions],
            wanted.max_lost_fraction,
        ), ""
    except InputError as error:
        return None, f"no view check: {error}"


def refuse_another_package(package: Store, card: ModelCard | None = None) -> None:
    """Check that no other model package lies where a new one will be written.

    Args:
        package: The place of the new package.
        card: The new card, if it is known: a package with the same weights may be written again.

    Raises:
        ConfigError: There is another package, which this one would damage.
    """
    if package.stat(CARD) is None:
        return
    try:
        found = ModelCard.model_validate_json(package.read(CARD, max_bytes=MAX_CARD_BYTES))
    except (ItemError, ValueError):
        found = None
    same = found and card and [one.sha256 for one in found.weights_files] == [one.sha256 for one in card.weights_files]
    if not same:
        raise ConfigError(
            f"training.package_uri ({package.uri}) holds a model package already; name a new directory, so that "
            "results of the earlier model can still be explained"
        )


def _card(
    base: ModelCard,
    config: JobConfig,
    cohort: TrainingCohort,
    folds: Sequence[Fold],
    files: list[WeightsFile],
    scores: OutOfFoldScores,
    picture_digests: np.ndarray,
    devices: Sequence[str],
) -> ModelCard:
    training = config.training
    assert training is not None
    min_cell, simulated = config.disclosure.min_cell, config.input.simulated
    used = np.unique(np.concatenate([np.concatenate([fold.training_rows, fold.validation_rows]) for fold in folds]))
    subjects = _published(len(np.unique(cohort.subject_ids[used])), min_cell)
    positives = _published(len(np.unique(cohort.subject_ids[used][cohort.labels_i8[used] == 1])), min_cell)
    sites = len(folds) if training.folds.rule == "leave_out" else None
    recipe = training.model_dump(mode="json", exclude=_PRIVATE_KEYS | {"folds", "stages"})
    initial = recipe["initial_weights"] = describe_initial_weights(training)
    origin = _ORIGIN.format(**initial) if initial["kind"] == "package" else ""
    origin += _SIMULATED_ORIGIN if initial.get("simulated") else ""
    recipe["stages"] = [stage.model_dump(mode="json") for stage in training.resolved_stages]
    mark = "SIMULATED images. " if simulated else ""
    summary = TrainingSummary(
        folds=_folds_in_words(training.folds.rule, len(folds)),
        recipe=recipe,
        subjects=subjects,
        positives=positives,
        sites=None if sites is None else _published(sites, min_cell),
        cross_validated_auc=_auc(scores, min_cell) if positives is not None else None,
        region=config.input.region,
        grid=(base.architecture.height, base.architecture.width),
        versions={name: version(name) for name in _VERSIONS},
        devices=list(devices),
        simulated=simulated,
    )
    changes: dict[str, Any] = {
        "name": training.model_name,
        "version": training.model_version,
        "changelog": {training.model_version: f"{mark}trained with the command `train` of diagchd-batch"},
        "description": f"{mark}{base.description}",
        "intended_use": f"{mark}{INTENDED_USE}",
        "limitations": f"{mark}{_LIMITATIONS}{origin}",
        "weights": files,
        "training": summary,
        "training_data": TrainingData(
            description=f"{mark}{subjects or f'fewer than {min_cell}'} subjects of an archive",
            sha256=_data_digest(cohort, used, picture_digests),
            simulated=simulated,
            repeat_with="the command `train` of diagchd-batch, with the job file of the training",
        ),
    }
    return ModelCard.model_validate(base.model_dump() | {name: _plain(value) for name, value in changes.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [one.model_dump() for one in value]
    return value.model_dump() if hasattr(value, "model_dump") else value


def _published(n: int, min_cell: int) -> int | None:
    return None if 0 < n < min_cell else n


def _folds_in_words(rule: str, n: int) -> str:
    if n == 1:
        return "one division into training and validation; nothing was held out"
    how = {
        "subject": "by subject, stratified by label",
        "leave_out": "one value of a column left out in each",
        "column": "as a column of the archive says",
    }
    return f"{n} folds, {how[rule]}"


def _auc(scores: OutOfFoldScores, min_cell: int) -> tuple[float, float, float] | None:
    """Return the cross-validated AUC with its interval, or None where it would rest on few studies."""
    known = ~np.isnan(scores.truth) & ~np.isnan(scores.score)
    truth = scores.truth[known]
    if min(int((truth == 1).sum()), int((truth == 0).sum())) < min_cell:
        return None
    found = cross_validated_auc(truth, scores.score[known], scores.folds[known], scores.subject_ids[known])
    if found.value is None or found.low is None or found.high is None:
        return None
    return round(found.value, 3), round(found.low, 3), round(found.high, 3)


def _data_digest(cohort: TrainingCohort, used: np.ndarray, picture_digests: np.ndarray) -> str:
    """Return one digest of the pictures and labels. It depends neither on their order nor on the output's key."""
    labels = np.where(cohort.labels_i8 == UNLABELLED, "", cohort.labels_i8.astype(str))
    lines = sorted(f"{picture_digests[row]} {labels[row]}" for row in used)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()
