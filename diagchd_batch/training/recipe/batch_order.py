"""Which rows of the cohort make which batch, and the random numbers of each picture: pure functions of the seed."""

import numpy as np

from diagchd_batch.config.training_block import StageConfig

_ORDER, _AUGMENTATION = 0, 1
"""What a random stream is for. Streams of different purposes never share numbers."""


def useful_rows(stage: StageConfig, rows: np.ndarray, labels: np.ndarray, has_mask: np.ndarray) -> np.ndarray:
    """Return those rows that have a mask or a label for a loss of a stage.

    Args:
        stage: The settings of the stage.
        rows: int64, rows of the cohort.
        labels: int8 ``[n]`` of the whole cohort: 0, 1, or -1 for none.
        has_mask: bool ``[n]`` of the whole cohort.
    """
    takes_masks = stage.segmentation_weight > 0 and stage.trains != "classifier"
    useful = (has_mask[rows] & takes_masks) | ((labels[rows] >= 0) & (stage.classification_weight > 0))
    return rows[useful]


def steps_per_epoch(n_rows: int, batch_size: int) -> int:
    """Return the number of batches that `epoch_batches` makes of some rows; 0 if there are none.

    Args:
        n_rows: How many rows there are.
        batch_size: Images in a batch.
    """
    return n_rows // min(batch_size, n_rows) if n_rows else 0


def epoch_batches(
    rows: np.ndarray, subjects: np.ndarray | None, batch_size: int, seed: int, stage: int, epoch: int
) -> np.ndarray:
    """Return the batches of one epoch. Equal arguments give equal batches on every machine.

    All batches have the same size, so that the training step is compiled once. The last rows of the random order are
    left out if they do not fill a batch; they are other rows in each epoch.

    Args:
        rows: int64 ``[n]``, rows of the cohort to train on, at least one.
        subjects: int64 ``[n]``, the number of each row's subject. Then a batch draws subjects in equal parts, and an
            image at random of each. If it is None, every image comes once in an epoch.
        batch_size: Images in a batch. Fewer rows than that make one smaller batch.
        seed: Seed of the fold.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch, from 0.

    Returns:
        int64 ``[batches, images in a batch]``, rows of the cohort.

    Raises:
        ValueError: There are no rows.
    """
    if not len(rows):
        raise ValueError("there are no rows to train on")
    generator = np.random.default_rng((seed, _ORDER, stage, epoch))
    order = generator.permutation(rows) if subjects is None else _by_subject(rows, subjects, generator)
    size = min(batch_size, len(rows))
    n_batches = steps_per_epoch(len(rows), batch_size)
    return order[: n_batches * size].reshape(n_batches, size)


def picture_generator(seed: int, stage: int, epoch: int, row: int) -> np.random.Generator:
    """Return the random generator for the augmentation of one picture in one epoch.

    Args:
        seed: Seed of the fold.
        stage: Number of the stage, from 0.
        epoch: Number of the epoch, from 0.
        row: Row of the picture in the cohort.
    """
    return np.random.default_rng((seed, _AUGMENTATION, stage, epoch, row))


def _by_subject(rows: np.ndarray, subjects: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return as many rows as there are; each subject comes equally often, give or take one."""
    names, numbers = np.unique(subjects, return_inverse=True)
    of_subject = np.split(rows[np.argsort(numbers, kind="stable")], np.cumsum(np.bincount(numbers))[:-1])
    rounds = -(-len(rows) // len(names))
    drawn = np.concatenate([generator.permutation(len(names)) for _ in range(rounds)])[: len(rows)]
    return np.array([generator.choice(of_subject[subject]) for subject in drawn], np.int64)
