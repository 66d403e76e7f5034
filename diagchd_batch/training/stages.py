"""Trains a model in the original's three stages: segmentation, the classifier on frozen features, then everything.

A short training from scratch needs some differences from the original. There are no ImageNet weights for the compact
widths. The learning rate falls along a cosine instead of on plateaus. The moving averages of batch normalisation adapt
faster. The best epoch is chosen on a separate validation split, never on data that figures are reported for.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from diagchd_batch.model.losses import segmentation_loss
from diagchd_batch.model.network import (
    NetworkBuilder,
    Tensor,
    build_network_from_card,
    classifier_layers,
    pooled_features,
)
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.pinned_settings import check_keras
from diagchd_batch.model.weights.checkpoints import load_checkpoint, save_checkpoint
from diagchd_batch.model.weights.layer_names import CLASSIFIER_PREFIX
from diagchd_batch.model.weights.variable_shapes import CLASSES

SEGMENTATION = "Seg"
CLASSIFICATION = CLASSIFIER_PREFIX
"""Names of the outputs of the network."""

_MOMENTUM = 0.95
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cohort:
    """The images of one split, on the model's grid.

    Attributes:
        images: uint8 ``[n, height, width, 3]``, RGB.
        masks: uint8 ``[n, height, width]``, the classes 0 background, 1 septum, 2 rest of the heart.
        labels: int32 ``[n]``, 0 for normal and 1 for CHD.
        studies: int32 ``[n]``, the number of each image's study.
    """

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    studies: np.ndarray


@dataclass(frozen=True)
class Stage:
    """The settings of one stage.

    Attributes:
        epochs: The largest number of epochs.
        batch_size: Images in a batch.
        learning_rate: The learning rate after the warm-up.
        patience: The stage ends after this number of epochs without a better result on the validation split.
        segmentation_weight: The weight of the segmentation loss.
        classification_weight: The weight of the classification loss.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    segmentation_weight: float
    classification_weight: float


def train(
    model_name: str, training: Cohort, validation: Cohort, stages: dict[str, Stage], seed: int, directory: Path
) -> keras.Model:
    """Train a model from scratch.

    Args:
        model_name: What `model.name` of a job may be; its card gives the network.
        training: The images to train on.
        validation: The images on which the best epoch of a stage is chosen.
        stages: Name -> settings, in the order of the stages. The stage ``classifier`` trains the classifier only; every
            other stage trains all weights.
        seed: Seed of the initial weights, the order of the images and their augmentation.
        directory: Where the checkpoint of each stage is kept. A stage whose checkpoint is there is not repeated.

    Returns:
        The trained model.

    Raises:
        ConfigError: There is no such model.
        WeightsError: A checkpoint in `directory` does not fit the model.
    """
    check_keras()
    keras.utils.set_random_seed(seed)
    model = build_network_from_card(load_card(model_name), builder=_TrainingBuilder)
    for number, (name, stage) in enumerate(stages.items()):
        path = directory / f"stage-{number}-{name}.h5"
        if path.exists():
            _log.info("stage %s: taken from %s", name, path)
            load_checkpoint(model, path)
            continue
        _log.info("stage %s: %s", name, stage)
        fit = _fit_classifier if name == "classifier" else _fit_network
        fit(model, training, validation, stage, seed + number)
        save_checkpoint(model, path)
    return model


def _fit_network(model: keras.Model, training: Cohort, validation: Cohort, stage: Stage, seed: int) -> None:
    """Train all weights.

    The best epoch is the one with the highest AUC on the validation split, or with the lowest loss if the
    classification has no weight.
    """
    batches = _Batches(training, stage.batch_size, seed)
    model.compile(
        optimizer=keras.optimizers.Adam(_cosine(stage, len(batches))),
        loss={SEGMENTATION: _segmentation_loss, CLASSIFICATION: "sparse_categorical_crossentropy"},
        loss_weights={SEGMENTATION: stage.segmentation_weight, CLASSIFICATION: stage.classification_weight},
        metrics={CLASSIFICATION: [_ChdAuc(name="auc")]},
    )
    model.optimizer.build(model.trainable_variables)  # otherwise the first step builds it, which is slow to trace
    monitor, mode = ("loss", "min") if stage.classification_weight == 0 else (f"{CLASSIFICATION}_auc", "max")
    model.fit(
        batches,
        validation_data=(_scaled(validation.images), _targets(validation.masks, validation.labels)),
        validation_batch_size=stage.batch_size,
        epochs=stage.epochs,
        callbacks=[_keep_best(f"val_{monitor}", mode, stage)],
        verbose=2,
    )


