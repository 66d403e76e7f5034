"""The DiagCHD network in pure Keras 3: an Xception U-Net with CBAM and a classifier on its bottleneck.

The design is described in the public repository MedicalDataAI/DiagCHD. The attention module is CBAM (arXiv 1807.06521).
The encoder is Xception (arXiv 1610.02357), with the layer names of `keras.applications`. Nothing here depends on a
back end.
"""

from typing import Any

import keras
from keras import layers, ops

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.card import ModelCard
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.weights.layer_names import CLASSIFIER_DENSE, CLASSIFIER_PREFIX, RESIDUAL_BLOCKS, SKIP_STAGES
from diagchd_batch.model.weights.variable_shapes import (
    ATTENTION_RATIO,
    BOTTLENECK_CHANNELS,
    CLASSES,
    CLASSIFIER_UNITS,
    LAST_CHANNELS,
    RESIDUAL_CHANNELS,
    SKIP_CHANNELS,
    STRIDE,
    scale_channels,
)

DROPOUT = 0.6
"""Fraction of the values that training drops before each dense layer of the classifier."""

_LEAKY_SLOPE = 0.1
_POOLING = f"{CLASSIFIER_PREFIX}_main_GlobalAveragePooling2D"

Tensor = Any  # a symbolic Keras tensor; Keras has no type for it that checkers accept


def build_network(name: str, height: int | None = None, width: int | None = None) -> keras.Model:
    """Build a model with fresh weights.

    The input is float32 ``[batch, height, width, 3]``: RGB, each pixel divided by 255. The outputs are float32
    probabilities:

    * ``Seg``, ``[batch, height, width, 3]``, the softmax over background, septum and rest of the heart;
    * ``SegModel_Xception``, ``[batch, 2]``, the softmax over normal (index 0) and CHD (index 1).

    Args:
        name: What `model.name` of a job may be: a bundled name, a package's path or its S3 URI.
        height: Rows of the grid, a multiple of 32; the card's if None. The weights do not depend on the grid.
        width: Columns of the grid, a multiple of 32; the card's if None.

    Returns:
        The model; its layers have the same names at every size.

    Raises:
        ConfigError: There is no such model, or the grid is impossible.

    >>> build_network("diagchd").count_params()
    40123416
    """
    return build_network_from_card(load_card(name), height, width)


def build_network_from_card(
    card: ModelCard,
    height: int | None = None,
    width: int | None = None,
    builder: "type[NetworkBuilder] | None" = None,
) -> keras.Model:
    """Build the model that a card describes, with fresh weights; see `build_network`.

    Args:
        card: The model's card.
        height: Rows of the grid, a multiple of 32; the card's if None.
        width: Columns of the grid, a multiple of 32; the card's if None.
        builder: Builds encoder and decoder; `NetworkBuilder` if None. Layer names and weights must stay the same.

    Returns:
        A model from ``[batch, height, width, 3]`` to the outputs that `build_network` describes.

    Raises:
        ConfigError: The grid is impossible.
    """
    architecture = card.architecture
    height = architecture.height if height is None else height
    width = architecture.width if width is None else width
    if height < STRIDE or width < STRIDE or height % STRIDE or width % STRIDE:
        raise ConfigError(f"model {card.name}: height and width must be multiples of {STRIDE}, not {height} x {width}")
    image = keras.Input((height, width, 3), name="image")
    logits, features = (builder or NetworkBuilder)(architecture.width_factor).segment(image)
    segmentation = layers.Softmax(name="Seg")(logits)
    return keras.Model(image, [segmentation, _classify(features)], name=card.name.replace("-", "_"))


def pooled_features(network: keras.Model) -> Tensor:
    """Return the symbolic input of the classifier of `network`, ``[batch, channels]``."""
    return network.get_layer(_POOLING).output


def classifier_layers(network: keras.Model) -> list[layers.Layer]:
    """Return the layers after the pooled features, in the order of their application."""
    chain = network.layers[network.layers.index(network.get_layer(_POOLING)) + 1 :]
    return [layer for layer in chain if layer.name.startswith(CLASSIFIER_PREFIX)]


