"""Trains one fold: builds the network, sets its initial weights, runs the loop, and keeps the final weights."""

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, ClassVar

import keras
import numpy as np
import tensorflow as tf

from diagchd_batch.config.training_block import IMAGENET, TrainingConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.registry import find_package
from diagchd_batch.model.pinned_settings import check_keras
from diagchd_batch.model.runtimes.tensorflow.compiled import device_names
from diagchd_batch.model.weights.checkpoints import load_checkpoint, save_checkpoint
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.storage import Store
from diagchd_batch.training.augmentation import augmented
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.image_cache import ImageCache
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress
from diagchd_batch.training.recipe.imagenet_encoder import load_encoder
from diagchd_batch.training.recipe.initial_weights import describe_initial_weights, initial_package
from diagchd_batch.training.recipe.step_loop import Augment, FoldData, LoopSettings, train_network
from diagchd_batch.training.recipe.training_network import build_training_network

_FORMAT = 1
_MOMENTUM = {"original": 0.99, "quick": 0.95}
"""Momentum of the moving averages of batch normalisation. Short trainings need faster averages."""


class FoldResult(JsonRecord):
    """What a finished fold leaves in the private tree.

    Attributes:
        fold: The fold's number, from 0.
        settings_digest: Digest of all that the weights depend on, in hexadecimal.
        weights_key: Key of the final weights in the private tree, in this program's own format.
        weights_sha256: SHA-256 of that file, in hexadecimal.
        threads: Threads of one operation that the fold was trained with.
        devices: GPUs, or the processor's features, of the process that finished the fold. Last digits depend on them.
        history: One row for each epoch: ``stage``, ``epoch`` (from 0), ``learning_rate`` and the figures by their
            names. Those of the validation part begin with ``validation_``.
    """

    remedy: ClassVar[str] = "delete the directory of this fold, then give the same command again: the fold begins anew"

    fold: int
    settings_digest: str
    weights_key: str
    weights_sha256: str
    threads: int
    devices: tuple[str, ...] = ()
    history: list[dict[str, Any]]


def fix_numerics(threads: int) -> None:
    """Fix what the last bits of the weights depend on besides the data. Call it before TensorFlow computes anything.

    Args:
        threads: Threads of one operation.

    Raises:
        RunFault: TensorFlow already runs with another number of threads in this process.
    """
    check_keras()
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        if tf.config.threading.get_intra_op_parallelism_threads() != threads:
            raise RunFault(
                "TensorFlow already computes in this process, so its threads cannot be set; train in a new process"
            ) from error
    keras.utils.set_random_seed(0)  # op determinism refuses random operations without a seed
    tf.config.experimental.enable_op_determinism()


def train_fold(
    cohort: TrainingCohort,
    fold: Fold,
    cache: ImageCache,
    config: TrainingConfig,
    card: ModelCard,
    store: Store,
    prefix: str,
    threads: int,
    report_progress: Callable[[FoldProgress, int], None],
    should_stop: Callable[[], bool],
) -> FoldResult:
    """Train a fold, from its last checkpoint if there is one. Call `fix_numerics` before.

    Args:
        cohort: The frames of all folds.
        fold: Which rows of the cohort are trained on, and which choose the best epoch.
        cache: The decoded images; rows are those of the cohort.
        config: How to train.
        card: The card of the network that is trained.
        store: The private tree.
        prefix: What the keys of the fold's files begin with (`output_layout.fold_prefix`).
        threads: Threads of one operation, as `fix_numerics` set them.
        report_progress: Called after each step with the progress and the number of steps of the epoch.
        should_stop: Asked before each step.

    Returns:
        The place of the final weights, and the history. A fold that is finished is not trained again.

    Raises:
        TrainingStopped: `should_stop` returned True. The same call goes on.
        RunFault: A loss is not finite, a stage has nothing to train on, or a checkpoint cannot be used.
        WeightsError: The initial weights do not fit the network.
    """
    digest = settings_digest(cohort, fold, cache, config, card, threads)
    key = prefix + "result.json"
    result = FoldResult.read(store, key)
    if result is not None and result.settings_digest == digest:
        return result
    model = initial_network(config, card, _seed(config, fold))
    subjects = np.unique(cohort.subject_ids, return_inverse=True)[1]
    data = FoldData(
        pictures=cache,
        names=cohort.image_ids.tolist(),
        labels=cohort.labels_i8,
        has_mask=cohort.has_mask & cache.has_mask,
        subjects=subjects,
        training_rows=fold.training_rows,
        validation_rows=fold.validation_rows,
    )
    settings = LoopSettings(
        stages=config.resolved_stages,
        seed=_seed(config, fold),
        class_weights=class_weights(config, cohort.labels_i8[fold.training_rows]),
        by_subject=config.sampling == "subject",
        augment=_augmentation(config),
        checkpoint_s=60.0 * config.checkpoint_minutes,
        settings_digest=digest,
    )
    checkpoints = FoldCheckpoints(store, prefix)
    history = train_network(model, data, settings, checkpoints, report_progress, should_stop)
    weights_key = prefix + "weights.h5"
    with scratch_directory() as directory:
        path = directory / "weights.h5"
        save_checkpoint(model, path)
        contents = path.read_bytes()
        store.replace(weights_key, contents)
    result = FoldResult(
        fold=fold.number,
        settings_digest=digest,
        weights_key=weights_key,
        weights_sha256=hashlib.sha256(contents).hexdigest(),
        threads=threads,
        devices=tuple(device_names()),
        history=history,
    )
    result.write(store, key)
    return result


