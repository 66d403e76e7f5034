"""Measures the training loop against a plain Keras `fit` with the same network, images and losses, in one run.

    python -m tools.measure_training_speed [--steps 20] [--rounds 3]

Both train `diagchd-compact` on random images that lie in memory, with op determinism and the same number of threads.
They take turns, one epoch each, so that other work on the machine meets both alike, and the medians are compared, of
wall time and of processor time. The
loop's time includes the checkpoint that it writes after each epoch. No image is augmented: `fit` does not augment.
"""

import argparse
import json
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf

from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.model import load_card
from diagchd_batch.model.losses import Tensor
from diagchd_batch.process.cores import available_cores
from diagchd_batch.storage import open_store
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress
from diagchd_batch.training.recipe.masked_losses import image_classification_losses, image_segmentation_losses
from diagchd_batch.training.recipe.step_loop import FoldData, LoopSettings, train_network
from diagchd_batch.training.recipe.training_network import build_training_network

MODEL = "diagchd-compact"
MOMENTUM = 0.95


class ArrayPictures:
    """Pictures in memory."""

    def __init__(self, images: np.ndarray, masks: np.ndarray) -> None:
        self._images, self._masks = images, masks

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        return self._masks[rows]


class PlainFit:
    """Trains by Keras's `fit`."""

    def __init__(self, images: np.ndarray, masks: np.ndarray, labels: np.ndarray, batch: int) -> None:
        self._model = build_training_network(load_card(MODEL), MOMENTUM)
        self._model.compile(
            optimizer=keras.optimizers.Adam(1e-3), loss=[image_segmentation_losses, _classification_loss]
        )
        self._data = images.astype(np.float32) / 255, [masks, labels[:, None]]
        self._batch = batch

    def train_epoch(self) -> None:
        """Train one epoch."""
        self._model.fit(*self._data, batch_size=self._batch, epochs=1, verbose=0)


def _classification_loss(labels: Tensor, probabilities: Tensor) -> Tensor:
    return image_classification_losses(labels[:, 0], probabilities)


def _now_s() -> np.ndarray:
    """Return the time on the wall and the processor time of this process, in seconds."""
    return np.array([time.perf_counter(), time.process_time()])


def measure(steps: int, rounds: int, batch: int) -> dict[str, np.ndarray]:
    """Return wall and processor seconds ``[epochs, 2]`` of the loop and of `fit`, without the first epoch."""
    generator = np.random.default_rng(0)
    architecture = load_card(MODEL).architecture
    n, grid = steps * batch, (architecture.height, architecture.width)
    images = generator.integers(0, 256, (n, *grid, 3), dtype=np.uint8)
    masks = generator.integers(0, 3, (n, *grid), dtype=np.uint8)
    labels = generator.integers(0, 2, n).astype(np.int32)
    fit = PlainFit(images, masks, labels, batch)
    seconds: dict[str, list[np.ndarray]] = {"loop": [], "fit": []}
    turn_began_s = _now_s()

    def take_turns(progress: FoldProgress, n_batches: int) -> None:
        nonlocal turn_began_s
        if progress.step == n_batches:
            between_s = _now_s()
            seconds["loop"].append(between_s - turn_began_s)
            fit.train_epoch()
            turn_began_s = _now_s()
            seconds["fit"].append(turn_began_s - between_s)

    rows = np.arange(n)
    data = FoldData(
        ArrayPictures(images, masks), [""] * n, labels.astype(np.int8), np.ones(n, bool), rows, rows, rows[:0]
    )
    stage = StageConfig(name="speed", epochs=rounds + 1, batch_size=batch)
    settings = LoopSettings((stage,), 1, (1.0, 1.0), False, None, 1e9, "0")
    model = build_training_network(load_card(MODEL), MOMENTUM)
    with tempfile.TemporaryDirectory() as directory:
        train_network(model, data, settings, FoldCheckpoints(open_store(directory), "fold/"), take_turns, lambda: False)
    return {name: np.array(values[1:]) for name, values in seconds.items()}  # the first compiles


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20, help="steps of an epoch (default 20)")
    parser.add_argument("--rounds", type=int, default=3, help="measured epochs of each (default 3)")
    parser.add_argument("--batch", type=int, default=16, help="images in a batch (default 16)")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(available_cores())
    keras.utils.set_random_seed(1)
    tf.config.experimental.enable_op_determinism()
    seconds = measure(arguments.steps, arguments.rounds, arguments.batch)
    medians_s = {name: np.median(values, axis=0) for name, values in seconds.items()}
    wall, processor = medians_s["fit"] / medians_s["loop"]
    print(
        json.dumps(
            {
                "steps_per_s": {name: arguments.steps / values[0] for name, values in medians_s.items()},
                "loop_over_fit_wall_time": wall,
                "loop_over_fit_processor_time": processor,
                "epochs_s": {name: values.round(2).tolist() for name, values in seconds.items()},
            }
        )
    )


if __name__ == "__main__":
    main()