def _classify(features: Tensor) -> Tensor:
    """Add the classifier: four dense layers without activations between them, as in the original, at every width."""
    tensor = layers.GlobalAveragePooling2D(name=_POOLING)(features)
    for name, units in zip(CLASSIFIER_DENSE, CLASSIFIER_UNITS, strict=True):
        tensor = layers.Dropout(DROPOUT, name=name.replace("Dense", "Dropout"))(tensor)
        tensor = layers.Dense(units, name=name)(tensor)
    return layers.Softmax(name=CLASSIFIER_PREFIX)(tensor)


class NetworkBuilder:
    """Builds encoder and decoder. A subclass may build the layers in another form, for inference or training."""

    normalisation: type[layers.Layer] = layers.BatchNormalization

    def __init__(self, width_factor: float) -> None:
        self._width_factor = width_factor

    def convolve(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        """Add a 3 x 3 convolution without a normalisation after it.

        Args:
            tensor: ``[batch, height, width, channels_in]``.
            channels: Channels of the result.
            name: The layer's name.

        Returns:
            ``[batch, height, width, channels]``.
        """
        return layers.Conv2D(channels, 3, padding="same", name=name)(tensor)

    def convolve_and_normalise(self, tensor: Tensor, kind: type, channels: int, name: str, **options: Any) -> Tensor:
        """Add a convolution and a batch normalisation after it.

        Args:
            tensor: ``[batch, height, width, channels_in]``.
            kind: The Keras class of the convolution.
            channels: Channels of the result.
            name: The convolution's name. The normalisation is named `name`_bn.
            **options: Arguments of `kind`. The kernel is 3 x 3 with padding unless they say otherwise.

        Returns:
            ``[batch, height, width, channels]``; height and width change with the strides in `options`.
        """
        options = {"kernel_size": 3, "padding": "same"} | options
        return self.normalisation(name=f"{name}_bn")(kind(channels, name=name, **options)(tensor))

    def normalise(self, tensor: Tensor, name: str) -> Tensor:
        """Add a batch normalisation without a convolution before it.

        Args:
            tensor: ``[batch, height, width, channels]``.
            name: The layer's name.

        Returns:
            A tensor of the same shape.
        """
        return self.normalisation(name=name)(tensor)

    def residual(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        """Add a residual block: two convolutions, added to a normalisation of the input.

        Args:
            tensor: ``[batch, height, width, channels]``.
            channels: Channels of the result, as many as the input has.
            name: What the names of the block's layers begin with.

        Returns:
            A tensor of the same shape.
        """
        inner = self.normalise(leaky(tensor), f"{name}_in_bn")
        skip = self.normalise(tensor, f"{name}_skip_bn")
        inner = leaky(self.convolve_and_normalise(inner, layers.Conv2D, channels, f"{name}_conv1"))
        inner = self.convolve_and_normalise(inner, layers.Conv2D, channels, f"{name}_conv2")
        return layers.Add()([inner, skip])

    def pool_space(self, tensor: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the maximum of each channel over the grid, both ``[batch, 1, 1, channels]``."""
        return ops.mean(tensor, axis=(1, 2), keepdims=True), ops.max(tensor, axis=(1, 2), keepdims=True)

    def segment(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Add encoder and decoder.

        Args:
            image: ``[batch, height, width, 3]`` in [0, 1].

        Returns:
            The logits of the three classes, ``[batch, height, width, 3]``, and the features of the bottleneck,
            ``[batch, height / 32, width / 32, channels]``.
        """
        skips = self._encode(image)
        features = self._stage(layers.MaxPooling2D(2)(skips[0]), BOTTLENECK_CHANNELS, "convm")
        tensor = features
        for stage, channels, skip in zip(SKIP_STAGES, SKIP_CHANNELS, skips, strict=True):
            tensor = self._upsample(tensor, channels, stage)
            tensor = layers.Concatenate()([tensor, _pad_top_left(skip, tensor)])
            tensor = self._stage(self._attend(tensor, stage), channels, stage)
        tensor = self._stage(self._upsample(tensor, LAST_CHANNELS, "conv0"), LAST_CHANNELS, "conv0")
        logits = self.convolve_and_normalise(tensor, layers.Conv2D, CLASSES, "head_conv", kernel_size=1)
        return logits, features

    def _encode(self, image: Tensor) -> list[Tensor]:
        """Add Xception up to the second convolution of block 13. Return the skip tensors at strides 16, 8, 4 and 2."""
        tensor = self._first_convolution(image, 32, "block1_conv1", strides=2)
        tensor = self._first_convolution(tensor, 64, "block1_conv2")
        taps = []
        for block, channels in zip(RESIDUAL_BLOCKS, RESIDUAL_CHANNELS, strict=True):
            residual = self.convolve_and_normalise(
                tensor,
                layers.Conv2D,
                self._scaled(channels),
                f"block{block}_residual",
                kernel_size=1,
                strides=2,
                use_bias=False,
            )
            if block > 2:  # the input of block 2 is the output of an activation
                tensor = layers.ReLU(name=f"block{block}_sepconv1_act")(tensor)
            tensor = self._separable(tensor, channels, f"block{block}_sepconv1")
            tensor = layers.ReLU(name=f"block{block}_sepconv2_act")(tensor)
            tensor = self._separable(tensor, channels, f"block{block}_sepconv2")
            taps.append(tensor)
            tensor = layers.MaxPooling2D(3, 2, "same", name=f"block{block}_pool")(tensor)
            tensor = layers.Add()([tensor, residual])
        for block in range(5, 13):
            residual = tensor
            for number in (1, 2, 3):
                tensor = layers.ReLU(name=f"block{block}_sepconv{number}_act")(tensor)
                tensor = self._separable(tensor, 728, f"block{block}_sepconv{number}")
            tensor = layers.Add()([tensor, residual])
        for number, channels in ((1, 728), (2, 1024)):
            tensor = layers.ReLU(name=f"block13_sepconv{number}_act")(tensor)
            tensor = self._separable(tensor, channels, f"block13_sepconv{number}")
        return [leaky(tensor), *reversed(taps)]

    def _first_convolution(self, tensor: Tensor, channels: int, name: str, strides: int = 1) -> Tensor:
        tensor = self.convolve_and_normalise(
            tensor, layers.Conv2D, self._scaled(channels), name, strides=strides, padding="valid", use_bias=False
        )
        return layers.ReLU(name=f"{name}_act")(tensor)

    def _separable(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        return self.convolve_and_normalise(tensor, layers.SeparableConv2D, self._scaled(channels), name, use_bias=False)

    def _upsample(self, tensor: Tensor, channels: int, stage: str) -> Tensor:
        up = layers.Conv2DTranspose(self._scaled(channels), 3, strides=2, padding="same", name=f"{stage}_up")
        return up(tensor)

    def _stage(self, tensor: Tensor, channels: int, name: str) -> Tensor:
        tensor = self.convolve(tensor, self._scaled(channels), f"{name}_conv")
        for residual in (f"{name}_r1", f"{name}_r2"):
            tensor = self.residual(tensor, self._scaled(channels), residual)
        return leaky(tensor)

    def _attend(self, tensor: Tensor, name: str) -> Tensor:
        """Add CBAM: a weight for each channel, then a weight for each pixel."""
        channels = tensor.shape[-1]
        hidden = layers.Dense(channels // ATTENTION_RATIO, "relu", name=f"{name}Dense_1")
        output = layers.Dense(channels, name=f"{name}Dense_2")
        average, maximum = (output(hidden(pooled)) for pooled in self.pool_space(tensor))
        tensor = layers.Multiply()([tensor, ops.sigmoid(average + maximum)])
        pooled = [ops.mean(tensor, axis=-1, keepdims=True), ops.max(tensor, axis=-1, keepdims=True)]
        where = layers.Conv2D(1, 7, padding="same", activation="sigmoid", use_bias=False, name=f"{name}Conv2D_1")
        return layers.Multiply()([tensor, where(layers.Concatenate()(pooled))])

    def _scaled(self, channels: int) -> int:
        return scale_channels(channels, self._width_factor)


def leaky(tensor: Tensor) -> Tensor:
    """Add a leaky ReLU with the slope of the design."""
    return layers.LeakyReLU(negative_slope=_LEAKY_SLOPE)(tensor)


def _pad_top_left(skip: Tensor, like: Tensor) -> Tensor:
    """Pad `skip` with zero rows on top and columns on the left: block 1 has no padding, so its skips are too small."""
    rows, columns = like.shape[1] - skip.shape[1], like.shape[2] - skip.shape[2]
    return layers.ZeroPadding2D(((rows, 0), (columns, 0)))(skip) if rows or columns else skip