def _fit_classifier(model: keras.Model, training: Cohort, validation: Cohort, stage: Stage, seed: int) -> None:
    """Train the dense layers of the classifier. The other layers are frozen, so their output is computed once."""
    features = keras.Model(model.input, pooled_features(model))
    classifier = keras.Sequential([keras.Input(features.output_shape[1:]), *classifier_layers(model)])
    steps = -(-len(training.labels) // stage.batch_size)
    classifier.compile(
        optimizer=keras.optimizers.Adam(_cosine(stage, steps)),
        loss="sparse_categorical_crossentropy",
        metrics=[_ChdAuc(name="auc")],
    )
    known = features.predict(_scaled(training.images), batch_size=32, verbose=0)
    held_out = features.predict(_scaled(validation.images), batch_size=32, verbose=0)
    classifier.fit(
        known,
        training.labels,
        validation_data=(held_out, validation.labels),
        batch_size=stage.batch_size,
        epochs=stage.epochs,
        callbacks=[_keep_best("val_auc", "max", stage)],
        verbose=2,
    )


def _keep_best(monitor: str, mode: str, stage: Stage) -> keras.callbacks.Callback:
    return keras.callbacks.EarlyStopping(
        monitor=monitor, mode=mode, patience=stage.patience, restore_best_weights=True, verbose=1
    )


def _cosine(stage: Stage, steps_per_epoch: int) -> keras.optimizers.schedules.LearningRateSchedule:
    steps = stage.epochs * steps_per_epoch
    warm_up = steps // 20
    return keras.optimizers.schedules.CosineDecay(
        0.0, steps - warm_up, warmup_target=stage.learning_rate, warmup_steps=warm_up
    )


def _scaled(images: np.ndarray) -> np.ndarray:
    return images.astype(np.float32) / 255


def _targets(masks: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    return {SEGMENTATION: masks, CLASSIFICATION: labels}


def _segmentation_loss(masks: Tensor, probabilities: Tensor) -> Tensor:
    return segmentation_loss(ops.one_hot(ops.cast(masks, "int32"), CLASSES), probabilities)


class _ChdAuc(keras.metrics.AUC):
    """ROC AUC of the probability of CHD. Its input has the probabilities of both classes."""

    def update_state(self, labels: Tensor, probabilities: Tensor, sample_weight: Tensor | None = None) -> None:
        super().update_state(labels, probabilities[:, 1], sample_weight)


class _Batches(keras.utils.PyDataset):
    """Training batches in random order. Each image is mirrored, shifted and changed in gain at random.

    Images may be mirrored because the phantoms lie on either side and their label does not depend on it.
    """

    def __init__(self, cohort: Cohort, batch_size: int, seed: int) -> None:
        super().__init__()
        self._cohort = cohort
        self._batch_size = batch_size
        self._generator = np.random.default_rng(seed)
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._cohort.labels) // self._batch_size

    def on_epoch_end(self) -> None:
        self._order = self._generator.permutation(len(self._cohort.labels))

    def __getitem__(self, index: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        chosen = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        images, masks = self._cohort.images[chosen], self._cohort.masks[chosen]
        largest_shift = masks.shape[1] // 12
        for position in range(len(chosen)):
            shift = tuple(self._generator.integers(-largest_shift, largest_shift + 1, 2))
            step = self._generator.choice((-1, 1))
            images[position] = _shifted(images[position, :, ::step], shift)
            masks[position] = _shifted(masks[position, :, ::step], shift)
        gain = self._generator.uniform(0.75, 1.25, (len(chosen), 1, 1, 1)).astype(np.float32)
        return np.minimum(_scaled(images) * gain, 1), _targets(masks, self._cohort.labels[chosen])


def _shifted(picture: np.ndarray, shift: tuple[int, int]) -> np.ndarray:
    """Return the picture moved by `shift` rows and columns, with zeros where it has moved away."""
    rows, columns = shift
    height, width = picture.shape[:2]
    result = np.zeros_like(picture)
    result[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = picture[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    return result


class _FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation by TensorFlow's fused operation. It makes a training step on a CPU a third faster."""

    def call(self, inputs: Tensor, training: bool | None = None, mask: Tensor | None = None) -> Tensor:
        if not training:
            return super().call(inputs, training=False)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        self.moving_mean.assign(self.moving_mean * _MOMENTUM + mean * (1 - _MOMENTUM))
        self.moving_variance.assign(self.moving_variance * _MOMENTUM + variance * (1 - _MOMENTUM))
        return outputs


class _TrainingBuilder(NetworkBuilder):
    normalisation = _FusedBatchNormalization
