"""The original's losses, per image. Targets (one-hot) and probabilities are ``[batch, height, width, classes]``."""

from keras import ops

_SMOOTHING = 1e-6
_SMALLEST_PROBABILITY = 1e-7  # what Keras clips probabilities to in its cross-entropy


def cross_entropy(targets, probabilities):
    """Categorical cross-entropy, mean over the pixels. Returns ``[batch]``, in nats."""
    clipped = ops.clip(probabilities, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return -ops.mean(ops.sum(targets * ops.log(clipped), axis=-1), axis=(1, 2))


def soft_dice(targets, probabilities):
    """Soft Dice per image and channel, (2 Σpt + ε) / (Σp + Σt + ε), mean over the channels, background included.

    Returns ``[batch]`` in [0, 1]. A channel that is empty on both sides counts as 1.
    """
    both = ops.sum(targets * probabilities, axis=(1, 2))
    either = ops.sum(probabilities, axis=(1, 2)) + ops.sum(targets, axis=(1, 2))
    return ops.mean((2 * both + _SMOOTHING) / (either + _SMOOTHING), axis=-1)


def segmentation_loss(targets, probabilities):
    """Cross-entropy plus one minus soft Dice. Returns ``[batch]``; its mean over a batch is the original's loss."""
    return cross_entropy(targets, probabilities) + 1 - soft_dice(targets, probabilities)
