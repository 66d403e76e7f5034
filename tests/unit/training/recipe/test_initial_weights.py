"""Weights that a training cannot start from are refused before anything is read or any worker starts."""

from pathlib import Path

import pytest

from diagchd_batch.config.training_block import TrainingConfig
from diagchd_batch.errors import WeightsError
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.training.recipe.initial_weights import check_initial_weights


def _training(initial_weights: str) -> TrainingConfig:
    return TrainingConfig.model_validate({"package_uri": "/packages/mine", "initial_weights": initial_weights})


def test_weights_that_fit_and_random_ones_are_accepted() -> None:
    check_initial_weights(_training("diagchd-compact"), load_card("diagchd-compact"))
    check_initial_weights(_training("scratch"), load_card("diagchd"))


def test_a_package_of_another_network_is_named() -> None:
    with pytest.raises(WeightsError, match=r"training\.initial_weights: .* not fit model diagchd: .*diagchd-compact"):
        check_initial_weights(_training("diagchd-compact"), load_card("diagchd"))


def test_an_encoder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"training\.initial_weights: .*xception\.h5 is no readable HDF5 file"):
        check_initial_weights(_training(f"imagenet:{tmp_path}/xception.h5"), load_card("diagchd"))
