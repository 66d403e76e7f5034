"""A network of a few layers and a cohort of a few tiny images, to test the training loop in seconds.

As a program it trains them: `python -m tests.support.trainings.tiny_training STORE SECONDS_PER_STEP`. Tests kill it.
"""

import sys
import time
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.model.network import NetworkBuilder
from diagchd_batch.model.weights.layer_names import CLASSIFIER_DENSE, CLASSIFIER_PREFIX
from diagchd_batch.storage import open_store
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress
from diagchd_batch.training.recipe.step_loop import FoldData, LoopSettings, train_network

HEIGHT, WIDTH = 16, 24
SETTINGS_DIGEST = "0" * 64


class ArrayPictures:
    """Pictures in memory."""

    def __init__(self, images: np.ndarray, masks: np.ndarray) -> None:
        self._images, self._masks = images, masks

    def images(self, rows: np.ndarray) -> np.ndarray:
        return self._images[rows]

    def masks(self, rows: np.ndarray) -> np.ndarray:
        return self._masks[rows]


def tiny_network(seed: int = 1, normalisation: type = NetworkBuilder.normalisation) -> keras.Model:
    """Return a network with the outputs and the classifier's layer names of the real one, dropout included."""
    keras.utils.set_random_seed(seed)
    image = keras.Input((HEIGHT, WIDTH, 3))
    tensor = layers.ReLU()(normalisation()(layers.Conv2D(4, 3, padding="same")(image)))
    maps = layers.Softmax(name="Seg")(layers.Conv2D(3, 1)(tensor))
    tensor = layers.GlobalAveragePooling2D(name=f"{CLASSIFIER_PREFIX}_main_GlobalAveragePooling2D")(tensor)
    for name, units in zip(CLASSIFIER_DENSE, (8, 8, 4, 2), strict=True):
        tensor = layers.Dropout(0.3, name=name.replace("Dense", "Dropout"))(tensor)
        tensor = layers.Dense(units, name=name)(tensor)
    return keras.Model(image, [maps, layers.Softmax(name=CLASSIFIER_PREFIX)(tensor)])


def tiny_data(n: int = 24, seed: int = 0) -> FoldData:
    """Return bright and dark images with masks, whose labels are their brightness. A third is for validation."""
    generator = np.random.default_rng(seed)
    masks = generator.integers(0, 3, (n, HEIGHT, WIDTH), dtype=np.uint8)
    labels = (np.arange(n) % 2).astype(np.int8)
    noise = generator.integers(0, 60, (n, HEIGHT, WIDTH, 3))
    images = (masks[..., None] * 40 + labels[:, None, None, None] * 80 + noise).astype(np.uint8)
    rows = np.arange(n)
    return FoldData(
        pictures=ArrayPictures(images, masks),
        names=[f"i-{row:016x}" for row in rows],
        labels=labels,
        has_mask=np.ones(n, bool),
        subjects=rows // 2,
        training_rows=rows[: 2 * n // 3],
        validation_rows=rows[2 * n // 3 :],
    )


STAGES = (
    StageConfig(name="segmentation", trains="segmentation", epochs=3, batch_size=4, classification_weight=0),
    StageConfig(name="classifier", trains="classifier", epochs=3, batch_size=4, monitor="auc", schedule="plateau"),
    StageConfig(name="everything", epochs=3, batch_size=4, schedule="cosine", warmup_fraction=0.1),
)


def shifted(image: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Roll image and mask by a random number of columns."""
    columns = int(generator.integers(-3, 4))
    return np.roll(image, columns, 1), np.roll(mask, columns, 1)


def tiny_settings(stages: tuple[StageConfig, ...] = STAGES, checkpoint_s: float = 0.0) -> LoopSettings:
    """Return settings with a checkpoint before each step."""
    return LoopSettings(stages, 3, (1.0, 2.0), True, shifted, checkpoint_s, SETTINGS_DIGEST)


def main(store: Path, seconds_per_step: float) -> None:
    """Train the tiny network from its last checkpoint, and write its final weights."""
    tf.config.threading.set_intra_op_parallelism_threads(2)
    tf.config.experimental.enable_op_determinism()
    model = tiny_network()
    checkpoints = FoldCheckpoints(open_store(str(store)), "fold/")
    places: list[tuple[int, int, int]] = []

    def note(progress: FoldProgress, n_batches: int) -> None:
        if not places:
            places.append((progress.stage, progress.epoch, progress.step))
            print("first step", *places[0], flush=True)
        time.sleep(seconds_per_step)

    print("begin", flush=True)
    train_network(
        model,
        tiny_data(),
        tiny_settings(),
        checkpoints,
        note,
        lambda: False,
    )
    np.savez(store / "final.npz", *[np.asarray(variable.value) for variable in model.variables])
    print("end", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
