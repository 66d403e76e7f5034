"""Training batches, and all three training stages on a few phantoms."""

from pathlib import Path

import numpy as np
import pytest

from dataset.arrays import Selection, phantom_arrays
from diagchd_batch.model import build_network, load_checkpoint
from diagchd_batch.model.network import classifier_layers, pooled_features
from diagchd_batch.training.stages import CLASSIFICATION, SEGMENTATION, Cohort, Stage, _Batches, _shifted, train


@pytest.fixture
def cohort() -> Cohort:
    """Return a cohort whose images are their masks times 100, so that a shift of one must be a shift of the other."""
    masks = np.random.default_rng(0).integers(0, 3, (10, 24, 36), dtype=np.uint8)
    images = np.repeat(masks[..., None] * 100, 3, axis=-1)
    return Cohort(images, masks, np.arange(10, dtype=np.int32) % 2, np.arange(10, dtype=np.int32))


def test_masks_move_with_their_images_and_all_images_come_once(cohort: Cohort) -> None:
    batches = _Batches(cohort, 3, seed=1)
    assert len(batches) == 3
    moved = 0
    for index in range(len(batches)):
        images, targets = batches[index]
        assert images.dtype == np.float32
        assert images.max() <= 1
        for image, mask, label in zip(images, targets[SEGMENTATION], targets[CLASSIFICATION], strict=True):
            levels = [np.unique(image[mask == value]) for value in (0, 1, 2)]
            assert [len(level) for level in levels] == [1, 1, 1]
            assert levels[0] < levels[1] < levels[2]
            moved += not any((mask == original).all() for original in cohort.masks)
            assert label in (0, 1)
    assert moved > 5
    drawn = set(batches._order)
    batches.on_epoch_end()
    assert drawn == set(batches._order) == set(range(10))


def test_augmenting_leaves_the_cohort_alone(cohort: Cohort) -> None:
    before = cohort.images.copy(), cohort.masks.copy()
    batches = _Batches(cohort, 5, seed=1)
    _ = [batches[index] for index in range(len(batches))]
    assert (cohort.images == before[0]).all()
    assert (cohort.masks == before[1]).all()


@pytest.mark.parametrize("shift", [(0, 0), (2, -3), (-1, 4), (-2, -2)])
def test_shifting_moves_and_fills_with_zeros(shift: tuple[int, int]) -> None:
    picture = np.arange(1, 61).reshape(6, 10)
    moved = _shifted(picture, shift)
    for row in range(6):
        for column in range(10):
            source = (row - shift[0], column - shift[1])
            inside = 0 <= source[0] < 6 and 0 <= source[1] < 10
            assert moved[row, column] == (picture[source] if inside else 0)


def test_the_classifier_s_layers_continue_the_pooled_features() -> None:
    network = build_network("diagchd-compact", 32, 32)
    assert pooled_features(network).shape == (None, 128)
    kinds = [type(layer).__name__ for layer in classifier_layers(network)]
    assert kinds == ["Dropout", "Dense"] * 4 + ["Softmax"]
    dropped = [layer.rate for layer in classifier_layers(network) if type(layer).__name__ == "Dropout"]
    assert dropped == [0.6] * 4


@pytest.mark.slow
def test_stages_train_what_they_should_and_are_not_repeated(tmp_path: Path) -> None:
    arrays = phantom_arrays(Selection("other", 5, 24, 1), (128, 160), tmp_path)
    cohort = Cohort(**arrays)
    stages = {
        "segmentation": Stage(4, 8, 2e-3, 4, 1, 0),
        "classifier": Stage(2, 8, 1e-3, 2, 0, 1),
        "everything": Stage(1, 8, 1e-4, 1, 1, 1),
    }
    trained = train("diagchd-compact", cohort, cohort, stages, 1, tmp_path)
    files = sorted(path.name for path in tmp_path.glob("stage-*.h5"))
    assert files == ["stage-0-segmentation.h5", "stage-1-classifier.h5", "stage-2-everything.h5"]

    segmented, classified = (build_network("diagchd-compact") for _ in range(2))
    load_checkpoint(segmented, tmp_path / files[0])
    load_checkpoint(classified, tmp_path / files[1])
    pairs = zip(segmented.weights, classified.weights, strict=True)
    changed = {old.path for old, new in pairs if not np.array_equal(old, new)}
    assert changed == {weight.path for layer in classifier_layers(segmented) for weight in layer.weights}

    again = train("diagchd-compact", cohort, cohort, stages, 1, tmp_path)
    for one, other in zip(trained.weights, again.weights, strict=True):
        assert np.array_equal(one, other)