def class_weights(config: TrainingConfig, labels: np.ndarray) -> tuple[float, float]:
    """Return the weight of the classification loss for label 0, and for label 1.

    Args:
        config: How to train.
        labels: int8 ``[n]``, labels of the fold's training images: 0, 1, or -1 for none.
    """
    if config.class_weights == "none":
        return 1.0, 1.0
    if config.class_weights == "balanced":
        normal, diseased = (int((labels == value).sum()) for value in (0, 1))
        if not normal or not diseased:
            return 1.0, 1.0
        return (normal + diseased) / (2 * normal), (normal + diseased) / (2 * diseased)
    return config.class_weights


def settings_digest(
    cohort: TrainingCohort, fold: Fold, cache: ImageCache, config: TrainingConfig, card: ModelCard, threads: int
) -> str:
    """Return the digest of all that the final weights of a fold depend on: 64 hex digits.

    Args:
        cohort: The frames of all folds.
        fold: The fold.
        cache: The decoded images; rows are those of the cohort.
        config: How to train.
        card: The card of the network that is trained.
        threads: Threads of one operation.
    """
    whole = config.model_dump(mode="json")
    names = ("seed", "preset", "augmentation", "precision", "class_weights", "sampling")
    settings: dict[str, Any] = {name: whole[name] for name in names}
    settings["stages"] = [stage.model_dump(mode="json") for stage in config.resolved_stages]
    settings["initial_weights"] = describe_initial_weights(config)
    settings |= {"format": _FORMAT, "fold": fold.number, "threads": threads}
    settings["network"] = card.architecture.model_dump(mode="json")
    settings["versions"] = {name: version(name) for name in ("keras", "numpy", "tensorflow")}
    total = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    has_mask = cohort.has_mask & cache.has_mask
    for rows in (fold.training_rows, fold.validation_rows):
        for values in (cache.picture_digests, cohort.subject_ids, cohort.labels_i8, has_mask):
            total.update("\n".join(map(str, values[rows].tolist())).encode() + b"\0")
    return total.hexdigest()


def _seed(config: TrainingConfig, fold: Fold) -> int:
    """Return a seed of the fold's own, below 2^32."""
    return int(np.random.SeedSequence((config.seed, fold.number)).generate_state(1)[0])


def _augmentation(config: TrainingConfig) -> Augment | None:
    if not any(config.augmentation.model_dump().values()):
        return None
    return lambda image, mask, generator: augmented(image, mask, config.augmentation, generator)


def initial_network(config: TrainingConfig, card: ModelCard, seed: int) -> keras.Model:
    """Return the network of a card with the initial weights that a job asks for.

    Args:
        config: How to train.
        card: The card of the network.
        seed: Seed of random weights.

    Raises:
        WeightsError: The initial weights do not fit the network.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if config.precision == "bfloat16" else "float32")
    try:
        keras.utils.set_random_seed(seed)
        model = build_training_network(card, _MOMENTUM[config.preset])
    finally:
        keras.config.set_dtype_policy(before)
    if config.initial_weights.startswith(IMAGENET):
        load_encoder(model, config.initial_weights.removeprefix(IMAGENET))
    elif config.starts_from_package:
        _, weights = initial_package(config)
        load_checkpoint(model, find_package(config.initial_weights).weights_path(weights))
    return model
