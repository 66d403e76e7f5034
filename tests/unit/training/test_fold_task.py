"""What the weights of a fold depend on, and the weights of its classes."""

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.errors import WeightsError
from diagchd_batch.model import load_card
from diagchd_batch.training.cohort import TrainingCohort
from diagchd_batch.training.fold_task import class_weights, settings_digest
from diagchd_batch.training.folds import Fold
from diagchd_batch.training.recipe.initial_weights import describe_initial_weights

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


def _from_package(directory: Path, weights_sha256: str) -> TrainingConfig:
    """Return a training from a package in this directory, whose weights have this digest."""
    card = json.loads(bundled_path("configs/models/diagchd-compact/card.json").read_text(encoding="utf-8"))
    card["weights"]["sha256"] = weights_sha256
    (directory / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return CONFIG.model_copy(update={"initial_weights": str(directory)})


def test_a_checkpoint_goes_with_settings_data_and_threads(tmp_path: Path) -> None:
    digests = [
        _digest(),
        _digest(CONFIG.model_copy(update={"seed": 2})),
        _digest(CONFIG.model_copy(update={"stages": [CONFIG.resolved_stages[0]]})),
        _digest(label=1),
        _digest(pictures="zbcdef"),
        _digest(threads=2),
        _digest(CONFIG.model_copy(update={"initial_weights": "diagchd-compact"})),
        _digest(_from_package(tmp_path, "a" * 64)),
        _digest(_from_package(tmp_path, "b" * 64)),
    ]
    assert len(set(digests)) == len(digests)


def test_what_changes_no_weight_changes_no_digest() -> None:
    other = CONFIG.model_copy(update={"package_uri": "elsewhere", "checkpoint_minutes": 1.0, "model_version": "2"})
    assert _digest(other) == _digest(pictures="abcdXY") == _digest()


def test_initial_weights_are_described_without_their_place(tmp_path: Path) -> None:
    assert describe_initial_weights(CONFIG) == {"kind": "scratch"}
    described = describe_initial_weights(_from_package(tmp_path, "c" * 64))
    expected = {"kind": "package", "name": CARD.name, "version": CARD.version, "sha256": "c" * 64, "simulated": True}
    assert described == expected
    xception = tmp_path / "xception.h5"
    xception.write_bytes(b"weights")
    described = describe_initial_weights(CONFIG.model_copy(update={"initial_weights": f"imagenet:{xception}"}))
    assert described == {"kind": "imagenet", "sha256": hashlib.sha256(b"weights").hexdigest()}
    with pytest.raises(WeightsError, match="the package diagchd holds no weights"):
        describe_initial_weights(CONFIG.model_copy(update={"initial_weights": "diagchd"}))
