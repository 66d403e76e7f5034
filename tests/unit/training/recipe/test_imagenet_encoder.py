"""The encoder's weights from a file in the form of Keras's Xception, whose residual layers have automatic names."""

import re
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from diagchd_batch.errors import WeightsError
from diagchd_batch.training.recipe.imagenet_encoder import load_encoder

FIRST_AUTOMATIC_NUMBER = 9
"""Other models were built in the process before, so that names do not sort like numbers: conv2d_9, conv2d_10."""


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """Return a network with some of the encoder's layers, two residual ones among them, and one of the decoder."""
    image = keras.Input((8, 8, 3))
    tensor = layers.Conv2D(4, 3, use_bias=False, name="block1_conv1")(image)
    for block in (2, 3, 4):
        tensor = layers.Conv2D(4, 1, use_bias=False, name=f"block{block}_residual")(tensor)
        tensor = layers.BatchNormalization(name=f"block{block}_residual_bn")(tensor)
    tensor = layers.SeparableConv2D(4, 3, use_bias=False, name="block7_sepconv2")(tensor)
    return keras.Model(image, layers.Conv2D(2, 1, name="convm_conv")(tensor))


def _keras_name(name: str) -> str:
    if match := re.fullmatch(r"block(\d)_residual(_bn)?", name):
        kind = "batch_normalization" if match[2] else "conv2d"
        return f"{kind}_{FIRST_AUTOMATIC_NUMBER + int(match[1]) - 2}"
    return name


def _write(path: Path, network: keras.Model, without: str = "") -> dict[str, np.ndarray]:
    """Write a file for the encoder of `network` and return its values by the path of the variable."""
    generator = np.random.default_rng(0)
    values = {}
    with h5py.File(path, "w") as file:
        names = []
        for layer in network.layers:
            if not layer.name.startswith("block") or layer.name == without:
                continue
            name = _keras_name(layer.name)
            names.append(name)
            group = file.create_group(name)
            group.attrs["weight_names"] = [f"{name}/{variable.name}:0" for variable in layer.weights]
            for variable in layer.weights:
                values[variable.path] = generator.random(variable.shape, np.float32)
                group[f"{name}/{variable.name}:0"] = values[variable.path]
        file.attrs["layer_names"] = names
    return values


def test_every_layer_of_the_encoder_gets_its_own_weights(network: keras.Model, tmp_path: Path) -> None:
    before = {variable.path: np.array(variable) for variable in network.weights}
    values = _write(tmp_path / "xception.h5", network)
    load_encoder(network, tmp_path / "xception.h5")
    assert any("block4_residual" in path for path in values)
    for variable in network.weights:
        assert np.array_equal(variable, values.get(variable.path, before[variable.path])), variable.path


def test_a_file_that_does_not_fit_is_refused(network: keras.Model, tmp_path: Path) -> None:
    _write(tmp_path / "part.h5", network, without="block7_sepconv2")
    with pytest.raises(WeightsError, match=r"part\.h5 does not fit .* block7_sepconv2"):
        load_encoder(network, tmp_path / "part.h5")
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(WeightsError, match="no readable HDF5 file"):
        load_encoder(network, tmp_path / "text.h5")
    with pytest.raises(WeightsError, match="no readable HDF5 file"):
        load_encoder(network, tmp_path / "absent.h5")
