"""The operations after the convolutions: from the members' logits and features to the fields of a `Prediction`.

They are cheap, and they decide calls and losses, so they are computed in float64: no bfloat16 rewrite changes them, and
the order of a sum does not show in the float32 results.
"""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from diagchd_batch.model.losses import segmentation_loss, soft_dice
from diagchd_batch.model.runtimes.tensorflow.inference import classifier_matrix
from diagchd_batch.model.weights.variable_shapes import CLASSES

REFERENCE_FIELDS = ("seg_loss_b_f32", "soft_dice_b_f32")
"""The fields of `Prediction` that need a reference. They are the last outputs."""


class MemberHeads:
    """One member of a model: its folded network, and its classifier as one affine map."""

    def __init__(self, folded: keras.Model, network: keras.Model) -> None:
        """Take `folded`, which `build_inference_network` made from `network`."""
        self._folded = folded
        self._classifier = classifier_matrix(network)

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return the logits ``[b, h, w, 3]``, the probability of disease and the pooled features, both float64."""
        matrix, bias = self._classifier
        logits, features = self._folded(images, training=False)
        pooled = tf.reduce_mean(tf.cast(features, tf.float64), axis=(1, 2))
        return logits, tf.nn.softmax(tf.matmul(pooled, matrix) + bias)[:, 1], pooled


def output_fields(n_members: int, *, view_features: bool) -> tuple[str, ...]:
    """Return the names of the outputs of `score_function`, in their order: fields of `Prediction`.

    Args:
        n_members: The number of members.
        view_features: Whether the model gives what its view check needs.
    """
    of_members = ("chd_probability_sd_b_f32", "mask_disagreement_b_f32") if n_members > 1 else ()
    of_view = ("pooled_features_bmd_f32", "entropy_b_f32") if view_features else ()
    return ("label_maps_bhw_u8", "chd_probability_b_f32", *of_members, *of_view, *REFERENCE_FIELDS)


def score_function(members: Sequence[MemberHeads], *, view_features: bool) -> Callable[..., tuple[tf.Tensor, ...]]:
    """Return the function to compile: from uint8 images to the outputs that `output_fields` names.

    Args:
        members: The members, at least one.
        view_features: Whether the pooled features and the entropy are among the outputs.

    Returns:
        A function of images and, optionally, reference label maps. Without a reference it lacks the last two outputs.
    """

    def score(images: tf.Tensor, reference: tf.Tensor | None = None) -> tuple[tf.Tensor, ...]:
        scaled = tf.cast(images, tf.float32) / 255
        logits, probabilities, pooled = zip(*(member(scaled) for member in members), strict=True)
        if len(members) == 1:
            outputs = [_classes(logits[0]), tf.cast(probabilities[0], tf.float32)]
        else:
            outputs = _combined(logits, tf.stack(probabilities, axis=1))
        if view_features:
            outputs += [tf.cast(tf.stack(pooled, axis=1), tf.float32), _mean_entropy(logits)]
        if reference is None:
            return tuple(outputs)
        of_pixels = _mean([tf.nn.softmax(tf.cast(each, tf.float64)) for each in logits])
        targets = tf.one_hot(tf.cast(reference, tf.int32), CLASSES, dtype=tf.float64)
        loss, dice = segmentation_loss(targets, of_pixels), soft_dice(targets, of_pixels)
        return (*outputs, tf.cast(loss, tf.float32), tf.cast(dice, tf.float32))

    return score


def _combined(logits: Sequence[tf.Tensor], probabilities: tf.Tensor) -> list[tf.Tensor]:
    """Return the vote of the masks, the mean probability, its standard deviation, and the masks' disagreement."""
    label_maps = [_classes(each) for each in logits]
    votes = tf.add_n([tf.one_hot(tf.cast(each, tf.int32), CLASSES) for each in label_maps])
    # Votes are whole numbers, and the second term is below 1, so it only decides between equal numbers of votes.
    preference = 0.5 * _mean([tf.nn.softmax(tf.cast(each, tf.float32)) for each in logits])
    differs = tf.reduce_any([each != label_maps[0] for each in label_maps[1:]], axis=0)
    foreground = tf.reduce_any([each > 0 for each in label_maps], axis=0)
    n_differing, n_foreground = (
        tf.reduce_sum(tf.cast(each, tf.float64), axis=(1, 2)) for each in (differs, foreground)
    )
    return [
        _classes(votes + preference),
        tf.cast(tf.reduce_mean(probabilities, axis=1), tf.float32),
        tf.cast(tf.math.reduce_std(probabilities, axis=1), tf.float32),
        tf.cast(tf.math.divide_no_nan(n_differing, n_foreground), tf.float32),
    ]


def _classes(scores: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.argmax(scores, axis=-1, output_type=tf.int32), tf.uint8)


def _mean_entropy(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """Return the entropy of the classes, the mean over pixels and members, in nats, float32 ``[b]``."""
    entropies = []
    for each in logits:
        log = tf.nn.log_softmax(tf.cast(each, tf.float32))
        entropies.append(-tf.reduce_sum(tf.exp(log) * log, axis=-1))
    return tf.cast(tf.reduce_mean(tf.cast(_mean(entropies), tf.float64), axis=(1, 2)), tf.float32)


def _mean(tensors: Sequence[tf.Tensor]) -> tf.Tensor:
    return (
        tensors[0]
        if len(tensors) == 1
        else tf.add_n(list(tensors)) / np.float64(len(tensors)).astype(tensors[0].dtype.as_numpy_dtype)
    )
