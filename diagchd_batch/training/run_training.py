"""Trains the folds of a run side by side, each in a Ray task with a GPU or a share of a node's cores of its own."""

import json
import pickle
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from diagchd_batch import output_layout
from diagchd_batch.cluster.node_checks.python_requirements import unsuitable_node
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.errors import DiagchdBatchError, ItemError, RunFault, StorageFault
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.model.card import ModelCard
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.scoring.liveness.stop_conditions import Ending, RunEnding, StopConditions
from diagchd_batch.storage import Store, open_store
from diagchd_batch.storage.timeouts import short_timeout_s
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.image_cache import CacheSettings, open_cache

if TYPE_CHECKING:
    from diagchd_batch.training.fold_task import FoldResult

PROGRESS_INTERVAL_S = 2.0
"""Seconds between two notes of a fold on how far it is, and between its questions whether it should stop."""

_TICK_S = 1.0
_STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class TrainingPlaces:
    """What the process of a fold needs, besides the cohort.

    Attributes:
        run_id: The run.
        submission: The submission of the run, for requests to stop.
        private_uri: The root of the private tree.
        object_timeout_s: Seconds for which transient failures of one object are retried.
        cache_settings: How the cached images got onto the grid.
        cache_parts: The parts of the cache, from `build_cache`.
        config: How to train.
        card: The card of the network that is trained.
        until_s: The Unix time by which folds must have saved their state and ended, or None.
        max_attempts: How often a fold whose process or node dies is started again.
    """

    run_id: str
    submission: str
    private_uri: str
    object_timeout_s: float
    cache_settings: CacheSettings
    cache_parts: tuple[str, ...]
    config: TrainingConfig
    card: ModelCard
    until_s: float | None = None
    max_attempts: int = 4


class FoldNote(JsonRecord):
    """How far a fold is. It is for people who watch, and nothing depends on it.

    Attributes:
        fold: The fold's number, from 0.
        stage: Name of the stage.
        epoch: Number of the epoch, from 1.
        epochs: Largest number of epochs of the stage.
        step: Steps of the epoch that are done.
        steps: Steps of the epoch.
        loss: Mean loss of the epoch so far; None before its first step.
        last: Figures of the epoch before; empty in the first.
        finished: Whether the fold is finished.
    """

    remedy: ClassVar[str] = "delete it; it only shows progress"

    fold: int
    stage: str
    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float | None = None
    last: dict[str, Any] = Field(default_factory=dict)
    finished: bool = False


class TrainingThreads(JsonRecord):
    """The number of threads of each fold. The first start of a run fixes it, because the weights depend on it."""

    threads: int


def fold_notes(private: Store, run_id: str, n_folds: int) -> list[FoldNote | None]:
    """Return how far each fold is; None for a fold that has not begun.

    Args:
        private: The private tree.
        run_id: The run's id.
        n_folds: The number of folds.
    """
    notes: list[FoldNote | None] = []
    for fold in range(n_folds):
        note = None
        with suppress(RunFault, ItemError):  # a reader that meets a writer on a share may see neither file
            note = FoldNote.read(private, _note_key(run_id, fold))
        notes.append(note)
    return notes


def threads_per_fold(
    private: Store, run_id: str, config: TrainingConfig, n_folds: int, nodes: Sequence[NodeResources]
) -> int:
    """Return the threads of each fold, and record them for all later starts of the run.

    Args:
        private: The private tree.
        run_id: The run's id.
        config: How to train. With `auto`, folds on CPUs share a node's cores, and a fold on a GPU has a GPU's share.
        n_folds: The number of folds.
        nodes: The nodes that are there now.
    """
    key = output_layout.private_run(run_id) + "training/threads.json"
    recorded = TrainingThreads.read(private, key)
    if recorded is None:
        TrainingThreads(threads=suitable_threads(config, n_folds, nodes)).create(private, key)
        recorded = TrainingThreads.read(private, key)
        assert recorded is not None
    return recorded.threads


