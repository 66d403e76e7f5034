"""A package's view check is fitted, written, read, compared with its digest, and used for what it belongs to."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.errors import ConfigError, InputError, RunFault
from diagchd_batch.model import resolve_model
from diagchd_batch.model.spec import load_view_check
from diagchd_batch.model.view_check import FILE, ViewCheck, fit_view_check, parse_view_check, view_vectors
from diagchd_batch.scoring.driver.run_identity.identity import Identity
from tests.unit.model.packages.made_package import make_package

CHANNELS, SHAPES = 6, 6


def views(n: int, seed: int = 0) -> np.ndarray:
    """Return correlated vectors of pictures that look alike."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(99).normal(size=(CHANNELS + SHAPES, CHANNELS + SHAPES))
    return generator.normal(size=(n, CHANNELS + SHAPES)) @ mixing


@pytest.fixture(scope="module")
def check() -> ViewCheck:
    return fit_view_check([views(400)], [np.arange(400) // 2], 0.05)


def test_few_true_views_are_lost_and_distant_pictures_are_not_evaluable(check: ViewCheck) -> None:
    fresh = check.score(views(2000, seed=1)[:, None])
    assert fresh.dtype == np.float32
    assert 0.02 < np.mean(fresh < 0.5) < 0.09
    assert (check.score(20 * views(50, seed=2)[:, None]) < 0.5).all()


def test_a_file_gives_the_same_scores_as_the_check_that_it_was_written_from(check: ViewCheck) -> None:
    vectors = views(20, seed=3)[:, None]
    again = parse_view_check(check.to_json(), "mine")
    assert again.score(vectors).tobytes() == check.score(vectors).tobytes()


def test_the_file_holds_means_and_covariances_and_nothing_of_a_picture(check: ViewCheck) -> None:
    content = json.loads(check.to_json())
    assert set(content) == {"vector", "threshold", "max_lost_fraction", "members"}
    assert set(content["members"][0]) == {"mean", "covariance"}
    n = CHANNELS + SHAPES
    assert (len(content["members"][0]["mean"]), len(content["members"][0]["covariance"])) == (n, n * (n + 1) // 2)


def test_a_value_that_is_no_number_is_not_evaluable(check: ViewCheck) -> None:
    vectors = views(2, seed=4)[:, None]
    vectors[0, 0, 3] = np.nan
    assert check.score(vectors)[0] == 0


def test_of_several_members_the_mean_squared_distance_counts() -> None:
    both = fit_view_check([views(300), views(300, seed=5)], [np.arange(300)] * 2, 0.05)
    vectors = np.stack([views(9, seed=6), views(9, seed=7)], axis=1)
    first, second = (both.of_members([member]).distance(vectors[:, [member]]) for member in (0, 1))
    np.testing.assert_allclose(both.distance(vectors), np.sqrt((first**2 + second**2) / 2))


def test_too_few_pictures_are_refused_because_they_would_show_through() -> None:
    with pytest.raises(InputError, match=r"needs 100 pictures of each fold.*leave the view check out"):
        fit_view_check([views(80)], [np.arange(80)], 0.05)


def test_vectors_describe_the_mask_and_survive_an_empty_one() -> None:
    masks = np.zeros((2, 40, 40), np.uint8)
    masks[1, 10:30, 10:30] = 2
    masks[1, 18:20, 10:30] = 1
    vectors = view_vectors(np.ones((2, 3, 4), np.float32), masks, np.array([0.0, 0.2], np.float32))
    assert vectors.shape == (2, 3, 4 + SHAPES)
    assert np.isfinite(vectors).all()
    share, axes = vectors[1, 0, 5], vectors[1, 0, 8]
    assert share == pytest.approx(np.log(360 / 1600 + 1e-3))
    assert axes == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "damage",
    [b"{", b"{}", b'{"vector":"other/1","threshold":1,"max_lost_fraction":0.05,"members":[]}'],
)
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes) -> None:
    package = make_package(tmp_path / "mine")
    (package / FILE).write_bytes(damage)
    with pytest.raises(ConfigError, match=r"view_check\.json of model .*mine is damaged: .*or remove it"):
        resolve_model(str(package), "bundled", "float32")


def test_a_covariance_that_is_none_is_refused(check: ViewCheck) -> None:
    content = json.loads(check.to_json())
    content["members"][0]["covariance"][0] = -1.0
    with pytest.raises(ConfigError, match="not positive definite"):
        parse_view_check(json.dumps(content).encode(), "mine")


def test_the_check_belongs_to_the_packages_own_weights_alone(tmp_path: Path, check: ViewCheck) -> None:
    package = make_package(tmp_path / "mine")
    (package / FILE).write_bytes(check.to_json())
    spec = resolve_model(str(package), "bundled", "float32")
    assert spec.view_check_digest
    assert spec.gives_view_features
    loaded = load_view_check(spec)
    assert loaded is not None
    assert loaded.file == check.file
    other = resolve_model(str(package), "seed:0", "float32")
    assert load_view_check(other) is None
    assert not other.gives_view_features
    with pytest.raises(ConfigError, match="belongs to another package"):
        loaded.score(np.zeros((1, 1, 5)))


def test_a_run_keeps_the_check_that_it_began_with(tmp_path: Path, check: ViewCheck) -> None:
    package = make_package(tmp_path / "mine")
    began_without = resolve_model(str(package), "bundled", "float32")
    (package / FILE).write_bytes(check.to_json())
    now = resolve_model(str(package), "bundled", "float32")
    fields = {"fields": {}, "input_digest": "", "input_fields": {}, "batch_size": 1, "intra_op_threads": 1}
    identity = Identity.model_validate({"run_id": "r", "fingerprint": "f", "chd_threshold": 0.5, **fields})
    assert identity.model_of_run(now) == began_without
    with_check = identity.model_copy(update={"view_check_digest": now.view_check_digest})
    assert with_check.model_of_run(now) == now
    (package / FILE).write_bytes(check.to_json() + b" ")
    with pytest.raises(RunFault, match="is not the one that this run began with"):
        load_view_check(now)
    (package / FILE).unlink()
    with pytest.raises(RunFault, match="is not the one that this run began with"):
        load_view_check(replace(now))
