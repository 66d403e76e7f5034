"""The loop over the stages, epochs and steps of one fold. It goes on from any saved state to the same final weights.

Each batch, its augmentation and the learning rate are pure functions of the seed and the place in the recipe. All else
that a step depends on is in `FoldState`, so a training that was interrupted at any moment computes the same numbers
again.
"""

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import keras
import numpy as np

from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.training.recipe.batch_order import epoch_batches, picture_generator, useful_rows
from diagchd_batch.training.recipe.compiled_steps import Batch, CompiledStage
from diagchd_batch.training.recipe.early_stopping import BestEpoch
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress, FoldState
from diagchd_batch.training.recipe.learning_rate import learning_rate
from diagchd_batch.training.recipe.validation_figures import validation_figures

Augment = Callable[[np.ndarray, np.ndarray, np.random.Generator], tuple[np.ndarray, np.ndarray]]
"""Image uint8 ``[h, w, 3]``, mask uint8 ``[h, w]`` and a generator -> the changed image and mask."""

BATCHES_AHEAD = 4
AUGMENTATION_THREADS = 2
_SHOWN_NAMES = 16

_log = logging.getLogger(__name__)


class Pictures(Protocol):
    """Where the loop takes pictures from, by their rows in the cohort."""

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 ``[len(rows), height, width, 3]``."""
        ...

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 ``[len(rows), height, width]``, zeros where there is no mask."""
        ...


@dataclass(frozen=True)
class FoldData:
    """The pictures of a fold, and what is known of them. Arrays have one element for each row of the cohort.

    Attributes:
        pictures: The pictures.
        names: The tokens of the images, for messages.
        labels: int8 ``[n]``: 0, 1, or -1 for none.
        has_mask: bool ``[n]``.
        subjects: int64 ``[n]``, the number of each row's subject.
        training_rows: int64, the rows to train on.
        validation_rows: int64, the rows that choose the best epoch. May be empty; then the last epoch is taken.
    """

    pictures: Pictures
    names: Sequence[str]
    labels: np.ndarray
    has_mask: np.ndarray
    subjects: np.ndarray
    training_rows: np.ndarray
    validation_rows: np.ndarray


@dataclass(frozen=True)
class LoopSettings:
    """How a fold is trained.

    Attributes:
        stages: The stages in their order.
        seed: Seed of the fold.
        class_weights: Weight of the classification loss for label 0, and for label 1.
        by_subject: Whether subjects, not images, are drawn in equal parts.
        augment: Changes a picture at random; None for no augmentation.
        checkpoint_s: Seconds after which a checkpoint is due, besides the one at the end of each epoch.
        settings_digest: Digest of all that the weights depend on.
    """

    stages: Sequence[StageConfig]
    seed: int
    class_weights: tuple[float, float]
    by_subject: bool
    augment: Augment | None
    checkpoint_s: float
    settings_digest: str


class TrainingStopped(Exception):  # noqa: N818 - not an error: the state is saved, and the same command goes on
    """A fold ended at a checkpoint because it was asked to."""


def train_network(
    model: keras.Model,
    data: FoldData,
    settings: LoopSettings,
    checkpoints: FoldCheckpoints,
    report_progress: Callable[[FoldProgress, int], None],
    should_stop: Callable[[], bool],
) -> list[dict[str, Any]]:
    """Train a network through all stages, from its last checkpoint if there is one.

    Args:
        model: The network with its initial weights. Afterwards it has the weights of the last stage's best epoch.
        data: The pictures.
        settings: How to train.
        checkpoints: Where states are saved.
        report_progress: Called after each step with the progress and the number of steps of the epoch.
        should_stop: Asked before each step. After True, the state is saved and `TrainingStopped` is raised.

    Returns:
        One row for each epoch: ``stage``, ``epoch`` and the figures by their names.

    Raises:
        TrainingStopped: `should_stop` returned True.
        RunFault: A loss is not finite, a stage has no images to train on, or a checkpoint cannot be used.
    """
    state = checkpoints.load(settings.settings_digest)
    if state is None:
        progress = FoldProgress(settings_digest=settings.settings_digest)
    else:
        progress = state.progress
        _assign(model.variables, state.variables)
    while progress.stage < len(settings.stages):
        stage = settings.stages[progress.stage]
        compiled = CompiledStage(model, stage, settings.class_weights)
        if state is not None and state.optimizer:
            _assign(compiled.optimizer.variables, state.optimizer)
        state = None
        _Stage(model, data, settings, checkpoints, progress, compiled, report_progress, should_stop).run()
    return progress.history


