"""Checkpoints of the original: files written by Keras itself, and forged files with all kinds of faults."""

import random
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagchd_batch.errors import WeightsError
from diagchd_batch.model import build_network, load_checkpoint
from diagchd_batch.model.weights.checkpoints import fill_from_seed
from diagchd_batch.model.weights.layer_names import automatic_layers
from tests.unit.model.weights.original import build_original
from tests.unit.model.weights.variables import variables

Layers = dict[str, dict[str, np.ndarray]]  # arrays by layer and weight

POISON = b'{"class_name": "Lambda", "config": {"function": ["this is not base64", null, null]}}'


@pytest.fixture(scope="module")
def network() -> keras.Model:
    network = build_network("diagchd-compact", 32, 32)
    fill_from_seed(network, 3)
    return network


@pytest.fixture
def target(network: keras.Model) -> Any:
    """Return the variables that a checkpoint is loaded to. None has a value yet."""
    return variables(network)


@lru_cache(maxsize=1)
def arrays(network: keras.Model) -> dict[str, dict[str, np.ndarray]]:
    """Return the arrays of a network, whose weights no test changes, by layer and weight."""
    return {layer.name: {weight.name: weight.numpy() for weight in layer.weights} for layer in network.layers}


def forge(
    network: keras.Model,
    path: Path,
    offsets: tuple[int, int, int] = (0, 0, 0),
    step: int = 1,
    whole_model: bool = True,
    order: Callable[[list[str]], list[str]] | None = None,
    split: bool = False,
    change: Callable[[Layers], None] | None = None,
) -> None:
    """Write `network`'s weights as Keras 2.8 does, with automatic layers numbered from `offsets` in steps of `step`.

    `change` may alter the layers, {name: {weight name: array}}, before they are written.
    """
    names = {}
    for offset, (kind, ours) in zip(offsets, automatic_layers().items(), strict=True):
        for number, name in enumerate(ours):
            number = offset + step * number
            names[name] = f"{kind}_{number}" if number else kind
    layers = {names.get(name, name): dict(weights) for name, weights in arrays(network).items()}
    layers = {name: layers[name] for name in (order or (lambda keys: keys))(list(layers))}
    if change:
        change(layers)
    with h5py.File(path, "w") as file:
        group = file
        if whole_model:
            file.attrs["model_config"] = POISON
            file.attrs["keras_version"] = "2.8.0"
            file.create_group("optimizer_weights/Adam").create_dataset("iter:0", data=7)
            group = file.create_group("model_weights")
        encoded = [name.encode() for name in layers]
        if split:
            half = len(encoded) // 2
            group.attrs["layer_names0"], group.attrs["layer_names1"] = encoded[:half], encoded[half:]
        else:
            group.attrs["layer_names"] = encoded
        for name, weights in layers.items():
            inner = group.create_group(name)
            inner.attrs["weight_names"] = [f"{name}/{weight}:0".encode() for weight in weights]
            for weight, values in weights.items():
                inner.create_dataset(f"{name}/{weight}:0", data=values)


def same(one: Any, other: Any) -> bool:
    return all(
        (a.path, a.numpy().tobytes()) == (b.path, b.numpy().tobytes())
        for a, b in zip(one.weights, other.weights, strict=True)
    )


def test_layers_are_matched_by_name_or_by_the_order_of_their_numbers(
    network: keras.Model, target: Any, tmp_path: Path
) -> None:
    path = tmp_path / "original.h5"
    forge(network, path, offsets=(3, 0, 998), step=2, order=sorted, split=True)
    load_checkpoint(target, path)
    assert same(target, network)


@pytest.mark.slow
def test_files_that_keras_wrote_give_the_original_s_output(tmp_path: Path) -> None:
    for _ in range(3):  # other layers were built before, as in any notebook
        keras.layers.Conv2D(1, 1), keras.layers.BatchNormalization(), keras.layers.Conv2DTranspose(1, 1)
    original = build_original(96, 128)
    fill_from_seed(original, 5)
    image = np.random.default_rng(0).random((1, 96, 128, 3), np.float32)
    expected = original(image, training=False)
    whole, weights = tmp_path / "model.h5", tmp_path / "model_weights.h5"
    original.save(whole)
    with h5py.File(whole) as source, h5py.File(weights, "w") as file:  # save_weights writes the same groups at the root
        file.attrs.update(source["model_weights"].attrs)
        for name in source["model_weights"]:
            source.copy(f"model_weights/{name}", file)
    ours = build_network("diagchd", 96, 128)
    for path in (whole, weights):
        for weight in ours.weights:
            weight.assign(np.zeros(weight.shape, np.float32))
        load_checkpoint(ours, path)
        for one, other in zip(expected, ours(image, training=False), strict=True):
            np.testing.assert_allclose(other, one, atol=1e-5)


@pytest.mark.slow
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    offsets=st.tuples(*[st.integers(0, 1200)] * 3),
    step=st.integers(1, 3),
    whole_model=st.booleans(),
    split=st.booleans(),
    shuffled=st.randoms(),
)
def test_any_numbering_and_order_of_layers_is_understood(
    network: keras.Model,
    target: Any,
    tmp_path: Path,
    offsets: tuple[int, int, int],
    step: int,
    whole_model: bool,
    split: bool,
    shuffled: random.Random,
) -> None:
    def order(names: list[str]) -> list[str]:
        shuffled.shuffle(names)
        return names

    path = tmp_path / "original.h5"
    forge(network, path, offsets, step, whole_model, order, split)
    load_checkpoint(target, path)
    assert same(target, network)


