"""The names and shapes of the network's variables, without Keras, so that wrong weights are refused before any work.

They follow from the width factor alone. A test compares them with the network that `model.network` builds.
"""

from collections.abc import Iterator

from diagchd_batch.model.weights.layer_names import CLASSIFIER_DENSE, RESIDUAL_BLOCKS, SKIP_STAGES

Shapes = dict[str, tuple[int, ...]]
"""Variable path, such as `conv4_up/kernel` -> shape."""

STRIDE = 32
"""Grid pixels per bottleneck pixel, along each axis."""

CLASSES = 3
"""Classes of a pixel: background, septum, rest of the heart."""

ATTENTION_RATIO = 8
"""Channels per hidden unit of the attention."""

CLASSIFIER_UNITS = (1000, 500, 100, 2)
"""Outputs of the dense layers `CLASSIFIER_DENSE`, at every width."""

RESIDUAL_CHANNELS = (128, 256, 728)
"""Channels of the encoder blocks `RESIDUAL_BLOCKS`, in the full design."""

SKIP_CHANNELS = (256, 128, 64, 32)
"""Channels of the decoder stages `SKIP_STAGES`, in the full design."""

BOTTLENECK_CHANNELS = 512
LAST_CHANNELS = 16


def scale_channels(channels: int, factor: float) -> int:
    """Return `channels` times `factor`, rounded to a multiple of 4 and at least 8.

    Every number of channels in the full design is a multiple of 4.

    Args:
        channels: Channels in the full design.
        factor: The width factor, greater than 0.
    """
    return max(8, int(channels * factor / 4 + 0.5) * 4)


def variable_shapes(width_factor: float) -> Shapes:
    """Return the shape of every variable of the network.

    Args:
        width_factor: What the card of the model says of its architecture, greater than 0.
    """
    return {f"{layer}/{name}": shape for layer, name, shape in _Design(width_factor).variables()}


_Variables = Iterator[tuple[str, str, tuple[int, ...]]]


class _Design:
    """Yields layer, variable and shape of each part of the network. The parts are those of `NetworkBuilder`."""

    def __init__(self, width_factor: float) -> None:
        self._factor = width_factor

    def variables(self) -> _Variables:
        yield from self._encoder()
        channels = self._scaled(BOTTLENECK_CHANNELS)
        yield from self._stage("convm", self._scaled(1024), channels)
        skips = (1024, *reversed(RESIDUAL_CHANNELS))
        below = channels
        for stage, full, skip in zip(SKIP_STAGES, SKIP_CHANNELS, skips, strict=True):
            out = self._scaled(full)
            yield from self._upsampling(stage, below, out)
            joined = out + self._scaled(skip)
            yield from self._attention(stage, joined)
            yield from self._stage(stage, joined, out)
            below = out
        last = self._scaled(LAST_CHANNELS)
        yield from self._upsampling("conv0", below, last)
        yield from self._stage("conv0", last, last)
        yield from _convolution("head_conv", 1, last, CLASSES)
        yield from _normalisation("head_conv_bn", CLASSES)
        for layer, units in zip(CLASSIFIER_DENSE, CLASSIFIER_UNITS, strict=True):
            yield from _dense(layer, channels, units)
            channels = units

    def _encoder(self) -> _Variables:
        channels = self._scaled(64)
        yield from _convolution("block1_conv1", 3, 3, self._scaled(32), bias=False)
        yield from _normalisation("block1_conv1_bn", self._scaled(32))
        yield from _convolution("block1_conv2", 3, self._scaled(32), channels, bias=False)
        yield from _normalisation("block1_conv2_bn", channels)
        for block, full in zip(RESIDUAL_BLOCKS, RESIDUAL_CHANNELS, strict=True):
            out = self._scaled(full)
            yield from _convolution(f"block{block}_residual", 1, channels, out, bias=False)
            yield from _normalisation(f"block{block}_residual_bn", out)
            yield from _separable(f"block{block}_sepconv1", channels, out)
            yield from _separable(f"block{block}_sepconv2", out, out)
            channels = out
        for block in range(5, 13):
            for number in (1, 2, 3):
                yield from _separable(f"block{block}_sepconv{number}", channels, channels)
        yield from _separable("block13_sepconv1", channels, channels)
        yield from _separable("block13_sepconv2", channels, self._scaled(1024))

    def _stage(self, stage: str, channels: int, out: int) -> _Variables:
        yield from _convolution(f"{stage}_conv", 3, channels, out)
        for residual in (f"{stage}_r1", f"{stage}_r2"):
            yield from _normalisation(f"{residual}_in_bn", out)
            yield from _normalisation(f"{residual}_skip_bn", out)
            for number in (1, 2):
                yield from _convolution(f"{residual}_conv{number}", 3, out, out)
                yield from _normalisation(f"{residual}_conv{number}_bn", out)

    def _upsampling(self, stage: str, channels: int, out: int) -> _Variables:
        yield f"{stage}_up", "kernel", (3, 3, out, channels)
        yield f"{stage}_up", "bias", (out,)

    def _attention(self, stage: str, channels: int) -> _Variables:
        hidden = channels // ATTENTION_RATIO
        yield from _dense(f"{stage}Dense_1", channels, hidden)
        yield from _dense(f"{stage}Dense_2", hidden, channels)
        yield from _convolution(f"{stage}Conv2D_1", 7, 2, 1, bias=False)

    def _scaled(self, channels: int) -> int:
        return scale_channels(channels, self._factor)


def _convolution(layer: str, size: int, channels: int, out: int, bias: bool = True) -> _Variables:
    yield layer, "kernel", (size, size, channels, out)
    if bias:
        yield layer, "bias", (out,)


def _separable(layer: str, channels: int, out: int) -> _Variables:
    yield layer, "depthwise_kernel", (3, 3, channels, 1)
    yield layer, "pointwise_kernel", (1, 1, channels, out)
    yield from _normalisation(f"{layer}_bn", out)


def _dense(layer: str, channels: int, units: int) -> _Variables:
    yield layer, "kernel", (channels, units)
    yield layer, "bias", (units,)


def _normalisation(layer: str, channels: int) -> _Variables:
    for name in ("gamma", "beta", "moving_mean", "moving_variance"):
        yield layer, name, (channels,)