class _Stage:
    """One stage of a fold."""

    def __init__(
        self,
        model: keras.Model,
        data: FoldData,
        settings: LoopSettings,
        checkpoints: FoldCheckpoints,
        progress: FoldProgress,
        compiled: CompiledStage,
        report_progress: Callable[[FoldProgress, int], None],
        should_stop: Callable[[], bool],
    ) -> None:
        self._model = model
        self._data = data
        self._settings = settings
        self._checkpoints = checkpoints
        self._progress = progress
        self._compiled = compiled
        self._report = report_progress
        self._should_stop = should_stop
        self._stage = settings.stages[progress.stage]
        self._rows = useful_rows(self._stage, data.training_rows, data.labels, data.has_mask)
        if not len(self._rows):
            needed = "mask" if self._stage.trains == "segmentation" else "label"
            raise RunFault(
                f"stage {self._stage.name} has nothing to train on: no training image of this fold has a {needed}; "
                "remove the stage from training.stages, or add such images"
            )

    def run(self) -> None:
        """Train the epochs that are left, take the best one's weights, and save the beginning of the next stage."""
        progress, stage = self._progress, self._stage
        while progress.epoch < stage.epochs and not progress.best.ends_stage(stage):
            self._run_epoch()
        if progress.best.epoch >= 0:
            _assign(self._model.variables, self._checkpoints.load_best(progress.stage, progress.best.epoch))
        progress.stage, progress.epoch, progress.step = progress.stage + 1, 0, 0
        progress.best, progress.sums = BestEpoch(), {}
        self._save(with_optimizer=False)

    def _run_epoch(self) -> None:
        progress, stage, settings = self._progress, self._stage, self._settings
        batches = epoch_batches(
            self._rows,
            self._data.subjects[self._rows] if settings.by_subject else None,
            stage.batch_size,
            settings.seed,
            progress.stage,
            progress.epoch,
        )
        saved_s = time.monotonic()
        for batch in self._prepared(batches[progress.step :]):
            if self._should_stop():
                self._save()
                raise TrainingStopped
            if time.monotonic() - saved_s >= settings.checkpoint_s:
                self._save()
                saved_s = time.monotonic()
            step_of_stage = progress.epoch * len(batches) + progress.step
            rate = learning_rate(stage, step_of_stage, stage.epochs * len(batches), progress.best.plateau_scale)
            losses = self._compiled.train(batch, rate)
            self._refuse_not_finite(losses, batch)
            progress.sums = {name: progress.sums.get(name, 0.0) + value for name, value in losses.items()}
            progress.step += 1
            self._report(progress, len(batches))
        self._end_epoch(len(batches), rate)

    def _end_epoch(self, n_batches: int, rate: float) -> None:
        progress, stage = self._progress, self._stage
        figures = {name: total / n_batches for name, total in progress.sums.items()}
        figures |= self._validation_figures()
        best = progress.best.after(stage, progress.epoch, figures.get(f"validation_{stage.monitor}"))
        is_best = best.epoch == progress.epoch
        if is_best:
            self._checkpoints.save_best(progress.stage, progress.epoch, _values(self._model.variables))
        row = {"stage": stage.name, "epoch": progress.epoch, "learning_rate": rate, **figures}
        progress.history = [*progress.history, row]
        progress.best = best
        progress.epoch, progress.step, progress.sums = progress.epoch + 1, 0, {}
        self._save()
        if is_best:
            self._checkpoints.keep_only_best(progress.stage, best.epoch)
        _log.info("stage %s, epoch %d: %s", stage.name, progress.epoch, figures)

    def _validation_figures(self) -> dict[str, float]:
        rows = useful_rows(self._stage, self._data.validation_rows, self._data.labels, self._data.has_mask)
        if not len(rows):
            return {}
        size = min(self._stage.batch_size, len(self._rows))
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(rows), size):
            chosen = rows[start : start + size]
            padded = np.concatenate([chosen, np.repeat(chosen[-1:], size - len(chosen))])  # one shape, compiled once
            values = self._compiled.validate(_batch(self._data, padded))
            parts.append({name: array[: len(chosen)] for name, array in values.items()})
        found = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        figures = validation_figures(self._stage, found, self._data.labels[rows], self._data.has_mask[rows])
        return {f"validation_{name}": value for name, value in figures.items()}

    def _prepared(self, batches: np.ndarray) -> Iterator[Batch]:
        """Yield the batches in order. Threads read and augment a few of them ahead."""
        stage, epoch = self._progress.stage, self._progress.epoch

        def prepare(rows: np.ndarray) -> Batch:
            batch = _batch(self._data, rows)
            augment = self._settings.augment
            if augment is not None:
                for position, row in enumerate(rows):
                    generator = picture_generator(self._settings.seed, stage, epoch, int(row))
                    image, mask = augment(batch.images[position], batch.masks[position], generator)
                    batch.images[position], batch.masks[position] = image, mask
            return batch

        with ThreadPoolExecutor(AUGMENTATION_THREADS, thread_name_prefix="augmentation") as pool:
            ahead: deque[Future[Batch]] = deque()
            try:
                for rows in batches:
                    ahead.append(pool.submit(prepare, rows))
                    if len(ahead) > BATCHES_AHEAD:
                        yield ahead.popleft().result()
                while ahead:
                    yield ahead.popleft().result()
            finally:
                for future in ahead:
                    future.cancel()

    def _save(self, *, with_optimizer: bool = True) -> None:
        optimizer = _values(self._compiled.optimizer.variables) if with_optimizer else []
        self._checkpoints.save(FoldState(self._progress, _values(self._model.variables), optimizer))

    def _refuse_not_finite(self, losses: dict[str, float], batch: Batch) -> None:
        if all(map(math.isfinite, losses.values())):
            return
        names = ", ".join(self._data.names[row] for row in batch.rows[:_SHOWN_NAMES])
        rest = f" and {len(batch.rows) - _SHOWN_NAMES} more" if len(batch.rows) > _SHOWN_NAMES else ""
        value = next(value for value in losses.values() if not math.isfinite(value))
        raise RunFault(
            f"the loss is {value} in stage {self._stage.name}, epoch {self._progress.epoch + 1}, batch "
            f"{self._progress.step + 1}, images {names}{rest}; look at these images, or lower the stage's "
            "learning_rate, then begin another run with --new-run"
        )


def _batch(data: FoldData, rows: np.ndarray) -> Batch:
    return Batch(rows, data.pictures.images(rows), data.pictures.masks(rows), data.labels[rows], data.has_mask[rows])


def _values(variables: Sequence[Any]) -> list[np.ndarray]:
    return [np.asarray(variable.value) for variable in variables]


def _assign(variables: Sequence[Any], values: Sequence[np.ndarray]) -> None:
    if [tuple(variable.shape) for variable in variables] != [value.shape for value in values]:
        raise RunFault(
            "a checkpoint of this fold does not fit the network; restore the version of the program that made it, or "
            "begin another run with --new-run"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
