"""The figures of `evaluation.json`, against their definitions, on a few studies of a cohort that nothing else uses."""

from pathlib import Path

import numpy as np
import pytest

from dataset.arrays import Selection, phantom_arrays
from diagchd_batch.model import Predictor, load_card, resolve_model
from tools.evaluate_on_phantoms import evaluate

COHORT = Selection("other", 271828, 9)


@pytest.mark.slow
def test_the_figures_are_those_of_their_definitions(tmp_path: Path) -> None:
    found = evaluate("diagchd-compact", COHORT, tmp_path)
    arrays = phantom_arrays(COHORT, (128, 160), tmp_path)
    predictor = Predictor(resolve_model("diagchd-compact", "bundled", "float32"), 1)
    predictions = [predictor.predict(image[None]) for image in arrays["images"]]
    maps = np.concatenate([one.label_maps_bhw_u8 for one in predictions])
    probabilities = np.concatenate([one.chd_probability_b_f32 for one in predictions])

    masks = arrays["masks"]
    shared = [((maps == value) & (masks == value)).sum() for value in (0, 1, 2)]
    covered = [((maps == value) | (masks == value)).sum() for value in (0, 1, 2)]
    assert found["pooled_mean_iou_3_classes"]["value"] == pytest.approx(np.mean(np.divide(shared, covered)), abs=1e-4)

    of_study: dict[int, list[float]] = {}
    for study, probability in zip(arrays["studies"].tolist(), probabilities.tolist(), strict=True):
        of_study.setdefault(study, []).append(probability)
    label = dict(zip(arrays["studies"].tolist(), arrays["labels"].tolist(), strict=True))
    scores = {study: np.mean(values) for study, values in of_study.items()}
    pairs = [scores[one] > scores[other] for one in label for other in label if label[one] > label[other]]
    assert found["study_auc_of_mean_probability"]["value"] == pytest.approx(np.mean(pairs))

    assert found["weights_sha256"] == load_card("diagchd-compact").weights_files[0].sha256
    assert found["cohort"]["studies"] == len(of_study) == COHORT.studies
    assert found["cohort"]["images"] == len(probabilities) > COHORT.studies
