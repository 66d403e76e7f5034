"""The network in the form that scores fastest: the same function of the image, without what only training needs.

A batch normalisation is folded into the convolution before it, in float64. One without a convolution before it becomes
a scale and a shift for each channel. The dense layers of the classifier have no activation, so they become one matrix.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.network import NetworkBuilder, Tensor, leaky
from diagchd_batch.model.runtimes.tensorflow.winograd import WinogradConvolution, pays_off, transform_kernel
from diagchd_batch.model.weights.layer_names import CLASSIFIER_DENSE

_LAST, _SKIP = "_conv2", "_skip_bn"
"""Layer-name suffixes in a residual block: the last convolution, and the normalisation on the skip path."""


def build_inference_network(
    card: ModelCard, network: keras.Model, builder: type["FoldedBuilder"], dtype_policy: str = "float32"
) -> keras.Model:
    """Return a copy of a network with its batch normalisations folded.

    Args:
        card: The card that `network` was built from.
        network: The network with its weights, from `build_network_from_card`.
        builder: Which operations the copy is built of.
        dtype_policy: Keras's name for the precision, such as ``mixed_bfloat16``.

    Returns:
        A model with the input of `network`. Its outputs are the logits ``[batch, height, width, 3]`` and the features
        of the bottleneck ``[batch, height / 32, width / 32, channels]``.
    """
    image = keras.Input(network.input_shape[1:], name="image")
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(dtype_policy)
    try:
        outputs = builder(card.architecture.width_factor).segment(image)
    finally:
        keras.config.set_dtype_policy(before)
    folded = keras.Model(image, outputs)
    source = {layer.name: layer for layer in network.layers}
    for layer in folded.layers:
        if layer.weights:
            layer.set_weights(_weights(layer, source))
    for layer in folded.layers:
        if isinstance(layer, _NegatedScale):
            last = folded.get_layer(layer.name.removesuffix(_SKIP) + _LAST)
            last.bias.assign(_array(last.bias) + _affine(source[layer.name])[1])
    return folded


def classifier_matrix(network: keras.Model) -> tuple[np.ndarray, np.ndarray]:
    """Return the classifier as one affine map of the pooled features.

    Returns:
        The matrix ``[channels, 2]`` and the bias ``[2]``, both float64. Index 1 is CHD.
    """
    *earlier, last = (_arrays(network.get_layer(name)) for name in CLASSIFIER_DENSE)
    matrix, bias = last
    for kernel, offset in reversed(earlier):
        matrix, bias = kernel @ matrix, offset @ matrix + bias
    return matrix, bias


class FoldedBuilder(NetworkBuilder):
    """Builds the network for a compiler that fuses elementwise operations, such as XLA."""

    def convolve_and_normalise(self, tensor: Tensor, kind: type, channels: int, name: str, **options: Any) -> Tensor:
        """See `NetworkBuilder.convolve_and_normalise`."""
        options = {"kernel_size": 3, "padding": "same"} | options | {"use_bias": True}
        return kind(channels, name=name, **options)(tensor)

    def normalise(self, tensor: Tensor, name: str) -> Tensor:
        """See `NetworkBuilder.normalise`."""
        return _ChannelAffine(name=name)(tensor)


class CpuBuilder(FoldedBuilder):
    """Builds the network with fewer passes over the tensors: on a CPU every elementwise operation is one pass."""

    def normalise(self, tensor: Tensor, name: str) -> Tensor:
        """See `NetworkBuilder.normalise`."""
        return layers.DepthwiseConv2D(1, name=name)(tensor)  # scale and shift in one pass

    def residual(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        """See `NetworkBuilder.residual`.

        The bias of the last convolution includes the shift of the skip's normalisation.
        """
        inner = self.normalise(leaky(tensor), f"{name}_in_bn")
        inner = leaky(self.convolve_and_normalise(inner, layers.Conv2D, channels, f"{name}_conv1"))
        inner = self.convolve_and_normalise(inner, layers.Conv2D, channels, f"{name}{_LAST}")
        # Subtract, with the opposite sign in the weights. TensorFlow's remapper would fuse an addition with the
        # convolution although the result has two readers, fail, and leave the whole graph without its fusions.
        return layers.Subtract()([inner, _NegatedScale(name=f"{name}{_SKIP}")(tensor)])

    def pool_space(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """See `NetworkBuilder.pool_space`."""
        # TensorFlow reduces one axis after the other in half the time that it needs for both at once.
        mean, maximum = ops.mean(tensor, axis=1, keepdims=True), ops.max(tensor, axis=1, keepdims=True)
        return ops.mean(mean, axis=2, keepdims=True), ops.max(maximum, axis=2, keepdims=True)


class CpuFloat32Builder(CpuBuilder):
    """Builds the network with fewer multiplications as well. Their rounding needs float32; bfloat16 is too coarse."""

    def convolve(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        """See `NetworkBuilder.convolve`."""
        if pays_off(tensor.shape[-1], channels):
            return WinogradConvolution(channels, name)(tensor)
        return super().convolve(tensor, channels, name)

    def convolve_and_normalise(self, tensor: Tensor, kind: type, channels: int, name: str, **options: Any) -> Tensor:
        """See `NetworkBuilder.convolve_and_normalise`."""
        if kind is layers.Conv2D and not options:
            return self.convolve(tensor, channels, name)
        return super().convolve_and_normalise(tensor, kind, channels, name, **options)


class _ChannelAffine(layers.Layer):
    """Computes x · scale + shift for each channel."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.scale = self.add_weight(shape=input_shape[-1:], name="scale")
        self.shift = self.add_weight(shape=input_shape[-1:], name="shift")

    def call(self, tensor: Tensor) -> Tensor:
        return tensor * self.scale + self.shift


class _NegatedScale(layers.Layer):
    """Computes -x · scale for each channel."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.negated_scale = self.add_weight(shape=input_shape[-1:], name="negated_scale")

    def call(self, tensor: Tensor) -> Tensor:
        return tensor * self.negated_scale


def _weights(layer: keras.Layer, source: dict[str, keras.Layer]) -> list[np.ndarray]:
    """Return the arrays for a layer of the folded network, from the layers of the original by name."""
    original = source[layer.name]
    if isinstance(original, layers.BatchNormalization):
        scale, shift = _affine(original)
        if isinstance(layer, _NegatedScale):
            return [-scale]
        return [scale, shift] if isinstance(layer, _ChannelAffine) else [scale[None, None, :, None], shift]
    arrays = _arrays(original)
    normalisation = source.get(f"{layer.name}_bn")
    if normalisation is not None:
        bias = arrays.pop() if original.use_bias else 0
        scale, shift = _affine(normalisation)
        arrays[-1] = arrays[-1] * scale  # the last axis of the last kernel is the output channel
        arrays.append(bias * scale + shift)
    return [transform_kernel(arrays[0]), arrays[1]] if isinstance(layer, WinogradConvolution) else arrays


def _affine(normalisation: keras.Layer) -> tuple[np.ndarray, np.ndarray]:
    """Return the scale and the shift of each channel of a batch normalisation at inference, float64."""
    gamma, beta, mean, variance = _arrays(normalisation)
    scale = gamma / np.sqrt(variance + normalisation.epsilon)
    return scale, beta - mean * scale


def _arrays(layer: keras.Layer) -> list[np.ndarray]:
    return [_array(weight) for weight in layer.weights]


def _array(weight: keras.Variable) -> np.ndarray:
    values: np.ndarray = keras.ops.convert_to_numpy(weight)
    return values.astype(np.float64)
