"""The network in the form that scores fastest: the same function of the image, without what only training needs.

Batch normalisation is folded into the convolution before it, in float64; one without a convolution before it becomes a
scale and a shift per channel. The classifier's dense layers have no activation, so they are one matrix.
"""

import keras
import numpy as np
from keras import layers

from diagchd_batch.model.card import load_card
from diagchd_batch.model.layout import CLASSIFIER_DENSE
from diagchd_batch.model.network import NetworkBuilder, Tensor


def build_inference_network(name: str, network: keras.Model, dtype_policy: str = "float32") -> keras.Model:
    """Model `name` (from `build_network`) with its batch normalisation folded.

    Input as the network's; outputs: logits ``[batch, height, width, 3]`` and the bottleneck's features
    ``[batch, height / 32, width / 32, channels]``. `dtype_policy`: Keras's, such as ``mixed_bfloat16``.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        outputs = _FoldedBuilder(load_card(name).architecture.width_factor).segment(image)
    finally:
        keras.config.set_dtype_policy(before)
    folded = keras.Model(image, outputs)
    source = {layer.name: layer for layer in network.layers}
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(_weights(layer, source))
    return folded


def classifier_matrix(network: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """The classifier as one affine map of the pooled features: matrix ``[channels, 2]`` and bias ``[2]``, float64."""
    *earlier, last = (_arrays(network.get_layer(name)) for name in CLASSIFIER_DENSE)
    matrix, bias = last
    for kernel, offset in reversed(earlier):
        matrix, bias = kernel @ matrix, offset @ matrix + bias
    return matrix, bias


class _FoldedBuilder(NetworkBuilder):
    def convolve_and_normalise(self, tensor: Tensor, kind: type, channels: int, name: str, **options) -> Tensor:
        options = {"kernel_size": 3, "padding": "same"} | options | {"use_bias": True}
        return kind(channels, name=name, **options)(tensor)

    def normalise(self, tensor: Tensor, name: str) -> Tensor:
        return _ChannelAffine(name=name)(tensor)


class _ChannelAffine(layers.Layer):
    """x · scale + shift, per channel."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=input_shape[-1:], name="scale")
        self.shift = self.add_weight(shape=input_shape[-1:], name="shift")

    def call(self, tensor: Tensor) -> Tensor:
        return tensor * self.scale + self.shift


def _weights(layer: keras.Layer, source: dict[str, keras.Layer]) -> list[np.ndarray]:
    original = source[layer.name]
    if isinstance(layer, _ChannelAffine):
        return list(_affine(original))
    normalisation = source.get(f"{layer.name}_bn")
    if normalisation is None:
        return _arrays(original)
    kernels = _arrays(original)
    bias = kernels.pop() if original.use_bias else 0
    scale, shift = _affine(normalisation)
    kernels[-1] = kernels[-1] * scale  # the last axis of the last kernel is the output channel
    return [*kernels, bias * scale + shift]


def _affine(normalisation: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
    """(scale, shift) per channel of a batch normalisation at inference, float64."""
    gamma, beta, mean, variance = _arrays(normalisation)
    scale = gamma / np.sqrt(variance + normalisation.epsilon)
    return scale, beta - mean * scale


def _arrays(layer: keras.Layer) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(weight).astype(np.float64) for weight in layer.weights]
