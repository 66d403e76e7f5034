"""The training loop on a network of a few layers: what it trains, what it refuses, and that it goes on to the bit."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.errors import RunFault
from diagchd_batch.model.network import classifier_layers
from diagchd_batch.storage import open_store
from diagchd_batch.training.recipe.compiled_steps import CompiledStage
from diagchd_batch.training.recipe.fold_checkpoints import FoldCheckpoints, FoldProgress
from diagchd_batch.training.recipe.step_loop import TrainingStopped, train_network
from tests.support.trainings.tiny_training import SETTINGS_DIGEST, STAGES, tiny_data, tiny_network, tiny_settings

N_KILLS = int(os.environ.get("TRAINING_KILLS", 3))


@pytest.fixture
def checkpoints(tmp_path: Path) -> FoldCheckpoints:
    return FoldCheckpoints(open_store(str(tmp_path)), "fold-0/")


@pytest.mark.slow
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    """Kill the process at random moments, also while it writes, and compare the final weights to the bit.

    TRAINING_KILLS in the environment is another number of kills than 3.
    Each process has its own directories, as on another node. The store is all that they share, and each goes on with
    the step after the last checkpoint there.
    """
    generator = random.Random()  # the property holds for every moment
    undisturbed = _start(tmp_path / "undisturbed", tmp_path / "node")
    saved = None
    for number in range(N_KILLS):
        node = tmp_path / f"node-{number}"
        killed = _start(tmp_path / "killed", node, seconds_per_step=0.05)
        time.sleep(generator.uniform(0.0, 4.0))
        killed.kill()
        _check_first_step(saved, killed.communicate()[0])
        shutil.rmtree(node)
        state = FoldCheckpoints(open_store(str(tmp_path / "killed")), "fold/").load(SETTINGS_DIGEST)
        saved = state.progress if state else None
    survivor = _start(tmp_path / "killed", tmp_path / "last-node")
    _check_first_step(saved, survivor.communicate()[0])
    undisturbed.communicate()
    assert (survivor.returncode, undisturbed.returncode) == (0, 0)
    once, again = (np.load(tmp_path / name / "final.npz") for name in ("undisturbed", "killed"))
    for name in once:
        assert once[name].tobytes() == again[name].tobytes()


def _check_first_step(saved: FoldProgress | None, printed: str) -> None:
    """Check that the first step of a process is the one after the last checkpoint. It may have been killed before."""
    found = re.search(r"first step (\d+) (\d+) (\d+)", printed)
    if found:
        stage, epoch, step = (saved.stage, saved.epoch, saved.step) if saved else (0, 0, 0)
        first = tuple(map(int, found.groups()))
        assert first == ((stage, epoch, step + 1) if epoch < STAGES[stage].epochs else (stage + 1, 0, 1))


def _start(store: Path, node: Path, seconds_per_step: float = 0.0) -> "subprocess.Popen[str]":
    """Start a training with its own directories, and wait until it begins, which is after its libraries are loaded."""
    store.mkdir(exist_ok=True)
    node.mkdir()
    environ = os.environ | {"TMPDIR": str(node), "HOME": str(node), "PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-m", "tests.support.trainings.tiny_training", str(store), str(seconds_per_step)]
    process = subprocess.Popen(
        command, cwd=node, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout.readline() == "begin\n"
    return process


@pytest.mark.slow
def test_a_stopped_training_goes_on_and_reports_every_epoch(checkpoints: FoldCheckpoints) -> None:
    settings = tiny_settings(STAGES[2:], checkpoint_s=1e9)
    asked = iter([False] * 5 + [True])
    with pytest.raises(TrainingStopped):
        train_network(tiny_network(), tiny_data(), settings, checkpoints, _ignore, lambda: next(asked))
    saved = checkpoints.load(settings.settings_digest).progress
    assert (saved.epoch, saved.step, len(saved.history)) == (1, 1, 1)
    steps = []

    def note(progress: FoldProgress, n_batches: int) -> None:
        steps.append((progress.epoch, progress.step, n_batches))

    history = train_network(tiny_network(), tiny_data(), settings, checkpoints, note, lambda: False)
    assert steps[0] == (1, 2, 4)
    assert len(steps) == 7
    assert [row["epoch"] for row in history] == [0, 1, 2]
    assert {"loss", "validation_loss", "validation_auc", "validation_segmentation_loss"} <= history[0].keys()


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_stage_changes_only_what_it_trains(checkpoints: FoldCheckpoints, number: int) -> None:
    model = tiny_network()
    before = {variable.path: np.array(variable) for variable in model.weights}
    stage = STAGES[number].model_copy(update={"epochs": 1})
    train_network(model, tiny_data(), tiny_settings((stage,)), checkpoints, _ignore, lambda: False)
    changed = {variable.path for variable in model.weights if (np.array(variable) != before[variable.path]).any()}
    of_classifier = {variable.path for layer in classifier_layers(model) for variable in layer.weights}
    assert changed == (of_classifier if stage.trains == "classifier" else before.keys() - of_classifier)


@pytest.mark.parametrize(("dropout", "expected"), [(None, 0.6), (0.2, 0.2), (0.0, 0.0)])
def test_a_stage_sets_the_dropout_of_the_classifier(dropout: float | None, expected: float) -> None:
    model = tiny_network()
    CompiledStage(model, STAGES[2].model_copy(update={"dropout": dropout}), (1.0, 1.0))
    layers = [layer for layer in classifier_layers(model) if type(layer).__name__ == "Dropout"]
    assert [layer.rate for layer in layers] == [expected] * 4


def test_a_loss_that_is_not_finite_names_epoch_batch_and_images(checkpoints: FoldCheckpoints) -> None:
    model = tiny_network()
    model.layers[1].kernel.assign(np.full(model.layers[1].kernel.shape, np.nan, np.float32))
    stage = STAGES[0].model_copy(update={"batch_size": 2})
    with pytest.raises(RunFault, match=r"stage segmentation, epoch 1, batch 1, images i-[0-9a-f]{16}, i-[0-9a-f]{16};"):
        train_network(model, tiny_data(), tiny_settings((stage,)), checkpoints, _ignore, lambda: False)


def test_a_stage_without_any_label_or_mask_is_refused(checkpoints: FoldCheckpoints) -> None:
    data = replace(tiny_data(), labels=np.full(24, -1, np.int8))
    with pytest.raises(RunFault, match="no training image of this fold has a label"):
        train_network(tiny_network(), data, tiny_settings(STAGES[1:2]), checkpoints, _ignore, lambda: False)


def _ignore(*_: object) -> None:
    pass