def suitable_threads(config: TrainingConfig, n_folds: int, nodes: Sequence[NodeResources]) -> int:
    """Return the threads of each fold on some nodes, for a run that has not recorded them.

    Args:
        config: How to train.
        n_folds: The number of folds.
        nodes: The nodes.
    """
    if config.threads_per_fold != "auto":
        return config.threads_per_fold
    return min(_share(node, nodes, n_folds) for node in _usable(nodes))


def run_training(
    places: TrainingPlaces,
    cohort: TrainingCohort,
    folds: Sequence[Fold],
    nodes: Sequence[NodeResources],
    on_tick: Callable[[list[FoldNote | None]], None],
) -> "tuple[FoldResult, ...]":
    """Train all folds on the Ray that this process is connected to, and return when all have ended.

    A fold whose process or node dies starts again elsewhere from its last checkpoint. A fold that is finished is not
    trained again. To end early, leave Ray: the next call goes on from the last checkpoints.

    Args:
        places: The places and settings.
        cohort: The frames of all folds.
        folds: The folds.
        nodes: The nodes that are there now.
        on_tick: Called about once a second with how far each fold is. An exception from it ends the training.

    Returns:
        The `fold_task.FoldResult` of each fold, in their order.

    Raises:
        RunEnding: The deadline came, or somebody asked the run to stop; the same command goes on.
        RunFault: A fold cannot go on, or Ray gave up.
    """
    import ray
    from ray.exceptions import RayError

    private = open_store(places.private_uri, object_timeout_s=places.object_timeout_s, owner_only=True)
    threads = threads_per_fold(private, places.run_id, places.config, len(folds), nodes)
    has_gpus = any(node.gpus for node in nodes)
    largest = max(node.cpus for node in _usable(nodes))
    task = ray.remote(
        num_cpus=min(threads, largest),
        num_gpus=1 if has_gpus else 0,
        max_calls=1,  # TensorFlow's threads are fixed in a new process
        max_retries=places.max_attempts,
    )(_train_in_task)
    shared = ray.put(pickle.dumps((places, cohort)))
    waiting = {task.remote(shared, pickle.dumps(fold), threads): fold.number for fold in folds}
    outcomes: dict[int, dict[str, Any]] = {}
    try:
        while waiting:
            done, _ = ray.wait(list(waiting), num_returns=1, timeout=_TICK_S)
            for reference in done:
                outcome = json.loads(ray.get(reference))
                if "fault" in outcome:
                    raise RunFault(f"fold {waiting[reference]}: {outcome['fault']}")
                outcomes[waiting.pop(reference)] = outcome
            on_tick(fold_notes(private, places.run_id, len(folds)))
    except RayError as error:
        raise RunFault(
            f"Ray gave up on a fold ({type(error).__name__}); look for a lack of memory on its node, then give the "
            "same command again: it goes on from the last checkpoints"
        ) from error
    finally:
        for reference in waiting:
            ray.cancel(reference, force=True)
    return _results(outcomes, folds)


def _results(outcomes: dict[int, dict[str, Any]], folds: Sequence[Fold]) -> "tuple[FoldResult, ...]":
    from diagchd_batch.training.fold_task import FoldResult

    for outcome in outcomes.values():
        if _STOPPED in outcome:
            raise RunEnding(Ending(outcome[_STOPPED]))
    return tuple(FoldResult.model_validate(outcomes[fold.number]["result"]) for fold in folds)


def _train_in_task(shared: bytes, pickled_fold: bytes, threads: int) -> str:
    """Train one fold. Faults are answers, because Ray would write the text of an exception to its logs."""
    if problem := unsuitable_node():
        return json.dumps({"fault": f"{problem}, then give the same command again"})
    places, cohort = pickle.loads(shared)
    try:
        return json.dumps(_train(places, cohort, pickle.loads(pickled_fold), threads))
    except DiagchdBatchError as error:
        return json.dumps({"fault": str(error)})


