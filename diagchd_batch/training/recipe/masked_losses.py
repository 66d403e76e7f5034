"""Losses of a batch in which some images have no mask and some have no label."""

from keras import ops

from diagchd_batch.model.losses import Tensor, segmentation_loss
from diagchd_batch.model.weights.variable_shapes import CLASSES

_SMALLEST_PROBABILITY = 1e-7  # as in Keras's cross-entropy


def image_segmentation_losses(masks: Tensor, probabilities: Tensor) -> Tensor:
    """Return the segmentation loss of each image.

    Args:
        masks: Integer ``[batch, height, width]``, classes 0, 1 and 2.
        probabilities: Float32 ``[batch, height, width, 3]``.

    Returns:
        Float32 ``[batch]``.
    """
    return segmentation_loss(ops.one_hot(ops.cast(masks, "int32"), CLASSES), probabilities)


def image_classification_losses(labels: Tensor, probabilities: Tensor) -> Tensor:
    """Return the cross-entropy of each image's label.

    Args:
        labels: Integer ``[batch]``: 0, 1, or -1 for none. The loss of an image without a label means nothing.
        probabilities: Float32 ``[batch, 2]``.

    Returns:
        Float32 ``[batch]``.
    """
    targets = ops.one_hot(ops.cast(ops.maximum(labels, 0), "int32"), 2)
    clipped = ops.clip(probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return -ops.sum(targets * ops.log(clipped), axis=-1)


def mean_over(losses: Tensor, weights: Tensor, is_known: Tensor) -> Tensor:
    """Return the weighted mean over the images whose mask or label is known, and 0 if there is none.

    Args:
        losses: Float32 ``[batch]``.
        weights: Float32 ``[batch]``, such as the weight of the image's class.
        is_known: Float32 ``[batch]``, 1 or 0.

    Returns:
        A float32 scalar: the sum of weight times loss over the known images, divided by their number.
    """
    return ops.sum(losses * weights * is_known) / ops.maximum(ops.sum(is_known), 1.0)
