"""The predictor agrees with Keras, and gives the same bits wherever byte identity of runs depends on it."""

import hashlib
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
import tensorflow as tf

from diagchd_batch.errors import RunFault, UsageError, WeightsError
from diagchd_batch.model import Predictor, build_network, load_card, resolve_model, save_checkpoint
from diagchd_batch.model.losses import segmentation_loss, soft_dice
from diagchd_batch.model.runtimes.tensorflow.compiled import XlaNetwork, load_network
from diagchd_batch.model.runtimes.tensorflow.inference import (
    CpuBuilder,
    FoldedBuilder,
    build_inference_network,
    classifier_matrix,
)
from diagchd_batch.model.spec import ModelSpec, refuse_replaced_weights
from diagchd_batch.model.weights.checkpoints import fill_from_seed

BATCH = 4


@pytest.fixture(scope="module")
def spec(predictor: Predictor) -> ModelSpec:
    return predictor.spec


@pytest.fixture(scope="module")
def network(spec: ModelSpec) -> keras.Model:
    return load_network(spec)


@pytest.fixture(scope="module")
def predictor(bundled_predictor: Predictor) -> Predictor:
    assert bundled_predictor.batch_size == BATCH
    return bundled_predictor


@pytest.fixture(scope="module")
def images(spec: ModelSpec) -> np.ndarray:
    """Return smooth random images. On noise, the classes of many pixels would be nearly equally probable."""
    coarse = np.random.default_rng(0).integers(0, 256, (BATCH, spec.height // 16, spec.width // 16, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


@pytest.fixture(scope="module")
def reference(spec: ModelSpec) -> np.ndarray:
    reference = np.random.default_rng(1).integers(0, 3, (BATCH, spec.height, spec.width), dtype=np.uint8)
    reference[1] = 0
    return reference


@pytest.fixture(scope="module")
def expected(network: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    segmentation, classification = network(images.astype(np.float32) / 255, training=False)
    return np.asarray(segmentation), np.asarray(classification)[:, 1]


def test_it_gives_what_keras_gives(
    predictor: Predictor, images: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    prediction = predictor.predict(images)
    assert prediction.label_maps_bhw_u8.dtype == np.uint8
    assert prediction.chd_probability_b_f32.dtype == np.float32
    assert np.mean(prediction.label_maps_bhw_u8 == expected[0].argmax(-1)) > 0.9999
    np.testing.assert_allclose(prediction.chd_probability_b_f32, expected[1], atol=1e-5)
    assert prediction.seg_loss_b_f32 is None
    assert prediction.soft_dice_b_f32 is None


def test_a_reference_adds_figures_and_changes_nothing_else(
    predictor: Predictor, images: np.ndarray, reference: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    plain, referenced = predictor.predict(images), predictor.predict(images, reference)
    assert plain.label_maps_bhw_u8.tobytes() == referenced.label_maps_bhw_u8.tobytes()
    assert plain.chd_probability_b_f32.tobytes() == referenced.chd_probability_b_f32.tobytes()
    targets = np.eye(3, dtype=np.float32)[reference]
    np.testing.assert_allclose(referenced.seg_loss_b_f32, segmentation_loss(targets, expected[0]), rtol=1e-3)
    np.testing.assert_allclose(referenced.soft_dice_b_f32, soft_dice(targets, expected[0]), rtol=1e-3)


def test_what_lies_beside_an_image_does_not_change_its_bits(predictor: Predictor, images: np.ndarray) -> None:
    together = predictor.predict(images)
    for position in range(BATCH):
        alone = np.zeros_like(images)
        alone[position] = images[position]
        prediction = predictor.predict(alone)
        assert (prediction.label_maps_bhw_u8[position] == together.label_maps_bhw_u8[position]).all()
        assert prediction.chd_probability_b_f32[position] == together.chd_probability_b_f32[position]


def test_the_place_in_a_batch_does_not_change_the_bits_of_an_image() -> None:
    """A frame that is scored again, in another batch than in the first run, keeps its score."""
    spec = resolve_model("diagchd-compact", "seed:0", "float32")
    predictor = Predictor(spec, BATCH)
    generator = np.random.default_rng(2)
    images = generator.integers(0, 256, (3 * BATCH, spec.height, spec.width, 3), dtype=np.uint8)
    found: list[set[tuple[float, bytes]]] = [set() for _ in images]
    for _ in range(4):
        for places in generator.permutation(len(images)).reshape(-1, BATCH):
            prediction = predictor.predict(images[places])
            for image, probability, label_map in zip(
                places, prediction.chd_probability_b_f32, prediction.label_maps_bhw_u8, strict=True
            ):
                found[image].add((float(probability), label_map.tobytes()))
    assert [len(scores) for scores in found] == [1] * len(images)


def test_threads_may_call_at_once(predictor: Predictor, images: np.ndarray) -> None:
    pictures = [np.roll(images, shift, axis=2) for shift in range(6)]
    alone = [predictor.predict(picture) for picture in pictures]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(predictor.predict, pictures))
    for one, other in zip(alone, together, strict=True):
        assert one.label_maps_bhw_u8.tobytes() == other.label_maps_bhw_u8.tobytes()
        assert one.chd_probability_b_f32.tobytes() == other.chd_probability_b_f32.tobytes()


def test_bfloat16_agrees_and_its_heads_are_not_rounded(
    spec: ModelSpec, images: np.ndarray, reference: np.ndarray, expected: tuple[np.ndarray, np.ndarray]
) -> None:
    prediction = Predictor(replace(spec, precision="bfloat16"), BATCH).predict(images, reference)
    assert np.mean(prediction.label_maps_bhw_u8 == expected[0].argmax(-1)) > 0.99
    np.testing.assert_allclose(prediction.chd_probability_b_f32, expected[1], atol=0.05)
    bits = prediction.chd_probability_b_f32.view(np.uint32)
    assert (bits & 0xFFFF).any()  # a value rounded to bfloat16 has zeros there


COMPILE = """
from dataclasses import replace
import h5py
import numpy as np
from diagchd_batch.model import Predictor, resolve_model
for precision in ("float32", "bfloat16"):
    spec = replace(resolve_model("diagchd-compact", "seed:0", precision), height=96, width=64)
    Predictor(spec, 2).predict(np.zeros((2, 96, 64, 3), np.uint8))
"""


@pytest.mark.slow
def test_tensorflow_s_optimizer_takes_the_graph() -> None:
    """If the optimizer fails, it only writes a message, and scoring is slower."""
    environ = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}  # only errors are logged
    ended = subprocess.run([sys.executable, "-c", COMPILE], env=environ, capture_output=True, text=True, check=True)
    assert "remapper failed" not in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_gpu_s_way_of_compiling_agrees(
    spec: ModelSpec,
    network: keras.Model,
    images: np.ndarray,
    reference: np.ndarray,
    expected: tuple[np.ndarray, np.ndarray],
    precision: str,
) -> None:
    run = XlaNetwork([network], replace(spec, precision=precision), BATCH)
    close = 1e-4 if precision == "float32" else 0.05
    prediction = run(images, reference)
    assert np.mean(prediction.label_maps_bhw_u8 == expected[0].argmax(-1)) > 1 - close
    np.testing.assert_allclose(prediction.chd_probability_b_f32, expected[1], atol=close)
    np.testing.assert_allclose(
        prediction.seg_loss_b_f32,
        segmentation_loss(np.eye(3, dtype=np.float32)[reference], expected[0]),
        rtol=max(close, 1e-3),
    )
    np.testing.assert_allclose(run(images).chd_probability_b_f32, prediction.chd_probability_b_f32, atol=1e-6)
    assert np.all((prediction.soft_dice_b_f32 > 0) & (prediction.soft_dice_b_f32 < 1))


@pytest.fixture(scope="module")
def small_network() -> keras.Model:
    return build_network("diagchd-compact", 64, 32)


@pytest.mark.parametrize("form", [FoldedBuilder, CpuBuilder])
@pytest.mark.parametrize("seed", [0, 1])
def test_folding_changes_nothing(
    small_network: keras.Model, seed: int, form: type[CpuBuilder] | type[FoldedBuilder]
) -> None:
    network = small_network
    fill_from_seed(network, seed)
    image = np.random.default_rng(seed).random((2, 64, 32, 3), np.float32)
    logits, features = build_inference_network(load_card("diagchd-compact"), network, form)(image)
    segmentation, classification = network(image, training=False)
    matrix, bias = classifier_matrix(network)
    scores = np.exp(np.asarray(features, np.float64).mean((1, 2)) @ matrix + bias)
    exponentials = np.exp(np.asarray(logits, np.float64))
    np.testing.assert_allclose(exponentials / exponentials.sum(-1, keepdims=True), segmentation, atol=2e-4)
    np.testing.assert_allclose(scores / scores.sum(-1, keepdims=True), classification, atol=1e-5)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((BATCH - 1, 128, 160, 3), np.uint8), ((BATCH, 160, 128, 3), np.uint8), ((BATCH, 128, 160, 3), np.float32)],
)
def test_other_images_are_refused(
    predictor: Predictor, shape: tuple[int, int, int, int], dtype: type[np.generic]
) -> None:
    with pytest.raises(UsageError, match="images must be uint8 of shape"):
        predictor.predict(np.zeros(shape, dtype))


def test_a_reference_of_another_shape_is_refused(
    predictor: Predictor, images: np.ndarray, reference: np.ndarray
) -> None:
    with pytest.raises(UsageError, match="reference label maps must be uint8"):
        predictor.predict(images, reference[:-1])


def test_an_empty_batch_and_a_second_number_of_threads_are_refused(spec: ModelSpec, predictor: Predictor) -> None:
    with pytest.raises(UsageError, match="batch size"):
        Predictor(spec, 0)
    with pytest.raises(UsageError, match="not with 61 threads"):
        Predictor(spec, BATCH, intra_op_threads=61)


def test_weights_that_do_not_fit_are_refused(spec: ModelSpec, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "weights.h5", "w") as file:
        file.attrs["diagchd_batch_weights"] = 1  # Without the network it looks like a checkpoint of this package.
    with pytest.raises(WeightsError, match=r"does not fit .*: \d+ variables are missing"):
        Predictor(replace(spec, weights=str(tmp_path / "weights.h5")), 1)


def digest_of_a_run(predictor: Predictor) -> str:
    generator = np.random.default_rng(0)
    size = (predictor.batch_size, predictor.spec.height, predictor.spec.width)
    images = generator.integers(0, 256, (*size, 3), dtype=np.uint8)
    prediction = predictor.predict(images, generator.integers(0, 3, size, dtype=np.uint8))
    digest = hashlib.sha256()
    for array in filter(lambda array: array is not None, (getattr(prediction, name) for name in prediction.__slots__)):
        digest.update(array.tobytes())
    return digest.hexdigest()


DIGEST_OF_A_RUN = """
import sys
from diagchd_batch.model import Predictor, resolve_model
from tests.unit.model.test_predictor import BATCH, digest_of_a_run
spec = resolve_model("diagchd-compact", "bundled", sys.argv[2])
print(digest_of_a_run(Predictor(spec, BATCH, int(sys.argv[1]) or None)))
"""


@pytest.mark.parametrize("precision", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_every_process_gives_the_same_bits(predictor: Predictor, precision: str) -> None:
    """A new process has the same number of threads as this one, which has done other work before."""
    threads = tf.config.threading.get_intra_op_parallelism_threads()
    command = [sys.executable, "-c", DIGEST_OF_A_RUN, str(threads), precision]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        here = predictor if precision == "float32" else Predictor(replace(predictor.spec, precision=precision), BATCH)
        digests = {digest_of_a_run(here) for _ in range(3)}
        (elsewhere,) = process.communicate(timeout=240)[0].split()
    assert len(elsewhere) == len(hashlib.sha256().hexdigest())
    assert digests == {elsewhere}


DIGEST_WITH_THE_FULL_NETWORK = """
from diagchd_batch.model import Predictor, resolve_model
from tests.unit.model.test_predictor import digest_of_a_run
print(digest_of_a_run(Predictor(resolve_model("diagchd", "seed:0", "float32"), 1, intra_op_threads=1)))
"""


@pytest.mark.slow
def test_two_processes_with_fixed_threads_give_the_same_bits_with_the_full_network() -> None:
    command = [sys.executable, "-c", DIGEST_WITH_THE_FULL_NETWORK]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]  # at once
    digests = [process.communicate(timeout=600)[0].strip() for process in processes]
    assert len(digests[0]) == len(hashlib.sha256().hexdigest())
    assert digests[0] == digests[1]


def test_weights_replaced_since_the_run_began_are_refused(network: keras.Model, tmp_path: Path) -> None:
    """A worker that starts in the middle of a run must not score with another model under the same fingerprint."""
    path = tmp_path / "latest.h5"
    save_checkpoint(network, path)
    spec = resolve_model("diagchd-compact", str(path), "float32")
    refuse_replaced_weights(spec)
    with h5py.File(path, "a") as file:
        file["head_conv/bias"][0] += 1
    with pytest.raises(RunFault, match=r"latest\.h5 are not those that this run began with"):
        load_network(spec)
