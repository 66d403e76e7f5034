"""Writes the weights of trained folds and a card as a model package, which scoring takes as `model.name`."""

import hashlib
import json

import numpy as np

from diagchd_batch import __version__
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.model.card import ModelCard, TrainingData, WeightsFile
from diagchd_batch.model.packages.package import CARD
from diagchd_batch.storage import Store
from diagchd_batch.training.cohort import UNLABELLED, TrainingCohort
from diagchd_batch.wording import counted

_FEW = "fewer than {}"


def refuse_another_package(package: Store, weights: str | None = None) -> None:
    """Check that no other model package lies where a new one will be written.

    Args:
        package: The place of the new package.
        weights: The card's bytes as text, if the package is written already and may be written again.

    Raises:
        ConfigError: There is another card.
    """
    if package.stat(CARD) is None:
        return
    if weights is None or package.read(CARD).decode() != weights:
        raise ConfigError(
            f"training.package_uri ({package.uri}) holds a model package already; name a new directory, so that "
            "results of the earlier model can still be explained"
        )


def write_model_package(
    config: JobConfig,
    network: ModelCard,
    weights: list[bytes],
    cohort: TrainingCohort,
    picture_digests: np.ndarray,
    package: Store,
) -> ModelCard:
    """Write a package: first the weights, one file a fold, and then the card that names them.

    Args:
        config: The training job.
        network: The card of the network that was trained.
        weights: The bytes of each fold's checkpoint.
        cohort: What was trained on.
        picture_digests: str ``[n]``, a digest of each frame's pixels.
        package: Where the package is written.

    Returns:
        The card.

    Raises:
        ConfigError: Another package lies there.
    """
    assert config.training is not None, "a training job has a block `training`"
    files = [
        WeightsFile(file=f"weights/fold-{fold}.h5", sha256=hashlib.sha256(data).hexdigest(), size_bytes=len(data))
        for fold, data in enumerate(weights)
    ]
    card = _card(config, config.training, network, files, cohort, picture_digests)
    text = json.dumps(card.model_dump(mode="json"), indent=2) + "\n"
    refuse_another_package(package, text)
    for file, data in zip(files, weights, strict=True):
        package.replace(file.file, data)
    package.create(CARD, text.encode())
    return card


def _card(
    config: JobConfig,
    training: TrainingConfig,
    network: ModelCard,
    files: list[WeightsFile],
    cohort: TrainingCohort,
    picture_digests: np.ndarray,
) -> ModelCard:
    simulated = config.input.simulated
    rows = {
        "images": picture_digests.tolist(),
        "labels": cohort.labels_i8.tolist(),
        "masks": cohort.has_mask.tolist(),
    }
    marked = "SIMULATED. " if simulated else ""
    return network.model_copy(
        update={
            "name": training.model_name,
            "version": training.model_version,
            "changelog": {training.model_version: f"trained with diagchd-batch {__version__}, seed {training.seed}"},
            "description": f"{marked}The network of {network.name}, trained with {counted(len(files), 'fold')}.",
            "intended_use": f"{marked}To be filled in by whoever trained this model: for whom, and for what.",
            "limitations": f"{marked}To be filled in. A model is only known to work on studies like those that it was "
            "measured on; a threshold that was chosen on single folds is approximate for their ensemble.",
            "weights": files,
            "training_data": TrainingData(
                description=marked + _described(cohort, config.disclosure.min_cell),
                sha256=hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest(),
                simulated=simulated,
                repeat_with="diagchd-batch train, with the job file of this training",
            ),
        }
    )


def _described(cohort: TrainingCohort, min_cell: int) -> str:
    """Describe a cohort in numbers. Small numbers are withheld, because a package goes to others."""
    positives = {study for study, label in zip(cohort.study_ids, cohort.labels_i8, strict=True) if label == 1}
    unlabelled = {study for study, label in zip(cohort.study_ids, cohort.labels_i8, strict=True) if label == UNLABELLED}
    parts = {
        "frames": len(cohort),
        "studies": len(set(cohort.study_ids)),
        "subjects": len(set(cohort.subject_ids)),
        "studies with congenital heart disease": len(positives),
        "studies without a label": len(unlabelled),
        "frames with a mask": int(cohort.has_mask.sum()),
    }
    return ", ".join(f"{name}: {_number(number, min_cell)}" for name, number in parts.items())


def _number(number: int, min_cell: int) -> str:
    return _FEW.format(min_cell) if 0 < number < min_cell else f"{number:,}"
