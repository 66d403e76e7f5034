"""Compares the predictor with Keras's own `predict`: speed, and differences of the results."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from statistics import median

import keras
import numpy as np

from diagchd_batch.model.batch_size import choose_batch_size
from diagchd_batch.model.predictor import Predictor
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.runtimes.tensorflow.compiled import load_network
from diagchd_batch.model.spec import PRECISIONS, ModelSpec


@dataclass(frozen=True, slots=True)
class PrecisionFigures:
    """One precision of the predictor, compared with `keras.Model.predict` on one image at a time, in float32.

    Attributes:
        images_per_s: Images per second, from the median of the rounds.
        speed_ratio: Images per second divided by those of Keras.
        same_pixels: The fraction of pixels with the same class as Keras's, in [0, 1].
        same_calls: The fraction of images with the same CHD call as Keras's, in [0, 1].
        largest_probability_difference: The largest absolute difference of the CHD probability over the images.
    """

    images_per_s: float
    speed_ratio: float
    same_pixels: float
    same_calls: float
    largest_probability_difference: float


@dataclass(frozen=True, slots=True)
class PredictorBenchmark:
    """Figures of one run on one device, so that they can be compared with each other."""

    model: str
    device: str
    batch_size: int
    keras_images_per_s: float
    precisions: dict[str, PrecisionFigures]


def compare_with_keras(spec: ModelSpec, images_nhwc_u8: np.ndarray, rounds: int = 5) -> PredictorBenchmark:
    """Compare each precision of a model with Keras.

    The speed is measured on the first batch. All precisions are timed in every round, so that a machine whose speed
    changes does not favour one of them. The results are compared on all images.

    Args:
        spec: The model. Of an ensemble, the first member is compared.
        images_nhwc_u8: uint8 ``[n, height, width, 3]``, RGB on the model's grid.
        rounds: The number of rounds.

    Returns:
        The figures of each precision.
    """
    spec = replace(spec, members=spec.members[:1], gives_view_features=False)
    batch_size = choose_batch_size(spec)
    batches = _batches(images_nhwc_u8, batch_size)
    network = load_network(spec)
    predictors = {precision: Predictor(replace(spec, precision=precision), batch_size) for precision in PRECISIONS}
    one_image = images_nhwc_u8[:1].astype(np.float32) / 255

    timed: dict[str, Callable[[], object]] = {"keras": lambda: network.predict(one_image, verbose=0)}
    timed |= {name: partial(predictor.predict, batches[0]) for name, predictor in predictors.items()}
    seconds = _alternating_medians_s(timed, rounds)
    keras_images_per_s = 1 / seconds["keras"]

    label_maps, probability = _keras_results(network, images_nhwc_u8)
    precisions = {}
    for name, predictor in predictors.items():
        ours = _joined([predictor.predict(batch) for batch in batches], len(images_nhwc_u8))
        images_per_s = batch_size / seconds[name]
        calls = (ours.chd_probability_b_f32 >= spec.chd_threshold) == (probability >= spec.chd_threshold)
        precisions[name] = PrecisionFigures(
            images_per_s=images_per_s,
            speed_ratio=images_per_s / keras_images_per_s,
            same_pixels=float(np.mean(ours.label_maps_bhw_u8 == label_maps)),
            same_calls=float(np.mean(calls)),
            largest_probability_difference=float(np.abs(ours.chd_probability_b_f32 - probability).max()),
        )
    device = predictors[spec.precision].devices[0]
    return PredictorBenchmark(spec.name, device, batch_size, keras_images_per_s, precisions)


def _alternating_medians_s(timed: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    for call in timed.values():
        call()  # the first call compiles or allocates memory
    seconds: dict[str, list[float]] = {name: [] for name in timed}
    for _ in range(rounds):
        for name, call in timed.items():
            began_s = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - began_s)
    return {name: median(values) for name, values in seconds.items()}


def _keras_results(network: keras.Model, images_nhwc_u8: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return label maps uint8 ``[n, height, width]`` and CHD probabilities ``[n]``, computed one image at a time."""
    results = [network.predict(image[None].astype(np.float32) / 255, verbose=0) for image in images_nhwc_u8]
    label_maps = np.concatenate([segmentation.argmax(axis=-1).astype(np.uint8) for segmentation, _ in results])
    return label_maps, np.concatenate([classification[:, 1] for _, classification in results])


def _batches(images_nhwc_u8: np.ndarray, batch_size: int) -> list[np.ndarray]:
    missing = -len(images_nhwc_u8) % batch_size
    padded = np.concatenate([images_nhwc_u8, np.zeros((missing, *images_nhwc_u8.shape[1:]), np.uint8)])
    return list(padded.reshape(-1, batch_size, *images_nhwc_u8.shape[1:]))


def _joined(predictions: list[Prediction], n_images: int) -> Prediction:
    label_maps = np.concatenate([prediction.label_maps_bhw_u8 for prediction in predictions])
    probability = np.concatenate([prediction.chd_probability_b_f32 for prediction in predictions])
    return Prediction(label_maps[:n_images], probability[:n_images])