def _train(places: TrainingPlaces, cohort: TrainingCohort, fold: Fold, threads: int) -> dict[str, Any]:
    from diagchd_batch.training.fold_task import fix_numerics, train_fold
    from diagchd_batch.training.recipe.step_loop import TrainingStopped

    fix_numerics(threads)
    private = open_store(places.private_uri, object_timeout_s=places.object_timeout_s, owner_only=True)
    watcher = _Watcher(places, fold)
    with scratch_directory() as directory:
        whole = open_cache(private, places.cache_settings, places.cache_parts, Path(directory))
        cache = whole.take(cohort.image_ids, cohort.frames)
        try:
            result = train_fold(
                cohort,
                fold,
                cache,
                places.config,
                places.card,
                private,
                output_layout.fold_prefix(places.run_id, fold.number),
                threads,
                watcher.note,
                watcher.should_stop,
            )
        except TrainingStopped:
            return {_STOPPED: str(watcher.ending)}
    watcher.finish(result.history)
    return {"result": result.model_dump(mode="json")}


class _Watcher:
    """Writes how far a fold is and its events for TensorBoard, and asks every few seconds whether it should stop."""

    def __init__(self, places: TrainingPlaces, fold: Fold) -> None:
        self._private = open_store(
            places.private_uri, object_timeout_s=short_timeout_s(places.object_timeout_s), owner_only=True
        )
        self._conditions = StopConditions(self._private, places.run_id, places.submission, places.until_s)
        self._key = _note_key(places.run_id, fold.number)
        self._stages = places.config.resolved_stages
        self._fold = fold.number
        self._noted_s = self._asked_s = float("-inf")
        self._last: FoldNote | None = None
        self._events_key = output_layout.fold_events_prefix(places.run_id, fold.number)
        self._epoch_ends_s: list[float] = []
        self.ending: Ending | None = None

    def should_stop(self) -> bool:
        now_s = time.monotonic()
        if self.ending is None and now_s - self._asked_s >= PROGRESS_INTERVAL_S:
            self._asked_s = now_s
            self.ending = self._conditions.closed()
        return self.ending is not None

    def note(self, progress: Any, n_steps: int) -> None:
        self._write_events(progress.history)
        now_s = time.monotonic()
        if now_s - self._noted_s < PROGRESS_INTERVAL_S:
            return
        self._noted_s = now_s
        stage = self._stages[progress.stage]
        self._last = FoldNote(
            fold=self._fold,
            stage=stage.name,
            epoch=progress.epoch + 1,
            epochs=stage.epochs,
            step=progress.step,
            steps=n_steps,
            loss=progress.sums["loss"] / progress.step if progress.step else None,
            last=progress.history[-1] if progress.history else {},
        )
        self._write(self._last)

    def finish(self, history: list[dict[str, Any]]) -> None:
        self._write_events(history)
        stage = self._stages[-1]
        last = self._last or FoldNote(
            fold=self._fold, stage=stage.name, epoch=stage.epochs, epochs=stage.epochs, step=0, steps=0
        )
        self._write(last.model_copy(update={"finished": True}))

    def _write_events(self, history: list[dict[str, Any]]) -> None:
        """Write the events again if an epoch has ended. Epochs before a restart get the time of the restart."""
        n_new = len(history) - len(self._epoch_ends_s)
        if not n_new:
            return
        from diagchd_batch.training.reporting.event_file import FILE_NAME, write_events

        self._epoch_ends_s += [time.time()] * n_new
        with suppress(StorageFault), scratch_directory() as directory:
            path = directory / FILE_NAME
            write_events(path, history, self._epoch_ends_s)
            self._private.replace(self._events_key + FILE_NAME, path.read_bytes())

    def _write(self, note: FoldNote) -> None:
        with suppress(StorageFault):
            note.write(self._private, self._key)


def _note_key(run_id: str, fold: int) -> str:
    return output_layout.fold_prefix(run_id, fold) + "progress.json"


def _usable(nodes: Sequence[NodeResources]) -> list[NodeResources]:
    """Return the nodes with GPUs, or all nodes if none has one."""
    return [node for node in nodes if node.gpus] or list(nodes)


def _share(node: NodeResources, nodes: Sequence[NodeResources], n_folds: int) -> int:
    """Return the cores of a node for each of the folds that it trains at a time."""
    side_by_side = node.gpus or -(-n_folds // len(_usable(nodes)))
    return max(1, node.cpus // side_by_side)
