"""The pure functions of the recipe: order of batches, learning rate, best epoch, figures of validation."""

import numpy as np
import pytest

from diagchd_batch.config.training_block import StageConfig
from diagchd_batch.training.recipe.batch_order import epoch_batches, picture_generator
from diagchd_batch.training.recipe.early_stopping import BestEpoch
from diagchd_batch.training.recipe.learning_rate import learning_rate
from diagchd_batch.training.recipe.validation_figures import validation_figures

ROWS = np.arange(100, 123)


def _stage(**changes: object) -> StageConfig:
    return StageConfig.model_validate({"name": "some", "epochs": 10, "learning_rate": 0.1} | changes)


def test_every_image_comes_at_most_once_in_an_epoch_and_batches_are_full() -> None:
    batches = epoch_batches(ROWS, None, 4, 1, 0, 0)
    assert batches.shape == (5, 4)
    assert len(set(batches.ravel())) == 20
    assert set(batches.ravel()) <= set(ROWS)
    assert epoch_batches(ROWS, None, 64, 1, 0, 0).shape == (1, 23)


def test_batches_depend_on_seed_stage_and_epoch_alone() -> None:
    places = [(1, 0, 0), (2, 0, 0), (1, 1, 0), (1, 0, 1)]
    drawn = [epoch_batches(ROWS, None, 4, *place).tobytes() for place in places]
    assert len(set(drawn)) == 4
    assert drawn == [epoch_batches(ROWS, None, 4, *place).tobytes() for place in places]


def test_subjects_are_drawn_in_equal_parts() -> None:
    subjects = np.array([0] * 20 + [1, 1, 2])
    drawn = epoch_batches(ROWS, subjects, 1, 1, 0, 0).ravel()
    counts = np.bincount(subjects[drawn - 100])
    assert counts.max() - counts.min() <= 1


def test_pictures_have_random_numbers_of_their_own_in_each_epoch() -> None:
    drawn = {picture_generator(*place).integers(1 << 60) for place in [(1, 0, 0, 0), (1, 0, 0, 1), (1, 0, 1, 0)]}
    assert len(drawn) == 3
    assert picture_generator(1, 0, 0, 0).integers(1 << 60) in drawn


def test_no_rows_is_an_error() -> None:
    with pytest.raises(ValueError, match="no rows"):
        epoch_batches(ROWS[:0], None, 4, 1, 0, 0)


def test_the_learning_rate_rises_and_falls_along_a_cosine() -> None:
    stage = _stage(schedule="cosine", warmup_fraction=0.1)
    rates = [learning_rate(stage, step, 100, 1.0) for step in range(100)]
    assert rates[:10] == pytest.approx(np.arange(1, 11) / 100)
    assert rates[10] == 0.1
    assert rates[55] == pytest.approx(0.05)
    assert rates[99] < 1e-4
    assert rates[10:] == sorted(rates[10:], reverse=True)


def test_constant_and_plateau_rates() -> None:
    assert learning_rate(_stage(), 50, 100, 0.1) == 0.1
    assert learning_rate(_stage(schedule="plateau"), 50, 100, 0.1) == pytest.approx(0.01)


@pytest.mark.parametrize(("monitor", "values"), [("auc", [0.5, 0.7, 0.6, 0.7]), ("loss", [0.5, 0.3, 0.4, 0.3])])
def test_the_first_of_equally_good_epochs_is_the_best(monitor: str, values: list[float]) -> None:
    stage = _stage(monitor=monitor, patience=3)
    best = BestEpoch()
    for epoch, value in enumerate(values):
        assert not best.ends_stage(stage)
        best = best.after(stage, epoch, value)
    assert (best.epoch, best.value, best.epochs_since) == (1, values[1], 2)
    assert best.after(stage, 4, values[0]).ends_stage(stage)


def test_the_rate_falls_again_and_again_on_a_plateau() -> None:
    stage = _stage(schedule="plateau", plateau_patience=2, plateau_factor=0.5)
    best = BestEpoch().after(stage, 0, 1.0)
    scales = []
    for epoch in range(1, 6):
        best = best.after(stage, epoch, 2.0)
        scales.append(best.plateau_scale)
    assert scales == [1.0, 0.5, 0.5, 0.25, 0.25]
    assert best.after(stage, 6, 0.5).plateau_scale == 0.25


@pytest.mark.parametrize("value", [None, float("nan")])
def test_without_a_figure_the_last_epoch_is_taken(value: float | None) -> None:
    stage = _stage(patience=1)
    best = BestEpoch().after(stage, 0, value).after(stage, 1, value)
    assert best.epoch == 1
    assert not best.ends_stage(stage)


def test_figures_leave_out_images_without_mask_or_label() -> None:
    found = {
        "segmentation_loss": np.array([1.0, 9.0, 3.0, 9.0], np.float32),
        "classification_loss": np.array([0.5, 0.1, 9.0, 0.3], np.float32),
        "probability": np.array([0.4, 0.9, 0.1, 0.2], np.float32),
        "iou": np.array([0.5, 0.0, 1.0, 0.0], np.float32),
    }
    figures = validation_figures(
        _stage(segmentation_weight=2), found, np.array([0, 1, -1, 1]), np.array([True, False, True, False])
    )
    assert figures == pytest.approx(
        {"segmentation_loss": 2, "classification_loss": 0.3, "accuracy": 2 / 3, "auc": 0.5, "iou": 0.75, "loss": 4.3}
    )


def test_figures_that_the_images_cannot_give_are_left_out() -> None:
    found = {
        name: np.ones(2, np.float32) for name in ("segmentation_loss", "classification_loss", "probability", "iou")
    }
    nothing = np.zeros(2, bool)
    assert "auc" not in validation_figures(_stage(), found, np.array([1, 1]), nothing)
    assert validation_figures(_stage(), found, np.array([-1, -1]), nothing) == {}
