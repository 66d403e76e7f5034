"""Scores batches of images with a model that is compiled once: uint8 images in, named arrays out."""

import threading
from dataclasses import replace

import numpy as np

from diagchd_batch.errors import UsageError
from diagchd_batch.model.runtimes import registry
from diagchd_batch.model.runtimes.interface import Prediction
from diagchd_batch.model.spec import ModelSpec, load_view_check
from diagchd_batch.model.view_check import ViewCheck, view_vectors


class Predictor:
    """A model with its weights, compiled for one batch size. It may be called from several threads.

    On a CPU the result for an image does not depend, to the last bit, on the other images of the batch or on its place
    in it. It is the same in every process that has the same number of threads, the same kind of processor and the same
    package versions. The number of threads does change the last bits of the full network, because oneDNN splits its
    sums by it. A run that must be repeatable to the bit therefore keeps it fixed.

    Attributes:
        spec: The model.
        batch_size: The number of images in every batch.
        devices: The names of the devices that compute, such as ``CPU``.
    """

    def __init__(self, spec: ModelSpec, batch_size: int, intra_op_threads: int | None = None) -> None:
        """Load and compile the model.

        Args:
            spec: The model, from `resolve_model`.
            batch_size: The number of images in every batch, at least 1.
            intra_op_threads: Threads of one operation; None is the runtime's default, one thread a core. A process can
                have only one such number.

        Raises:
            UsageError: The batch size is below 1, or the process already uses another number of threads.
            ConfigError: The model is unknown.
            WeightsError: The checkpoint does not fit the model.
            RunFault: The checkpoint or the view check is no longer the one that `spec` was resolved from.
        """
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, not {batch_size}")
        self.spec = spec
        self.batch_size = batch_size
        self._run = registry.compile(spec, batch_size, intra_op_threads)
        self._view_check = load_view_check(spec)
        self.devices = list(self._run.devices)
        self._lock = threading.Lock()

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """Score one batch.

        Args:
            images_bhwc_u8: uint8 ``[batch_size, height, width, 3]``, RGB on the model's grid. The caller fills empty
                positions with zeros.
            reference_bhw_u8: uint8 ``[batch_size, height, width]``, reference label maps with classes 0, 1 and 2, and
                zeros where an image has none. If None, no loss and no Dice are computed.

        Returns:
            The outputs of the network for the batch.

        Raises:
            UsageError: An array has another shape or dtype.
        """
        grid = (self.batch_size, self.spec.height, self.spec.width)
        _check(images_bhwc_u8, (*grid, 3), "images")
        if reference_bhw_u8 is not None:
            _check(reference_bhw_u8, grid, "reference label maps")
        with self._lock:  # two calls at once would compete for the same cores and need twice the memory
            prediction = self._run(images_bhwc_u8, reference_bhw_u8)
        return prediction if self._view_check is None else _with_view_score(prediction, self._view_check)


def _with_view_score(prediction: Prediction, check: ViewCheck) -> Prediction:
    pooled, entropy = prediction.pooled_features_bmd_f32, prediction.entropy_b_f32
    assert pooled is not None
    assert entropy is not None
    return replace(
        prediction, view_score_b_f32=check.score(view_vectors(pooled, prediction.label_maps_bhw_u8, entropy))
    )


def _check(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise UsageError(f"{what} must be uint8 of shape {shape}, not {array.dtype} of shape {array.shape}")
