"""The losses of the original, one value for each image.

Targets (one-hot) and probabilities are float arrays ``[batch, height, width, classes]``. Each result is ``[batch]``.
"""

from typing import Any

from keras import ops

Tensor = Any  # an array or tensor of any back end; Keras has no type for it that checkers accept

_SMOOTHING = 1e-6
_SMALLEST_PROBABILITY = 1e-7  # Keras clips probabilities to it in its cross-entropy


def cross_entropy(targets: Tensor, probabilities: Tensor) -> Tensor:
    """Return the categorical cross-entropy, averaged over the pixels, in nats.

    Args:
        targets: Float ``[batch, height, width, classes]``, one-hot.
        probabilities: Float ``[batch, height, width, classes]`` in [0, 1], which sum to 1 over the classes.

    Returns:
        Float ``[batch]``, at least 0.
    """
    clipped = ops.clip(probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return -ops.mean(ops.sum(targets * ops.log(clipped), axis=-1), axis=(1, 2))


def soft_dice(targets: Tensor, probabilities: Tensor) -> Tensor:
    """Return soft Dice, averaged over the channels with the background among them, in [0, 1].

    It is (2 Σpt + ε) / (Σp + Σt + ε) for each image and channel. A channel that is empty in both arrays counts as 1.

    Args:
        targets: Float ``[batch, height, width, classes]``, one-hot.
        probabilities: Float ``[batch, height, width, classes]`` in [0, 1].

    Returns:
        Float ``[batch]`` in [0, 1].
    """
    both = ops.sum(targets * probabilities, axis=(1, 2))
    either = ops.sum(probabilities, axis=(1, 2)) + ops.sum(targets, axis=(1, 2))
    return ops.mean((2 * both + _SMOOTHING) / (either + _SMOOTHING), axis=-1)


def segmentation_loss(targets: Tensor, probabilities: Tensor) -> Tensor:
    """Return the cross-entropy plus one minus soft Dice. Its mean over a batch is the loss of the original.

    Args:
        targets: Float ``[batch, height, width, classes]``, one-hot.
        probabilities: Float ``[batch, height, width, classes]`` in [0, 1], which sum to 1 over the classes.

    Returns:
        Float ``[batch]``, at least 0.
    """
    return cross_entropy(targets, probabilities) + 1 - soft_dice(targets, probabilities)
