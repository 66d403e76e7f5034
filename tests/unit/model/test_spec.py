"""Cards and specs, which a driver resolves without importing Keras."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.errors import ConfigError, WeightsError
from diagchd_batch.model.batch_size import choose_batch_size
from diagchd_batch.model.card import parse_card
from diagchd_batch.model.packages import bundled
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.model.spec import resolve_model, weights_path
from tests.unit.model.packages.made_package import make_package

MODELS = ("diagchd", "diagchd-compact")


@pytest.mark.parametrize("name", MODELS)
def test_cards_agree_with_themselves(name: str) -> None:
    card = load_card(name)
    grid = [card.architecture.height, card.architecture.width]
    assert card.name == name
    assert card.inputs["image"].shape == ["batch", *grid, 3]
    assert card.outputs["label_map"].shape == ["batch", *grid]
    assert card.version in card.changelog


def test_the_compact_card_describes_the_bundled_file_and_says_what_it_is_not() -> None:
    card = load_card("diagchd-compact")
    path = bundled_path(f"configs/models/diagchd-compact/{card.weights.file}")
    assert path.stat().st_size == card.weights.size_bytes < 8_000_000
    assert hashlib.sha256(path.read_bytes()).hexdigest() == card.weights.sha256
    assert card.training_data.simulated
    assert "SIMULATED" in card.training_data.description
    assert "no clinical meaning" in card.intended_use


def test_the_gate_was_passed_by_the_bundled_weights() -> None:
    evaluation = json.loads(bundled_path("configs/models/diagchd-compact/evaluation.json").read_text(encoding="utf-8"))
    assert evaluation["weights_sha256"] == load_card("diagchd-compact").weights.sha256
    assert evaluation["cohort"]["studies"] >= 1000
    assert evaluation["cohort"]["split"] == "gate"
    assert evaluation["pooled_mean_iou_3_classes"]["value"] >= 0.80
    assert 0.85 <= evaluation["study_auc_of_mean_probability"]["value"] <= 0.99


def test_bundled_weights_resolve() -> None:
    spec = resolve_model("diagchd-compact", "bundled", "bfloat16")
    card = load_card("diagchd-compact")
    assert (spec.height, spec.width) == (card.architecture.height, card.architecture.width)
    assert spec.weights_digest == card.weights.sha256
    assert spec.weights == "bundled"
    assert weights_path(spec).name == "fold-0.h5"
    assert (spec.precision, spec.chd_threshold) == ("bfloat16", 0.5)


def test_a_path_gives_the_file_s_digest(tmp_path: Path) -> None:
    path = bundled_path("configs/models/diagchd-compact/weights/fold-0.h5")
    mine = tmp_path / "mine.h5"
    mine.write_bytes(path.read_bytes())
    spec = resolve_model("diagchd-compact", str(mine), "float32")
    assert spec.weights_digest == load_card("diagchd-compact").weights.sha256
    assert spec.weights == str(mine)


def test_a_path_may_begin_with_the_home_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell expands `~` in a job file or after `--set model.weights=`."""
    shutil.copyfile(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5"), tmp_path / "mine.h5")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve_model("diagchd-compact", "~/mine.h5", "float32").weights == str(tmp_path / "mine.h5")


def test_weights_of_another_model_are_refused_with_the_model_that_they_fit(tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    shutil.copyfile(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5"), path)
    with pytest.raises(WeightsError) as refused:
        resolve_model("diagchd", str(path), "float32")
    assert str(refused.value) == (
        f"model.weights: checkpoint {path} does not fit model diagchd: it holds the weights of diagchd-compact; set "
        "model.name to diagchd-compact, or give a checkpoint of diagchd"
    )


def test_weights_of_an_unknown_network_are_refused_with_the_first_difference(tmp_path: Path) -> None:
    path = tmp_path / "mine.h5"
    shutil.copyfile(bundled_path("configs/models/diagchd-compact/weights/fold-0.h5"), path)
    with h5py.File(path, "a") as file:
        del file["head_conv/bias"]
        file["head_conv/bias"] = np.zeros(4, np.float32)
    with pytest.raises(WeightsError, match=r"head_conv/bias has shape \(4,\), the network needs \(3,\); .*model\.name"):
        resolve_model("diagchd-compact", str(path), "float32")


def test_weights_of_a_package_must_fit_its_card(tmp_path: Path) -> None:
    package = make_package(tmp_path / "mine")
    card = json.loads((package / "card.json").read_text())
    card["architecture"] |= {"width_factor": 0.5, "parameters": 10_651_748}
    (package / "card.json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match=r"weights/fold-0\.h5 of model .*mine: checkpoint .* does not fit"):
        resolve_model(str(package), "bundled", "float32")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"PK\x03\x04 and so on", "Keras 3"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"\x89HDF\r\n\x1a\n cut short", "cut short"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused_before_any_work(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "mine.h5").write_bytes(content)
    with pytest.raises(WeightsError, match=f"model.weights: .*mine.h5 is no readable HDF5 file: .*{message}.*give a"):
        resolve_model("diagchd", str(tmp_path / "mine.h5"), "float32")


def test_hdf5_of_something_else_is_refused_too(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "mine.h5", "w") as file:
        file["values"] = [1.0]
    with pytest.raises(WeightsError, match="neither a Keras 2 checkpoint nor one of ours"):
        resolve_model("diagchd", str(tmp_path / "mine.h5"), "float32")


def test_a_seed_needs_no_file() -> None:
    spec = resolve_model("diagchd", "seed:12", "float32")
    assert spec.weights == "seed:12"
    assert spec.weights_digest == hashlib.sha256(b"seed:12").hexdigest()


@pytest.mark.parametrize(
    ("name", "weights", "precision", "error", "message"),
    [
        ("diagchd-compcat", "bundled", "float32", ConfigError, "choose one of diagchd, diagchd-compact"),
        ("../models", "bundled", "float32", ConfigError, "choose one of"),
        ("diagchd", "seed:1", "float16", ConfigError, "choose one of float32, bfloat16"),
        ("diagchd", "bundled", "float32", WeightsError, "not publicly reachable.*seed:0"),
        ("diagchd", "seed:x", "float32", ConfigError, "such as seed:0"),
        ("diagchd", "seed:1234567", "float32", ConfigError, "such as seed:0"),
        ("diagchd", "no/such/file.h5", "float32", WeightsError, "there is no file no/such/file.h5"),
        ("diagchd", ".", "float32", WeightsError, "there is no file"),
        ("diagchd", "s3://user:password@bucket/x", "float32", WeightsError, "there is no file at this address; give"),
        ("diagchd", "s3://models/mine.h5", "float32", WeightsError, "on a disk, not on S3"),
    ],
)
def test_what_cannot_be_resolved_is_said(
    name: str, weights: str, precision: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        resolve_model(name, weights, precision)


def test_bundled_weights_that_are_not_the_card_s_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(bundled_path("configs/models/diagchd-compact"), tmp_path / "configs/models/diagchd-compact")
    pointer = b"version https://git-lfs.github.com/spec/v1"
    (tmp_path / "configs/models/diagchd-compact/weights/fold-0.h5").write_bytes(pointer)
    monkeypatch.setattr(bundled, "bundled_path", lambda relative: tmp_path / relative)
    with pytest.raises(WeightsError, match="are not those of its card"):
        resolve_model("diagchd-compact", "bundled", "float32")


def test_a_damaged_card_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "configs/models/broken"
    folder.mkdir(parents=True)
    (folder / "card.json").write_text('{"name": "broken"}')
    monkeypatch.setattr(bundled, "bundled_path", lambda relative: tmp_path / relative)
    with pytest.raises(ConfigError, match="card of model broken is damaged"):
        load_card("broken")


@pytest.mark.parametrize(
    "content",
    [
        "[" * 100_000,
        '{"name": ' + "9" * 100_000 + "}",
        "{" + ", ".join(f'"{n}{"k" * 200}": 1' for n in range(1_000)) + "}",
    ],
    ids=["brackets", "a number", "many unknown keys"],
)
def test_a_hostile_card_ends_in_a_short_message(content: str) -> None:
    with pytest.raises(ConfigError, match="card of model broken is damaged") as caught:
        parse_card(content.encode(), "broken")
    assert len(str(caught.value)) < 2_000


def test_neither_keras_nor_tensorflow_is_loaded() -> None:
    code = (
        "import sys; from diagchd_batch.model import resolve_model, bundled_models, choose_batch_size;"
        "import diagchd_batch.model.predictor, diagchd_batch.model.packages.s3;"
        "resolve_model('diagchd', 'seed:0', 'float32');"
        "sys.exit(bool({'keras', 'tensorflow', 'h5py'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_batch_sizes_fit_memory() -> None:
    full, compact = (resolve_model(name, "seed:0", "float32") for name in MODELS)
    assert choose_batch_size(full) == 2
    assert choose_batch_size(compact) == 16
    assert choose_batch_size(full, device="gpu") == 16
    assert choose_batch_size(full, memory_bytes=3 * 2**30) == 1
    assert choose_batch_size(full, memory_bytes=0) == 1
