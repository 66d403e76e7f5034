"""A package with the weights of several folds scores with all of them, or with one."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from diagchd_batch.config.job_file import InputConfig, LimitsConfig
from diagchd_batch.errors import ConfigError, WeightsError
from diagchd_batch.model import Prediction, Predictor, choose_batch_size, resolve_model
from diagchd_batch.model.batch_size import memory_for_batch
from diagchd_batch.model.clinical_warning import trained_on_phantoms
from diagchd_batch.model.runtimes.tensorflow.outputs import output_fields, score_function
from diagchd_batch.model.spec import ModelSpec, ensemble_digest
from diagchd_batch.scoring.driver.run_identity.identity import fingerprint_fields
from tests.unit.model.packages.made_package import make_ensemble, make_package

SHAPE = (2, 8, 10)


class MadeMember:
    """Gives random logits, probabilities and pooled features, whatever the images are."""

    def __init__(self, seed: int) -> None:
        generator = np.random.default_rng(seed)
        self.logits = generator.normal(size=(*SHAPE, 3)).astype(np.float32)
        self.probability = generator.random(SHAPE[0])
        self.pooled = generator.normal(size=(SHAPE[0], 5))

    def __call__(self, images: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return tf.constant(self.logits), tf.constant(self.probability), tf.constant(self.pooled)

    @property
    def label_maps(self) -> np.ndarray:
        return self.logits.argmax(axis=-1)

    @property
    def softmax(self) -> np.ndarray:
        return np.asarray(tf.nn.softmax(self.logits.astype(np.float64)))


def predicted(members: list[Any], *, view_features: bool = False, reference: np.ndarray | None = None) -> Prediction:
    arguments = [tf.zeros((*SHAPE, 3), tf.uint8)] + ([] if reference is None else [tf.constant(reference)])
    outputs = score_function(members, view_features=view_features)(*arguments)
    fields = output_fields(len(members), view_features=view_features)
    return Prediction(**{name: output.numpy() for name, output in zip(fields, outputs, strict=False)})


@pytest.fixture(scope="module")
def members() -> list[MadeMember]:
    return [MadeMember(seed) for seed in range(3)]


def test_the_probability_is_the_mean_of_the_members_and_has_its_standard_deviation(members: list[MadeMember]) -> None:
    prediction = predicted(members)
    probabilities = np.stack([member.probability for member in members])
    np.testing.assert_allclose(prediction.chd_probability_b_f32, probabilities.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(prediction.chd_probability_sd_b_f32, probabilities.std(axis=0), rtol=1e-6)


def test_the_mask_is_the_vote_of_the_members_and_ties_go_to_the_greatest_mean_probability(
    members: list[MadeMember],
) -> None:
    for chosen in (members, members[:2]):
        votes = np.stack([np.eye(3)[member.label_maps] for member in chosen]).sum(axis=0)
        mean = np.mean([member.softmax for member in chosen], axis=0)
        most = votes == votes.max(axis=-1, keepdims=True)
        assert (most.sum(axis=-1) > 1).any()  # there are ties
        expected = np.where(most, mean, -1).argmax(axis=-1)
        np.testing.assert_array_equal(predicted(chosen).label_maps_bhw_u8, expected)


def test_the_disagreement_is_the_share_of_the_hearts_pixels_on_which_members_differ(members: list[MadeMember]) -> None:
    maps = np.stack([member.label_maps for member in members])
    differs, foreground = (maps != maps[0]).any(axis=0), (maps > 0).any(axis=0)
    expected = differs.sum(axis=(1, 2)) / foreground.sum(axis=(1, 2))
    np.testing.assert_allclose(predicted(members).mask_disagreement_b_f32, expected, rtol=1e-6)
    empty = MadeMember(0)
    empty.logits[..., 0] = 100
    np.testing.assert_array_equal(predicted([empty, empty]).mask_disagreement_b_f32, [0, 0])


def test_one_member_gives_its_own_results_and_no_disagreement(members: list[MadeMember]) -> None:
    prediction = predicted(members[:1])
    np.testing.assert_array_equal(prediction.label_maps_bhw_u8, members[0].label_maps)
    np.testing.assert_array_equal(prediction.chd_probability_b_f32, members[0].probability.astype(np.float32))
    assert prediction.chd_probability_sd_b_f32 is None
    assert prediction.mask_disagreement_b_f32 is None


def test_losses_are_those_of_the_mean_probabilities(members: list[MadeMember]) -> None:
    reference = np.random.default_rng(9).integers(0, 3, SHAPE, dtype=np.uint8)
    prediction = predicted(members, reference=reference)
    mean, targets = np.mean([member.softmax for member in members], axis=0), np.eye(3)[reference]
    cross_entropy = -np.log((mean * targets).sum(axis=-1)).mean(axis=(1, 2))
    dice = prediction.soft_dice_b_f32
    assert dice is not None
    np.testing.assert_allclose(prediction.seg_loss_b_f32, cross_entropy + 1 - dice, rtol=1e-5)


def test_the_view_features_are_those_of_every_member(members: list[MadeMember]) -> None:
    prediction = predicted(members, view_features=True)
    pooled = np.stack([member.pooled for member in members], axis=1)
    np.testing.assert_allclose(prediction.pooled_features_bmd_f32, pooled, rtol=1e-6)
    entropy = [-(member.softmax * np.log(member.softmax)).sum(axis=-1).mean(axis=(1, 2)) for member in members]
    np.testing.assert_allclose(prediction.entropy_b_f32, np.mean(entropy, axis=0), rtol=1e-5)
    assert predicted(members).pooled_features_bmd_f32 is None


def two_members(directory: Path) -> Path:
    """Write a package whose two members have the bundled weights."""
    package = make_package(directory)
    card = json.loads((package / "card.json").read_text(encoding="utf-8"))
    (package / "weights" / "fold-1.h5").write_bytes((package / "weights" / "fold-0.h5").read_bytes())
    card["weights"].append(card["weights"][0] | {"file": "weights/fold-1.h5"})
    (package / "card.json").write_text(json.dumps(card), encoding="utf-8")
    return package


def test_the_fingerprint_holds_the_digests_of_all_members(tmp_path: Path) -> None:
    package = two_members(tmp_path / "mine")
    spec = resolve_model(str(package), "bundled", "float32")
    digest = hashlib.sha256((package / "weights" / "fold-0.h5").read_bytes()).hexdigest()
    config, limits = InputConfig(uri="archive", layout="tree"), LimitsConfig()
    fields = fingerprint_fields(spec, config, limits)
    assert fields["member_digests"] == [digest, digest]
    assert fields["weights_digest"] == hashlib.sha256(f"{digest}\n{digest}".encode()).hexdigest()
    one = fingerprint_fields(resolve_model(str(package), "bundled", "float32", 1), config, limits)
    assert one["weights_digest"] == digest
    assert "member_digests" not in one


def test_batch_and_memory_count_the_members() -> None:
    one = resolve_model("diagchd-compact", "seed:0", "float32")
    three = replace(one, members=(0, 1, 2))
    assert memory_for_batch(three, 4) == 3 * memory_for_batch(one, 4)
    memory_bytes = memory_for_batch(one, 6)
    assert choose_batch_size(one, memory_bytes) == 6
    assert choose_batch_size(three, memory_bytes) == 2


def test_the_weights_of_an_ensemble_are_those_of_its_card() -> None:
    digests = ["1" * 64, "2" * 64]
    card = {"weights": [{"sha256": digest} for digest in digests], "training_data": {"simulated": True}}
    assert trained_on_phantoms(card, ensemble_digest(digests))
    assert trained_on_phantoms(card, digests[1])
    assert not trained_on_phantoms(card, "0" * 64)


@pytest.mark.parametrize("member", [1, 7])
def test_a_member_that_the_package_lacks_is_refused(tmp_path: Path, member: int) -> None:
    directory = make_package(tmp_path / "mine")
    with pytest.raises(ConfigError, match=rf"model\.members is {member}, and model .*mine has the weights of 1 member"):
        resolve_model(str(directory), "bundled", "float32", member)


def test_a_member_and_other_weights_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match=r"model\.members is 0, but model\.weights names weights that are not"):
        resolve_model("diagchd", "seed:0", "float32", 0)


def test_a_damaged_member_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    package = two_members(tmp_path / "mine")
    assert resolve_model(str(package), "bundled", "float32").members == (0, 1)
    (package / "weights" / "fold-1.h5").write_bytes(b"another file")
    with pytest.raises(WeightsError, match=r"the weights weights/fold-1\.h5 of model"):
        resolve_model(str(package), "bundled", "float32")


@pytest.mark.slow
def test_the_compiled_ensemble_combines_what_its_members_give_alone(tmp_path: Path) -> None:
    package = make_ensemble(tmp_path / "folds", 2)
    spec: ModelSpec = replace(resolve_model(str(package), "bundled", "float32"), height=64, width=96)
    brightness = np.linspace(0.1, 1.0, 8)[:, np.newaxis, np.newaxis, np.newaxis]  # so that not all scores are near 1
    coarse = np.random.default_rng(0).integers(0, 256, (8, 4, 6, 3)) * brightness
    images = coarse.astype(np.uint8).repeat(16, 1).repeat(16, 2)
    together = Predictor(spec, 8).predict(images)
    alone = [Predictor(replace(spec, members=(member,)), 8).predict(images) for member in (0, 1)]
    probabilities = np.stack([each.chd_probability_b_f32 for each in alone])
    assert np.ptp(probabilities, axis=0).max() > 0.001  # the members differ
    np.testing.assert_allclose(together.chd_probability_b_f32, probabilities.mean(axis=0), atol=2e-6)
    first, second = (each.label_maps_bhw_u8 for each in alone)
    chosen = together.label_maps_bhw_u8
    assert np.mean((chosen == first) | (chosen == second)) > 0.9999
