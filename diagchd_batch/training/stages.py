"""Training in the original's three stages: segmentation, then the classifier on frozen features, then everything.

It differs from the original where a short training from scratch needs it: no ImageNet weights exist for the compact
widths, the learning rate falls along a cosine instead of on plateaus, the moving averages of batch normalisation adapt
faster, and the best epoch is chosen on a validation split of its own, never on data that is reported on.
"""

import logging
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from diagchd_batch.model.losses import segmentation_loss
from diagchd_batch.model.network import CLASSES, NetworkBuilder, build_network_with, classifier_layers, pooled_features
from diagchd_batch.model.weights.checkpoints import load_checkpoint, save_checkpoint
from diagchd_batch.model.weights.layer_names import CLASSIFIER_PREFIX

SEGMENTATION = "Seg"
CLASSIFICATION = CLASSIFIER_PREFIX
_MOMENTUM = 0.95
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cohort:
    """Images uint8 ``[n, h, w, 3]`` and label maps 0/1/2 uint8 ``[n, h, w]`` at the model's grid; labels 0/1 and study
    numbers, int32 ``[n]``."""

    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    studies: np.ndarray


@dataclass(frozen=True)
class Stage:
    """One stage's budget and loss weights. `patience`: epochs without a better validation figure that end it."""

    epochs: int
    batch_size: int
    learning_rate: float
    patience: int
    segmentation_weight: float
    classification_weight: float


def train(
    model_name: str, training: Cohort, validation: Cohort, stages: dict[str, Stage], seed: int, directory: Path
) -> keras.Model:
    """Train `model_name` from scratch by the stages ``segmentation``, ``classifier`` and ``everything``.

    `directory` keeps each stage's result; a stage that is already there is not repeated.
    """
    keras.utils.set_random_seed(seed)
    model = build_network_with(_TrainingBuilder, model_name)
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
    """All weights. Without a weight on the classification, the best epoch is that of the least segmentation loss."""
    batches = _Batches(training, stage.batch_size, seed)
    model.compile(
        optimizer=keras.optimizers.Adam(_cosine(stage, len(batches))),
        loss={SEGMENTATION: _segmentation_loss, CLASSIFICATION: "sparse_categorical_crossentropy"},
        loss_weights={SEGMENTATION: stage.segmentation_weight, CLASSIFICATION: stage.classification_weight},
        metrics={CLASSIFICATION: [_ChdAuc(name="auc")]},
    )
    model.optimizer.build(model.trainable_variables)  # else within the first step, which is then slow to trace
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
    """The classifier's dense layers alone. The frozen part gives the same features each time, so they are made once."""
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


def _segmentation_loss(masks, probabilities):
    return segmentation_loss(ops.one_hot(ops.cast(masks, "int32"), CLASSES), probabilities)


class _ChdAuc(keras.metrics.AUC):
    """ROC AUC of the probability of CHD, from both classes' probabilities."""

    def update_state(self, labels, probabilities, sample_weight=None):
        super().update_state(labels, probabilities[:, 1], sample_weight)


class _Batches(keras.utils.PyDataset):
    """Shuffled training batches, each image mirrored, shifted and with its gain changed at random.

    Mirroring is no lie here: the phantoms lie on either side, and their label does not depend on it.
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
    """Moved by rows and columns; zeros come in."""
    rows, columns = shift
    height, width = picture.shape[:2]
    result = np.zeros_like(picture)
    result[max(rows, 0) : height + min(rows, 0), max(columns, 0) : width + min(columns, 0)] = picture[
        max(-rows, 0) : height + min(-rows, 0), max(-columns, 0) : width + min(-columns, 0)
    ]
    return result


class _FusedBatchNormalization(keras.layers.BatchNormalization):
    """The same function; in training by TensorFlow's fused operation, which takes a third off a CPU's training step."""

    def call(self, inputs, training=None, mask=None):
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
