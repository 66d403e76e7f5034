"""Model packages in a directory are found, checked against their card, and refused if they do not fit it."""

import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import ConfigError, RunFault, WeightsError
from diagchd_batch.model import Predictor, bundled_models, load_card, resolve_model
from diagchd_batch.model.clinical_warning import clinical_warning, trained_on_phantoms
from diagchd_batch.model.packages.registry import find_package, package_location
from diagchd_batch.model.spec import refuse_replaced_weights, weights_path
from diagchd_batch.results.run_record import public_config
from tests.unit.model.packages.made_package import CHECKPOINT, make_package


def test_the_bundled_models_are_packages() -> None:
    assert bundled_models() == ["diagchd", "diagchd-compact"]
    for name in bundled_models():
        assert find_package(name).location == name
        assert load_card(name).name == name


def test_a_package_directory_scores_as_the_bundled_model_it_was_made_from(
    tmp_path: Path, bundled_predictor: Predictor
) -> None:
    directory = make_package(tmp_path / "mine")
    spec = resolve_model(str(directory), "bundled", "float32")
    bundled = bundled_predictor.spec
    assert (spec.name, spec.package, spec.weights) == ("own-model", str(directory), "bundled")
    assert spec.weights_digest == bundled.weights_digest
    assert weights_path(spec) == directory / CHECKPOINT
    assert pickle.loads(pickle.dumps(bundled)) == bundled
    size = (bundled_predictor.batch_size, spec.height, spec.width, 3)
    images = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    of_package = Predictor(pickle.loads(pickle.dumps(spec)), bundled_predictor.batch_size)
    one, other = of_package.predict(images), bundled_predictor.predict(images)
    assert one.label_maps_bhw_u8.tobytes() == other.label_maps_bhw_u8.tobytes()
    assert one.chd_probability_b_f32.tobytes() == other.chd_probability_b_f32.tobytes()


def test_a_relative_path_is_taken_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_package(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert package_location("./mine") == str(tmp_path / "mine")
    assert package_location("diagchd") == "diagchd"
    assert resolve_model("./mine", "seed:0", "float32").package == str(tmp_path / "mine")


def test_a_name_without_a_slash_is_bundled_even_if_a_directory_has_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_package(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"there is no model 'mine'.*with a slash in it: \./mine"):
        resolve_model("mine", "bundled", "float32")


@pytest.mark.parametrize(
    ("field", "value"),
    [("height", 1_000_000), ("width", 4097), ("height", 0), ("width_factor", 1000), ("width_factor", 1e308)],
)
def test_a_card_of_a_network_beyond_all_memory_is_refused_at_once(tmp_path: Path, field: str, value: float) -> None:
    directory = make_package(tmp_path / "mine")
    card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    card["architecture"][field] = value
    (directory / "card.json").write_text(json.dumps(card), encoding="utf-8")
    with pytest.raises(ConfigError, match=rf"card of model .*{field}"):
        resolve_model(str(directory), "bundled", "float32")


def _flip_a_byte(directory: Path) -> None:
    data = bytearray((directory / CHECKPOINT).read_bytes())
    data[-1] ^= 1
    (directory / CHECKPOINT).write_bytes(data)


def _remove_the_weights(directory: Path) -> None:
    (directory / CHECKPOINT).unlink()


def _remove_the_card(directory: Path) -> None:
    (directory / "card.json").unlink()


def _cut_the_card(directory: Path) -> None:
    text = (directory / "card.json").read_text(encoding="utf-8")
    (directory / "card.json").write_text(text[:100], encoding="utf-8")


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (_flip_a_byte, WeightsError, r"weights/fold-0\.h5 of model .*mine .* are not those of its card"),
        (_remove_the_weights, WeightsError, "cannot be read: No such file"),
        (_remove_the_card, ConfigError, r"is no model package: its card\.json cannot be read"),
        (_cut_the_card, ConfigError, "the card of model .*mine is damaged"),
    ],
)
def test_a_damaged_package_is_refused(
    tmp_path: Path, spoil: Callable[[Path], Any], error: type[Exception], message: str
) -> None:
    directory = make_package(tmp_path / "mine")
    spoil(directory)
    with pytest.raises(error, match=message):
        resolve_model(str(directory), "bundled", "float32")


