"""The bundled weights score phantoms well. The figures of the gate cohort are in `evaluation.json`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset.arrays import Selection, phantom_arrays
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.images.resize import resize_to_grid
from diagchd_batch.model import Predictor, resolve_model
from diagchd_batch.model.benchmark_against_keras import compare_with_keras

pytestmark = pytest.mark.slow


def test_they_find_hearts_and_septa_of_phantoms_never_seen(tmp_path: Path) -> None:
    spec = resolve_model("diagchd-compact", "bundled", "float32")
    cohort = phantom_arrays(Selection("other", 8128, 64, 1), (spec.height, spec.width), tmp_path)
    prediction = Predictor(spec, 64).predict(cohort["images"], cohort["masks"])
    overlaps = []
    for value in (0, 1, 2):
        ours, theirs = prediction.label_maps_bhw_u8 == value, cohort["masks"] == value
        overlaps.append((ours & theirs).sum() / (ours | theirs).sum())
    assert np.mean(overlaps) >= 0.80
    diseased = cohort["labels"] == 1
    probability = prediction.chd_probability_b_f32
    assert probability[diseased].mean() > probability[~diseased].mean() + 0.2


def test_precisions_agree_on_the_sample() -> None:
    spec = resolve_model("diagchd-compact", "bundled", "float32")
    paths = sorted(Path(bundled_path("dataset/sample/images")).iterdir())
    pictures = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    images = np.stack([resize_to_grid(picture, spec.height, spec.width) for picture in pictures])
    precisions = compare_with_keras(spec, images, rounds=3).precisions
    assert precisions["float32"].largest_probability_difference < 1e-4
    assert precisions["float32"].same_pixels > 0.9999
    assert precisions["bfloat16"].same_pixels >= 0.995
    assert precisions["float32"].same_calls == 1
    assert precisions["bfloat16"].largest_probability_difference < 0.05
    assert precisions["bfloat16"].same_calls >= 0.99  # one of the 122 lies closer to the threshold than its rounding
