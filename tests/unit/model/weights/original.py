"""The original's network, built from Keras's own Xception and layers with automatic names, for comparison.

This implementation is independent of `diagchd_batch.model.network`. It creates layers in the order of the published
description, and Keras chooses their names and writes the files.
"""

import keras
from keras import layers, ops

from diagchd_batch.model.network import Tensor


def build_original(height: int, width: int) -> keras.Model:
    encoder = keras.applications.Xception(input_shape=(height, width, 3), weights=None, include_top=False)
    taps = [encoder.layers[index].output for index in (121, 31, 21, 11)]
    taps[0] = layers.LeakyReLU(negative_slope=0.1)(taps[0])
    taps[2] = layers.ZeroPadding2D(((1, 0), (1, 0)))(taps[2])
    taps[3] = layers.ZeroPadding2D(((3, 0), (3, 0)))(taps[3])
    bottleneck = _convolutions(layers.MaxPooling2D()(taps[0]), 512, "ClsLeakyReLU")
    tensor = bottleneck
    for name, channels, tap in zip(("conv4", "conv3", "conv2", "conv1"), (256, 128, 64, 32), taps, strict=True):
        tensor = layers.Conv2DTranspose(channels, 3, strides=2, padding="same")(tensor)
        tensor = layers.concatenate([tensor, tap])
        tensor = _convolutions(_cbam(tensor, name), channels)
    tensor = _convolutions(layers.Conv2DTranspose(16, 3, strides=2, padding="same")(tensor), 16)
    tensor = layers.BatchNormalization()(layers.Conv2D(3, 1)(tensor))
    segmentation = layers.Activation("softmax", name="Seg")(tensor)
    tensor = layers.GlobalAveragePooling2D()(bottleneck)
    for name, units in (("Dense", 1000), ("Dense1", 500), ("Dense2", 100), ("Dense_3", 2)):
        tensor = layers.Dense(units, name=f"SegModel_Xception_main_{name}")(layers.Dropout(0.6)(tensor))
    classification = layers.Activation("softmax", name="SegModel_Xception")(tensor)
    return keras.Model(encoder.input, [segmentation, classification])


def _convolutions(tensor: Tensor, channels: int, name: str | None = None) -> Tensor:
    tensor = layers.Conv2D(channels, 3, padding="same")(tensor)
    for _ in range(2):
        inner = layers.BatchNormalization()(layers.LeakyReLU(negative_slope=0.1)(tensor))
        skip = layers.BatchNormalization()(tensor)
        inner = layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same")(inner))
        inner = layers.LeakyReLU(negative_slope=0.1)(inner)
        inner = layers.BatchNormalization()(layers.Conv2D(channels, 3, padding="same")(inner))
        tensor = layers.add([inner, skip])
    return layers.LeakyReLU(negative_slope=0.1, name=name)(tensor)


def _cbam(tensor: Tensor, name: str) -> Tensor:
    channels = tensor.shape[-1]
    first = layers.Dense(channels // 8, activation="relu", name=f"{name}Dense_1")
    second = layers.Dense(channels, name=f"{name}Dense_2")
    pooled = [layers.GlobalAveragePooling2D(keepdims=True)(tensor), layers.GlobalMaxPooling2D(keepdims=True)(tensor)]
    weight = layers.Activation("sigmoid")(layers.add([second(first(one)) for one in pooled]))
    tensor = layers.multiply([tensor, weight])
    planes = layers.concatenate([ops.mean(tensor, axis=3, keepdims=True), ops.max(tensor, axis=3, keepdims=True)])
    where = layers.Conv2D(1, 7, padding="same", activation="sigmoid", use_bias=False, name=f"{name}Conv2D_1")
    return layers.multiply([tensor, where(planes)])