SHA256 = "0" * 64


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"preprocessing": "other/1"},
            ConfigError,
            "the preprocessing of model .* is 'other/1', and this version knows",
        ),
        ({"name": "../up"}, ConfigError, "is damaged: name:"),
        ({"weights": None}, WeightsError, "holds no weights.*seed:0"),
        ({"weights": []}, WeightsError, "holds no weights.*seed:0"),
        (
            {"weights": [{"file": f"weights/fold-{n}.h5", "sha256": SHA256, "size_bytes": 1} for n in (0, 1)]},
            WeightsError,
            r"the weights weights/fold-0\.h5 of model .* are not those of its card",
        ),
        ({"weights": {"file": "../other/weights.h5", "sha256": SHA256, "size_bytes": 1}}, ConfigError, "relative path"),
        ({"weights": {"file": "/etc/passwd", "sha256": SHA256, "size_bytes": 1}}, ConfigError, "relative path"),
    ],
)
def test_a_card_that_cannot_be_used_is_refused(
    tmp_path: Path, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    directory = make_package(tmp_path / "mine", **changes)
    with pytest.raises(error, match=message):
        resolve_model(str(directory), "bundled", "float32")


def test_an_unknown_architecture_is_refused(tmp_path: Path) -> None:
    architecture = load_card("diagchd-compact").architecture.model_dump() | {"identifier": "diagchd/2"}
    directory = make_package(tmp_path / "mine", architecture=architecture)
    with pytest.raises(ConfigError, match=r"the architecture of model .* is 'diagchd/2'.*update the program"):
        resolve_model(str(directory), "seed:0", "float32")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("parameters", 1, r"states 1 parameters, .* has 3,204,699; .*card\.json"),
        ("parameters", 3_204_700, r"states 3,204,700 parameters, .* has 3,204,699; .*card\.json"),
        ("width_factor", 0.3, r"states 3,204,699 parameters, .* has [\d,]+; .*card\.json"),
        ("height", 127, r"multiples of 32, not 127 x 160"),
        ("width", 16, r"multiples of 32, not 128 x 16"),
    ],
)
def test_an_architecture_that_contradicts_itself_is_refused(
    tmp_path: Path, field: str, value: float, message: str
) -> None:
    """`test_network` compares the number of parameters with that of the network in Keras."""
    architecture = load_card("diagchd-compact").architecture.model_dump() | {field: value}
    directory = make_package(tmp_path / "mine", architecture=architecture)
    with pytest.raises(ConfigError, match=message):
        resolve_model(str(directory), "bundled", "float32")


def test_weights_that_are_no_checkpoint_are_refused_although_the_card_describes_them(tmp_path: Path) -> None:
    data = b"PK\x03\x04 and so on"
    weights = {"file": CHECKPOINT, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
    directory = make_package(tmp_path / "mine", weights=weights)
    (directory / CHECKPOINT).write_bytes(data)
    with pytest.raises(WeightsError, match="Keras 3"):
        resolve_model(str(directory), "bundled", "float32")


def test_a_package_replaced_since_the_run_began_is_refused(tmp_path: Path) -> None:
    directory = make_package(tmp_path / "mine")
    spec = resolve_model(str(directory), "bundled", "float32")
    refuse_replaced_weights(spec)
    _flip_a_byte(directory)
    with pytest.raises(RunFault, match="are not those that this run began with"):
        refuse_replaced_weights(spec)


def test_a_checkpoint_of_the_user_s_takes_the_place_of_the_package_s(tmp_path: Path) -> None:
    directory = make_package(tmp_path / "mine", weights=None)
    spec = resolve_model(str(directory), str(directory / CHECKPOINT), "float32")
    assert spec.weights == str(directory / CHECKPOINT)


def test_a_package_trained_on_phantoms_is_cautioned_about(tmp_path: Path) -> None:
    directory = make_package(tmp_path / "mine")
    assert "trained on SIMULATED phantoms" in clinical_warning(str(directory), "bundled", simulated_images=False)
    card = json.loads((directory / "card.json").read_text(encoding="utf-8"))
    assert trained_on_phantoms(card, card["weights"][0]["sha256"])
    assert not trained_on_phantoms(card, SHA256)


@pytest.mark.parametrize("name", ["/archive/models/anna-smith", "s3://hospital-models/anna-smith"])
def test_the_location_of_a_package_stays_out_of_the_public_record(name: str) -> None:
    def job(model: str) -> JobConfig:
        blocks = {"input": {"uri": "in", "layout": "tree"}, "output": {"uri": "out"}, "model": {"name": model}}
        return JobConfig.model_validate(blocks)

    assert "anna-smith" not in json.dumps(public_config(job(name)))
    assert public_config(job("diagchd"))["model"]["name"] == "diagchd"
