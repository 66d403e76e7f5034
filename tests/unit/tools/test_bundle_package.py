"""A trained package takes the place of the bundled one only if it can, and its weights then are the trained ones."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.errors import ConfigError, WeightsError
from diagchd_batch.runs.models import check_model
from tests.unit.model.packages.made_package import CHECKPOINT, make_package
from tools import bundle_package
from tools.bundle_package import bundle

JOB = "configs/bundled-weights.yaml"
SUMMARY = {
    "folds": "one division into training and validation; nothing was held out",
    "recipe": {"preset": "quick"},
    "subjects": 6123,
    "positives": 3000,
    "region": "whole",
    "grid": [128, 160],
    "versions": {"keras": "3"},
    "simulated": True,
}
DATA = {"description": "SIMULATED images", "sha256": "d" * 64, "simulated": True, "repeat_with": "train"}
TRAINED = {"name": "diagchd-compact", "version": "9.9.9", "training": SUMMARY, "training_data": DATA}
NETWORK = json.loads(bundled_path("configs/models/diagchd-compact/card.json").read_text(encoding="utf-8"))[
    "architecture"
]


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Return a copy of the bundled packages."""
    shutil.copytree(str(bundled_path("configs/models")), tmp_path / "models")
    return tmp_path / "models"


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": None}, "does not say how it was trained"),
        ({"training": SUMMARY | {"simulated": False}}, "may remember patients"),
        ({"version": "1.0.0"}, "there was a version 1.0.0 already"),
        ({"architecture": NETWORK | {"width_factor": 0.5}}, "another one than that of the bundled card"),
    ],
)
def test_a_package_that_cannot_be_bundled_is_refused_and_changes_nothing(
    models: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    before = contents(models)
    package = make_package(tmp_path / "package", **TRAINED | changes)
    with pytest.raises(ConfigError, match=message):
        bundle(str(package), JOB, models)
    assert contents(models) == before


def test_weights_that_are_not_those_of_their_card_are_refused(models: Path, tmp_path: Path) -> None:
    before = contents(models)
    package = make_package(tmp_path / "package", **TRAINED)
    (package / CHECKPOINT).write_bytes(b"other weights")
    with pytest.raises(WeightsError, match="are not those of its card"):
        bundle(str(package), JOB, models)
    assert contents(models) == before


def test_decisions_are_bundled_unless_the_training_could_take_none(
    models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_package, "save_as_float16", lambda card, source, path: shutil.copyfile(source, path))
    package = make_package(tmp_path / "package", **TRAINED)
    (package / "calibration.json").write_text('{"method": "platt"}')
    (package / "operating_points.json").write_text('{"points": [{"name": "Youden"}]}')
    directory = bundle(str(package), JOB, models)
    for name in ("calibration.json", "operating_points.json"):
        assert (directory / name).read_bytes() == (package / name).read_bytes()

    (package / "calibration.json").unlink()
    (package / "operating_points.json").write_text('{"points": []}')  # nothing was held out
    card = json.loads((package / "card.json").read_text(encoding="utf-8")) | {"version": "9.9.10"}
    (package / "card.json").write_text(json.dumps(card), encoding="utf-8")
    bundle(str(package), JOB, models)
    assert not (directory / "calibration.json").exists()
    assert not (directory / "operating_points.json").exists()


@pytest.mark.slow
def test_the_bundled_package_has_the_trained_weights_in_half_the_bytes_and_keeps_its_texts(
    models: Path, tmp_path: Path
) -> None:
    package = make_package(tmp_path / "package", **TRAINED)
    trained = _as_float32(package / CHECKPOINT)
    card = json.loads((package / "card.json").read_text(encoding="utf-8"))
    card["weights"][0] |= {"sha256": _sha256(package / CHECKPOINT), "size_bytes": (package / CHECKPOINT).stat().st_size}
    (package / "card.json").write_text(json.dumps(card | {"intended_use": "TO BE FILLED IN"}), encoding="utf-8")
    before = json.loads((models / "diagchd-compact/card.json").read_text(encoding="utf-8"))

    directory = bundle(str(package), JOB, models)

    after = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"version", "changelog", "weights", "training_data"}
    assert after["changelog"].keys() == {*before["changelog"], "9.9.9"}
    assert "6123 subjects" in after["training_data"]["description"]
    assert JOB in after["training_data"]["repeat_with"]
    with h5py.File(directory / CHECKPOINT) as file:
        stored: dict[str, np.ndarray] = {}
        file.visititems(lambda name, item: stored.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
    assert stored.keys() == trained.keys()
    assert all(values.dtype == np.float16 for values in stored.values())
    assert all((stored[name] == trained[name].astype(np.float16)).all() for name in trained)
    assert (directory / CHECKPOINT).stat().st_size < 8_000_000
    assert not (directory / "evaluation.json").exists()  # it belonged to the earlier weights
    assert not [check.problem for check in check_model(str(directory)) if check.problem]


def _as_float32(path: Path) -> dict[str, np.ndarray]:
    """Change a checkpoint's arrays a little, keep them as float32, and return them by their names."""
    arrays: dict[str, np.ndarray] = {}
    with h5py.File(path, "r+") as file:
        file.visititems(lambda name, item: arrays.update({name: item[()]}) if isinstance(item, h5py.Dataset) else None)
        for name in arrays:
            arrays[name] = arrays[name].astype(np.float32) * np.float32(1.001)
            del file[name]
            file.create_dataset(name, data=arrays[name], track_times=False)
    return arrays


def _sha256(path: Path) -> str:

    return hashlib.sha256(path.read_bytes()).hexdigest()
