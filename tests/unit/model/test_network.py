"""The network agrees with the original's output, with Keras's own Xception and with the published shapes."""

import ast
from pathlib import Path

import keras
import numpy as np
import pytest
from scipy.special import softmax

from diagchd_batch.errors import ConfigError
from diagchd_batch.model import network as network_module
from diagchd_batch.model.network import (
    build_network,
    classifier_layers,
    pooled_features,
)
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.runtimes.tensorflow.inference import (
    CpuFloat32Builder,
    build_inference_network,
    classifier_matrix,
)
from diagchd_batch.model.runtimes.tensorflow.winograd import WinogradConvolution
from diagchd_batch.model.weights.checkpoints import fill_from_seed
from diagchd_batch.model.weights.layer_names import automatic_layers
from diagchd_batch.model.weights.variable_shapes import scale_channels, variable_shapes

REFERENCE = Path(__file__).parent / "data" / "diagchd_reference_96x128.npz"


@pytest.fixture(scope="module")
def full_network() -> keras.Model:
    network = build_network("diagchd", 96, 128)
    fill_from_seed(network, 0)
    return network


def test_it_computes_what_the_original_computes(full_network: keras.Model) -> None:
    reference = np.load(REFERENCE)
    segmentation, classification = full_network(reference["image"], training=False)
    assert np.abs(segmentation - reference["seg"]).max() < 2e-4
    assert np.abs(classification - reference["cls"]).max() < 2e-4


def test_so_does_the_form_that_scores_fastest_on_a_cpu(full_network: keras.Model) -> None:
    reference = np.load(REFERENCE)
    fastest = build_inference_network(load_card("diagchd"), full_network, CpuFloat32Builder)
    assert sum(isinstance(layer, WinogradConvolution) for layer in fastest.layers) == 11
    logits, features = map(np.asarray, fastest(reference["image"], training=False))
    matrix, bias = classifier_matrix(full_network)
    assert np.abs(softmax(logits, axis=-1) - reference["seg"]).max() < 2e-4
    assert np.abs(softmax(features.mean((1, 2)) @ matrix + bias, axis=-1) - reference["cls"]).max() < 2e-4


def test_encoder_is_that_of_keras(full_network: keras.Model) -> None:
    theirs = keras.applications.Xception(input_shape=(96, 128, 3), weights=None, include_top=False)
    ours = {layer.name: layer for layer in full_network.layers}
    # Keras numbers the layers of the four residual connections; our network does not have the one of block 13.
    residual = {"conv2d": "block{}_residual", "batch_normalization": "block{}_residual_bn"}
    unnamed = {kind: iter((2, 3, 4)) for kind in residual}
    for layer in theirs.layers[:122]:
        kind = next((kind for kind in residual if layer.name.startswith(kind)), None)
        name = residual[kind].format(next(unnamed[kind])) if kind else layer.name
        if layer.weights:
            layer.set_weights(ours[name].get_weights())
    taps = ("block2_sepconv2_bn", "block3_sepconv2_bn", "block4_sepconv2_bn", "block13_sepconv2_bn")
    image = np.random.default_rng(1).random((1, 96, 128, 3), np.float32)
    assert [theirs.layers.index(theirs.get_layer(tap)) for tap in taps] == [11, 21, 31, 121]
    expected = keras.Model(theirs.input, [theirs.get_layer(tap).output for tap in taps])(image)
    found = keras.Model(full_network.input, [ours[tap].output for tap in taps])(image)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


def test_published_size_and_shapes() -> None:
    network = build_network("diagchd")
    assert network.count_params() == 40_123_416
    assert network.input_shape == (None, 576, 768, 3)
    assert network.output_names == ["Seg", "SegModel_Xception"]
    assert network.output_shape == [(None, 576, 768, 3), (None, 2)]
    shapes = {
        "block2_sepconv2_bn": (285, 381, 128),
        "block3_sepconv2_bn": (143, 191, 256),
        "block4_sepconv2_bn": (72, 96, 728),
        "block13_sepconv2_bn": (36, 48, 1024),
        "convm_conv": (18, 24, 512),
    }
    assert {name: network.get_layer(name).output.shape[1:] for name in shapes} == shapes
    normalisations = [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert {layer.epsilon for layer in normalisations} == {1e-3}


def test_every_layer_is_named_by_the_original_or_listed(full_network: keras.Model) -> None:
    listed = {name for names in automatic_layers().values() for name in names}
    with_weights = {layer.name for layer in full_network.layers if layer.weights}
    named = {name for name in with_weights - listed if name.startswith(("block", "SegModel_Xception_main_Dense"))} | {
        f"{stage}{layer}"
        for stage in ("conv1", "conv2", "conv3", "conv4")
        for layer in ("Dense_1", "Dense_2", "Conv2D_1")
    }
    assert listed < with_weights
    assert listed | named == with_weights


def _shapes(network: keras.Model) -> dict[str, tuple[int, ...]]:
    return {variable.path: tuple(variable.shape) for variable in network.weights}


def test_the_shapes_that_are_known_without_keras_are_those_of_the_network(full_network: keras.Model) -> None:
    assert variable_shapes(1.0) == _shapes(full_network)


@pytest.mark.parametrize(("height", "width"), [(32, 32), (160, 224), (96, 32)])
def test_compact_network_fits_every_multiple_of_32(height: int, width: int) -> None:
    network = build_network("diagchd-compact", height, width)
    assert network.output_shape == [(None, height, width, 3), (None, 2)]
    assert variable_shapes(load_card("diagchd-compact").architecture.width_factor) == _shapes(network)


@pytest.mark.parametrize("grid", [(576, 760), (0, 64), (-32, 64), (48, 64)])
def test_other_grids_are_refused(grid: tuple[int, int]) -> None:
    with pytest.raises(ConfigError, match="multiples of 32"):
        build_network("diagchd-compact", *grid)


def test_the_full_width_is_left_alone() -> None:
    assert [scale_channels(channels, 1.0) for channels in (16, 32, 728, 1024)] == [16, 32, 728, 1024]
    assert [scale_channels(channels, 0.25) for channels in (16, 64, 728)] == [8, 16, 184]


MODEL = Path(network_module.__file__).parent
PORTABLE = [MODEL / "network.py", MODEL / "losses.py", *MODEL.glob("weights/*.py")]
PORTABLE += [MODEL / f"runtimes/tensorflow/{name}.py" for name in ("inference", "winograd")]


@pytest.mark.parametrize("path", PORTABLE, ids=lambda path: str(path.relative_to(MODEL)))
def test_no_back_end_is_named(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in imported} & {"tensorflow", "jax", "torch"}


def test_the_classifier_s_layers_continue_the_pooled_features() -> None:
    network = build_network("diagchd-compact", 32, 32)
    assert pooled_features(network).shape == (None, 128)
    kinds = [type(layer).__name__ for layer in classifier_layers(network)]
    assert kinds == ["Dropout", "Dense"] * 4 + ["Softmax"]
    dropped = [layer.rate for layer in classifier_layers(network) if type(layer).__name__ == "Dropout"]
    assert dropped == [0.6] * 4
