"""Scores batches of images: the network compiled once, uint8 in, label maps and probabilities out."""

import threading
from dataclasses import dataclass

import numpy as np

from diagchd_batch.errors import UsageError
from diagchd_batch.model.runtimes.tensorflow.compiled import compile_network, start_tensorflow
from diagchd_batch.model.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one batch.

    `label_maps_bhw_u8`: class numbers 0 background, 1 septum, 2 rest of the heart, at the model's grid.
    `chd_probability_b_f32`: in [0, 1]. Only with a reference, per image: `seg_loss_b_f32`, cross-entropy plus one minus
    soft Dice, and `soft_dice_b_f32` in [0, 1] (`losses`).
    """

    label_maps_bhw_u8: np.ndarray
    chd_probability_b_f32: np.ndarray
    seg_loss_b_f32: np.ndarray | None
    soft_dice_b_f32: np.ndarray | None


class Predictor:
    """A network with its weights, compiled for one batch size; safe to call from several threads.

    On a CPU an image at one position of a batch gives the same bits whatever the other positions hold, in every process
    with the same number of threads, on the same processor with the same package versions. The number of threads does
    show in last bits (oneDNN cuts its sums by it), so a run that must repeat to the bit keeps it fixed.

    `intra_op_threads` is the number of threads of one operation; None takes TensorFlow's default, a thread per core.
    A process can have one such number only: asking for another later raises UsageError.
    """

    def __init__(self, spec: ModelSpec, batch_size: int, intra_op_threads: int | None = None) -> None:
        """Raises WeightsError if the checkpoint does not fit, RunFault if it is not the one that `spec` was resolved
        from, ConfigError for an unknown model."""
        if batch_size < 1:
            raise UsageError(f"the batch size must be at least 1, not {batch_size}")
        self.spec = spec
        self.batch_size = batch_size
        self.devices = start_tensorflow(intra_op_threads)
        self._run = compile_network(spec, batch_size)
        self._lock = threading.Lock()

    def predict(self, images_bhwc_u8: np.ndarray, reference_bhw_u8: np.ndarray | None = None) -> Prediction:
        """Score exactly `batch_size` RGB images at the model's grid; empty slots are the caller's to fill with zeros.

        `reference_bhw_u8`: label maps of 0, 1, 2, zeros where an image has none.
        """
        grid = (self.batch_size, self.spec.height, self.spec.width)
        _check(images_bhwc_u8, (*grid, 3), "images")
        if reference_bhw_u8 is not None:
            _check(reference_bhw_u8, grid, "reference label maps")
        with self._lock:  # one at a time: two would fight for the same cores and double the memory
            outputs = self._run(images_bhwc_u8, reference_bhw_u8)
        return Prediction(*outputs)


def _check(array: np.ndarray, shape: tuple[int, ...], what: str) -> None:
    if array.shape != shape or array.dtype != np.uint8:
        raise UsageError(f"{what} must be uint8 of shape {shape}, not {array.dtype} of shape {array.shape}")
