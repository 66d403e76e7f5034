"""A model package in a directory, made from the bundled compact model."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from diagchd_batch.bundled_files import bundled_path

CHECKPOINT = "weights/fold-0.h5"


def make_package(directory: Path, **changes: Any) -> Path:
    """Write a package with one fold to `directory`; `changes` replace fields of its card."""
    checkpoint = directory / CHECKPOINT
    checkpoint.parent.mkdir(parents=True)
    shutil.copyfile(_bundled() / CHECKPOINT, checkpoint)
    _write_card(directory, {"weights": [_described(directory, CHECKPOINT)]} | changes)
    return directory


def make_ensemble(directory: Path, n_members: int = 3) -> Path:
    """Write a package with several folds: the bundled weights, and the same with other random changes for each fold."""
    from diagchd_batch.model import build_network, load_checkpoint, save_checkpoint  # Keras, which loads slowly

    (directory / "weights").mkdir(parents=True)
    network, files = build_network("diagchd-compact"), []
    for member in range(n_members):
        load_checkpoint(network, _bundled() / CHECKPOINT)
        generator = np.random.default_rng(member)
        for variable in network.trainable_variables if member else []:
            values = variable.numpy()
            spread = generator.standard_normal(values.shape).astype(np.float32)
            variable.assign(values + 0.05 * values.std() * spread)
        files.append(f"weights/fold-{member}.h5")
        save_checkpoint(network, directory / files[-1], "float16")
    _write_card(directory, {"weights": [_described(directory, file) for file in files]})
    return directory


def _bundled() -> Path:
    return Path(bundled_path("configs/models/diagchd-compact"))


def _described(directory: Path, file: str) -> dict[str, Any]:
    data = (directory / file).read_bytes()
    return {"file": file, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}


def _write_card(directory: Path, changes: dict[str, Any]) -> None:
    card = json.loads((_bundled() / "card.json").read_text(encoding="utf-8"))
    (directory / "card.json").write_text(json.dumps(card | {"name": "own-model"} | changes), encoding="utf-8")
