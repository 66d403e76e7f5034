"""The compiled training step and validation step of one stage."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.model.losses import Tensor
from diagchd_batch.model.network import DROPOUT, classifier_layers, pooled_features
from diagchd_batch.training.recipe.masked_losses import (
    image_classification_losses,
    image_segmentation_losses,
    mean_over,
)

LOSS, SEGMENTATION_LOSS, CLASSIFICATION_LOSS = "loss", "segmentation_loss", "classification_loss"
_SGD_MOMENTUM = 0.9


@dataclass(frozen=True)
class Batch:
    """One batch on its way to the network.

    Attributes:
        rows: int64 ``[b]``, rows of the cohort.
        images: uint8 ``[b, height, width, 3]``.
        masks: uint8 ``[b, height, width]``; zeros where there is none.
        labels: int8 ``[b]``: 0, 1, or -1 for none.
        has_mask: bool ``[b]``.
    """

    rows: np.ndarray
    images: np.ndarray
    masks: np.ndarray
    labels: np.ndarray
    has_mask: np.ndarray

    def tensors(self) -> tuple[Tensor, ...]:
        """Return images, masks, labels and whether there is a mask, as tensors."""
        return (
            tf.constant(self.images),
            tf.constant(self.masks),
            tf.constant(self.labels.astype(np.int32)),
            tf.constant(self.has_mask.astype(np.float32)),
        )


class CompiledStage:
    """The steps of one stage, compiled for the shape of its batches.

    In a stage that trains the classifier alone, the other layers compute as in inference: nothing in them changes, and
    the decoder is not computed. The segmentation loss has no gradient there, so it is left out.
    """

    def __init__(self, model: keras.Model, stage: StageConfig, class_weights: Sequence[float]) -> None:
        """Make the optimiser and prepare the steps. They are compiled when they are first called.

        Args:
            model: The network, with outputs for the segmentation and the classification.
            stage: The settings of the stage.
            class_weights: The weight of the classification loss for an image of label 0, and of label 1.
        """
        self._model = model
        self._stage = stage
        self._class_weights = tf.constant(class_weights, tf.float32)
        head = classifier_layers(model)
        self._head_only = stage.trains == "classifier"
        self._features = keras.Model(model.input, pooled_features(model)) if self._head_only else None
        self._head = head
        for layer in head:
            if isinstance(layer, keras.layers.Dropout):
                layer.rate = DROPOUT if stage.dropout is None else stage.dropout  # read when the step is compiled
        of_head = {id(variable) for layer in head for variable in layer.trainable_variables}
        self.trained = [
            variable
            for variable in model.trainable_variables
            if stage.trains == "everything" or (id(variable) in of_head) == self._head_only
        ]
        self.optimizer = _optimizer(stage)
        self.optimizer.build(self.trained)
        self._step = tf.function(self._train)
        self._judge = tf.function(self._validate)

    def train(self, batch: Batch, learning_rate: float) -> dict[str, float]:
        """Take one step.

        Args:
            batch: The batch.
            learning_rate: The learning rate of this step.

        Returns:
            The loss of the batch before the step, and its two parts before their weights.
        """
        values = self._step(*batch.tensors(), tf.constant(learning_rate, tf.float32)).numpy()
        return dict(zip((LOSS, SEGMENTATION_LOSS, CLASSIFICATION_LOSS), map(float, values), strict=True))

    def validate(self, batch: Batch) -> dict[str, np.ndarray]:
        """Return float32 ``[b]`` arrays of the two losses, ``probability`` of CHD and ``iou``. Nothing changes.

        ``iou`` is the mean over septum and heart of intersection over union; a class that is nowhere counts as 1.
        """
        values = [value.numpy() for value in self._judge(*batch.tensors())]
        return dict(zip((SEGMENTATION_LOSS, CLASSIFICATION_LOSS, "probability", "iou"), values, strict=True))

    def _train(self, images: Tensor, masks: Tensor, labels: Tensor, has_mask: Tensor, rate: Tensor) -> Tensor:
        labelled = tf.cast(labels >= 0, tf.float32)
        weights = tf.gather(self._class_weights, tf.maximum(labels, 0))
        features = self._features(_scaled(images), training=False) if self._features is not None else None
        with tf.GradientTape() as tape:
            if features is not None:
                segmentation, probabilities = tf.constant(0.0), self._apply_head(features, training=True)
            else:
                maps, probabilities = _as_float32(self._model(_scaled(images), training=True))
                segmentation = mean_over(image_segmentation_losses(masks, maps), tf.ones_like(has_mask), has_mask)
            classification = mean_over(image_classification_losses(labels, probabilities), weights, labelled)
            loss = self._stage.segmentation_weight * segmentation + self._stage.classification_weight * classification
        gradients = tape.gradient(loss, self.trained)
        trained = [(gradient, weight) for gradient, weight in zip(gradients, self.trained, strict=True)]
        self.optimizer.learning_rate.assign(rate)
        self.optimizer.apply_gradients([(_or_zero(gradient, weight), weight) for gradient, weight in trained])
        return tf.stack([loss, segmentation, classification])

    def _validate(self, images: Tensor, masks: Tensor, labels: Tensor, has_mask: Tensor) -> tuple[Tensor, ...]:
        if self._features is not None:
            probabilities = self._apply_head(self._features(_scaled(images), training=False), training=False)
            segmentation = overlap = tf.zeros_like(has_mask)
        else:
            maps, probabilities = _as_float32(self._model(_scaled(images), training=False))
            segmentation = image_segmentation_losses(masks, maps)
            overlap = _mean_iou(masks, maps)
        return segmentation, image_classification_losses(labels, probabilities), probabilities[:, 1], overlap

    def _apply_head(self, features: Tensor, *, training: bool) -> Tensor:
        for layer in self._head:
            takes_training = isinstance(layer, keras.layers.Dropout)
            features = layer(features, training=training) if takes_training else layer(features)
        return ops.cast(features, "float32")


def _optimizer(stage: StageConfig) -> Any:
    options = {"momentum": _SGD_MOMENTUM} if stage.optimizer == "sgd" else {}
    return keras.optimizers.get(
        {"class_name": stage.optimizer, "config": {"learning_rate": stage.learning_rate, **options}}
    )


def _scaled(images: Tensor) -> Tensor:
    return ops.cast(images, "float32") / 255.0


def _as_float32(outputs: Sequence[Tensor]) -> list[Tensor]:
    return [ops.cast(output, "float32") for output in outputs]


def _mean_iou(masks: Tensor, maps: Tensor) -> Tensor:
    """Return the mean over the classes but the background of intersection over union, ``[b]``."""
    n_classes = maps.shape[-1]
    wanted = tf.one_hot(tf.cast(masks, tf.int32), n_classes)[..., 1:]
    found = tf.one_hot(tf.argmax(maps, axis=-1), n_classes)[..., 1:]
    intersection = tf.reduce_sum(wanted * found, axis=(1, 2))
    union = tf.reduce_sum(tf.maximum(wanted, found), axis=(1, 2))
    return tf.reduce_mean(tf.where(union > 0, tf.math.divide_no_nan(intersection, union), 1.0), axis=-1)


def _or_zero(gradient: Tensor | None, weight: Tensor) -> Tensor:
    """Return the gradient, or zeros for a weight that the loss does not depend on."""
    return tf.zeros(weight.shape) if gradient is None else gradient
