"""What the weights of a fold depend on, and the weights of its classes."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.model import load_card
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.fold_task import class_weights, settings_digest
from diagchd_batch.training.folds import Fold

CARD = load_card("diagchd-compact")
CONFIG = TrainingConfig(package_uri="unused", preset="quick")
LABELS = np.array([0, 0, 0, 1, -1, -1], np.int8)


@pytest.mark.parametrize(
    ("setting", "expected"), [("none", (1, 1)), ("balanced", (4 / 6, 2)), ((0.5, 3.0), (0.5, 3.0))]
)
def test_class_weights(setting: Any, expected: tuple[float, float]) -> None:
    config = CONFIG.model_copy(update={"class_weights": setting})
    assert class_weights(config, LABELS) == pytest.approx(expected)


def test_one_class_alone_has_no_balance() -> None:
    assert class_weights(CONFIG.model_copy(update={"class_weights": "balanced"}), LABELS[:3]) == (1, 1)


def _digest(config: TrainingConfig = CONFIG, *, label: int = 0, pictures: str = "abcdef", threads: int = 1) -> str:
    names, masks = np.array(list("uvwxyz")), np.ones(6, bool)
    labels = LABELS.copy()
    labels[0] = label
    cohort = TrainingCohort(names, np.zeros(6, np.int32), names, names, labels, masks, {})
    fold = Fold(0, "0", np.array([0, 1, 2]), np.array([3]), np.array([4, 5]))
    cache: Any = SimpleNamespace(picture_digests=np.array(list(pictures)), has_mask=masks)
    return settings_digest(cohort, fold, cache, config, CARD, threads)


def test_a_checkpoint_goes_with_settings_data_and_threads() -> None:
    digests = [
        _digest(),
        _digest(CONFIG.model_copy(update={"seed": 2})),
        _digest(CONFIG.model_copy(update={"stages": [CONFIG.resolved_stages[0]]})),
        _digest(label=1),
        _digest(pictures="zbcdef"),
        _digest(threads=2),
    ]
    assert len(set(digests)) == len(digests)


def test_what_changes_no_weight_changes_no_digest() -> None:
    other = CONFIG.model_copy(update={"package_uri": "elsewhere", "checkpoint_minutes": 1.0, "model_version": "2"})
    assert _digest(other) == _digest(pictures="abcdXY") == _digest()