def drop_array(layers: Layers) -> None:
    del layers["conv2d_3"]["bias"]


def drop_layer(layers: Layers) -> None:
    del layers["conv4Dense_1"]


def drop_automatic_layer(layers: Layers) -> None:
    del layers["batch_normalization_7"]


def add_layer(layers: Layers) -> None:
    layers["extra"] = {"kernel": np.zeros((2, 2), np.float32)}


def add_array(layers: Layers) -> None:
    layers["conv2d_3"]["extra"] = np.zeros(2, np.float32)


def widen(layers: Layers) -> None:
    layers["conv2d_5"]["kernel"] = np.zeros((3, 3, 128, 64), np.float32)


def poison(layers: Layers) -> None:
    layers["conv2d_5"]["bias"] = layers["conv2d_5"]["bias"] * np.nan


def store_text(layers: Layers) -> None:
    layers["conv2d_5"]["kernel"] = np.array([b"os.system"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop_array, "layer conv2d_3 .our convm_conv. has no bias"),
        (drop_layer, "no layer conv4Dense_1"),
        (drop_automatic_layer, "layers named batch_normalization_…, the network has"),
        (add_layer, "layers are not of this network, the first is extra"),
        (add_array, "conv2d_3 .* has 3 arrays"),
        (widen, "kernel of layer conv2d_5 .our convm_r1_conv2. has shape .3, 3, 128, 64., the network needs"),
        (poison, "convm_r1_conv2/bias holds values that are not finite"),
        (store_text, "not an array of floating-point"),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_loaded(
    network: keras.Model, target: Any, tmp_path: Path, change: Callable[[Layers], None], message: str
) -> None:
    path = tmp_path / "original.h5"
    forge(network, path, change=change)
    with pytest.raises(WeightsError, match=message):
        load_checkpoint(target, path)
    assert target.are_empty()


def test_values_in_another_file_are_refused(network: keras.Model, target: Any, tmp_path: Path) -> None:
    """Values in another file could change while the digest of the checkpoint stays the same."""
    forge(network, tmp_path / "original.h5")
    forge(network, tmp_path / "other.h5")
    with h5py.File(tmp_path / "original.h5", "a") as file:
        del file["model_weights/conv2d_3"]
        file["model_weights/conv2d_3"] = h5py.ExternalLink("other.h5", "/model_weights/conv2d_3")
    with pytest.raises(WeightsError, match=r"the values of /model_weights/conv2d_3/.* lie in another file"):
        load_checkpoint(target, tmp_path / "original.h5")


@pytest.mark.slow
def test_links_inside_the_file_are_followed(network: keras.Model, tmp_path: Path) -> None:
    for name in ("model_weights", "model_weights/conv2d_3", "model_weights/conv2d_3/conv2d_3/bias:0"):
        for hard in (True, False):
            forge(network, tmp_path / "original.h5")
            with h5py.File(tmp_path / "original.h5", "a") as file:
                if hard:
                    file["elsewhere"] = file[name]
                else:
                    file.move(name, "elsewhere")
                    file[name] = h5py.SoftLink("/elsewhere")
            target = variables(network)
            load_checkpoint(target, tmp_path / "original.h5")
            assert same(network, target), (name, hard)


def test_an_array_larger_than_memory_is_refused_by_its_shape(network: keras.Model, target: Any, tmp_path: Path) -> None:
    """HDF5 stores nothing for values that were never written, so a small file can declare a petabyte."""
    forge(network, tmp_path / "original.h5")
    with h5py.File(tmp_path / "original.h5", "a") as file:
        group = file["model_weights/conv2d_3/conv2d_3"]
        del group["bias:0"]
        group.create_dataset("bias:0", shape=(1 << 48,), dtype="f4", chunks=(1024,))
    with pytest.raises(WeightsError, match=r"has shape \(281474976710656,\)"):
        load_checkpoint(target, tmp_path / "original.h5")


@pytest.mark.slow
def test_weights_of_the_other_model_are_refused(target: Any, tmp_path: Path) -> None:
    full = build_network("diagchd", 32, 32)
    forge(full, tmp_path / "full.h5")
    with pytest.raises(WeightsError, match=r"does not fit diagchd_compact: .*the network needs"):
        load_checkpoint(target, tmp_path / "full.h5")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    keep=st.floats(0, 0.999),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4),
)
def test_damaged_files_end_in_an_error_or_load_but_never_crash(
    forged_bytes: bytes, target: Any, tmp_path: Path, keep: float, flips: list[tuple[float, int]]
) -> None:
    data = bytearray(forged_bytes[: int(len(forged_bytes) * keep)])
    for place, mask in flips:
        if data:
            data[int(place * len(data) * 0.05)] ^= mask  # The structure is at the front of the file.
    path = tmp_path / "damaged.h5"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"damaged\.h5"):
        load_checkpoint(target, path)


@pytest.fixture(scope="module")
def forged_bytes(network: keras.Model, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("forged") / "whole.h5"
    forge(network, path)
    return path.read_bytes()


@pytest.mark.parametrize(
    "content", [b"", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 a .keras file", b"version https://git-lfs"]
)
def test_files_that_are_no_checkpoint(target: Any, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "weights.h5"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.h5"):
        load_checkpoint(target, path)


def test_hdf5_without_layers_and_missing_files(target: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["data"] = [1.0]
    with pytest.raises(WeightsError, match="no layer names"):
        load_checkpoint(target, tmp_path / "other.h5")
    with pytest.raises(WeightsError, match=r"absent\.h5"):
        load_checkpoint(target, tmp_path / "absent.h5")
