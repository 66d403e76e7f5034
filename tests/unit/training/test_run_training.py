"""Folds on a Ray of their own: from image files to weights, stopped, killed and gone on with."""

import multiprocessing
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import ray  # noqa: F401 - a caller's program may have imported it before the settings of `local_ray` are made

from diagchd_batch.cluster.local_cluster import local_ray
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.config.job_file import DicomwebConfig, InputConfig, LimitsConfig, ShardsConfig
from diagchd_batch.config.training_block import StageConfig, TrainingConfig
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.model import load_card
from diagchd_batch.scoring.liveness.stop_conditions import RunEnding, request_stop
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.image_cache import CacheSettings, ImageCache, build_cache, open_cache
from diagchd_batch.training.image_cache.decode_part import CachePlaces
from diagchd_batch.training.run_training import (
    FoldNote,
    TrainingPlaces,
    fold_notes,
    run_training,
    threads_per_fold,
)
from tests.unit.scoring.made_inputs import png

RUN, GRID = "run", 32
EPOCHS = 5
NODES = [NodeResources(cpus=2, gpus=0, memory_bytes=4 << 30)]
CONFIG = TrainingConfig(
    package_uri="unused",
    preset="quick",
    threads_per_fold=1,
    stages=[
        StageConfig(
            name="classifier", trains="classifier", epochs=EPOCHS, patience=EPOCHS, batch_size=4, monitor="loss"
        )
    ],
)


@pytest.fixture
def private(tmp_path: Path) -> str:
    return str(tmp_path / "private")


def _cohort(cache: ImageCache) -> TrainingCohort:
    labels, ids = (np.arange(len(cache)) % 2).astype(np.int8), cache.image_ids
    return TrainingCohort(ids, cache.frames, ids, ids, labels, cache.has_mask, {})


def _folds(n: int) -> list[Fold]:
    rows = np.arange(n)
    return [Fold(k, str(k), rows[rows % 4 > 1], rows[rows % 4 == k], rows[rows % 4 == 1 - k]) for k in range(2)]


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_folds_are_trained_stopped_and_gone_on_with(tmp_path: Path, private: str) -> None:
    inputs, store = open_store(str(tmp_path / "input")), open_store(private)
    for number in range(16):
        inputs.replace(f"IMAGE/{number % 2}/{number}.png", png(5 * number + 100 * (number % 2)))
        inputs.replace(f"MASK/{number % 2}/{number}.png", png(number % 3, mode="L"))
    plan = freeze_plan(
        InputConfig(uri=inputs.uri, layout="diagchd"),
        ShardsConfig(images_per_shard=6),
        inputs,
        store,
        RUN,
        Pseudonymizer(b"k" * 32),
    )
    card = load_card("diagchd-compact")
    grid = card.architecture.model_copy(update={"height": GRID, "width": GRID})
    card = card.model_copy(update={"architecture": grid})
    settings = CacheSettings(GRID, GRID, "all", "whole", None, DecodeLimits())
    cache_places = CachePlaces(
        RUN, inputs.uri, private, settings, LimitsConfig(), DicomwebConfig(), frozenset(), threads=1
    )
    seen: list[tuple[int, int]] = []
    with local_ray(NODES[0]):
        parts = build_cache(cache_places, list(plan.shards()), lambda *counts: seen.append(counts))
        assert seen == [(1, 3), (2, 3), (3, 3)]
        cache = open_cache(store, settings, parts, tmp_path)
        cohort, folds = _cohort(cache), _folds(16)
        calm = TrainingPlaces("calm", "first", private, 60.0, settings, parts, CONFIG, card)
        undisturbed = run_training(calm, cohort, folds, NODES, lambda notes: None)
        places = replace(calm, run_id=RUN)
        trouble = _Trouble(lambda: request_stop(store, RUN, "first"))
        with pytest.raises(RunEnding):
            run_training(places, cohort, folds, NODES, trouble)
        _kill_a_driver_with_its_ray(replace(places, submission="second"), cohort, folds)
        results = run_training(replace(places, submission="third"), cohort, folds, NODES, lambda notes: None)
    assert trouble.n_killed
    assert [result.fold for result in results] == [0, 1]
    assert [one.weights_sha256 for one in results] == [one.weights_sha256 for one in undisturbed]
    assert results[0].weights_sha256 != results[1].weights_sha256
    for result in results:
        assert store.stat(result.weights_key) is not None
        assert [row["epoch"] for row in result.history] == list(range(EPOCHS))
    assert [note.finished for note in fold_notes(store, RUN, 2)] == [True, True]


def _kill_a_driver_with_its_ray(places: TrainingPlaces, cohort: TrainingCohort, folds: list[Fold]) -> None:
    """Let a driver of its own go on with the run, and kill it and all of its Ray as soon as a fold has done more."""
    driver = multiprocessing.get_context("spawn").Process(target=_drive, args=(places, cohort, folds))
    driver.start()
    driver.join()
    assert driver.exitcode == -signal.SIGKILL


def _drive(places: TrainingPlaces, cohort: TrainingCohort, folds: list[Fold]) -> None:
    before = fold_notes(open_store(places.private_uri), places.run_id, len(folds))

    def kill_all(notes: list[FoldNote | None]) -> None:
        if notes != before:
            for pid in (*_descendants(os.getpid(), ""), os.getpid()):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    with local_ray(NODES[0]):
        run_training(places, cohort, folds, NODES, kill_all)


class _Trouble:
    """Kills the folds' processes as soon as one is at work, and then asks the run to stop."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop
        self.n_killed = 0

    def __call__(self, notes: list[FoldNote | None]) -> None:
        if self.n_killed:
            self._stop()
        elif any(notes):
            for pid in _descendants(os.getpid(), "_train_in_task"):
                os.kill(pid, signal.SIGKILL)
                self.n_killed += 1


def _descendants(ancestor: int, title: str) -> list[int]:
    """Return the ids of the processes below `ancestor` whose title has a text."""
    parents, titles = {}, {}
    for directory in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            pid = int(directory.name)
            parents[pid] = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            titles[pid] = (directory / "cmdline").read_bytes().decode(errors="replace")
    found = []
    for pid in parents:
        above = pid
        while above in parents and above != ancestor:
            above = parents[above]
        if above == ancestor and title in titles.get(pid, ""):
            found.append(pid)
    return found


def test_the_first_start_fixes_the_threads(private: str) -> None:
    store = open_store(private)
    config = CONFIG.model_copy(update={"threads_per_fold": "auto"})
    big = NodeResources(cpus=16, gpus=0, memory_bytes=1)
    assert threads_per_fold(store, "one", config, 5, [big, big]) == 5
    assert threads_per_fold(store, "one", config, 5, NODES) == 5
    assert threads_per_fold(store, "two", config, 5, NODES) == 1
    with_gpus = NodeResources(cpus=16, gpus=2, memory_bytes=1)
    assert threads_per_fold(store, "three", config, 5, [with_gpus, NODES[0]]) == 8
    assert threads_per_fold(store, "four", CONFIG.model_copy(update={"threads_per_fold": 3}), 5, NODES) == 3
