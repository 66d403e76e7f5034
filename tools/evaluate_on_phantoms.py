"""Scores 1,000 fresh simulated studies with a model and prints the mean IoU of its masks and its AUC.

    python -m tools.evaluate_on_phantoms out/bundled-weights/package
    python -m tools.evaluate_on_phantoms diagchd-compact --out configs/models/diagchd-compact/evaluation.json

The studies are the split `gate` of the generator. They accept or refuse weights whose training is finished: whoever
chooses settings by these figures can no longer use them. Run it in the root of the repository. It takes some minutes
of processor time, most of it for rendering the images, which are kept in `--images`.
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dataset.arrays import Selection, digest, phantom_arrays
from diagchd_batch.cli.console import ConsoleParser

if TYPE_CHECKING:  # the processes that generate images import this file too and need no TensorFlow
    from diagchd_batch.model import Predictor
    from diagchd_batch.statistics.estimate import Estimate
    from diagchd_batch.statistics.segmentation import PixelCounts

GATE = Selection("gate", seed=577215, studies=1000)
CLASSES = (0, 1, 2)


def evaluate(model: str, cohort: Selection, images: Path) -> dict[str, Any]:
    """Score the images of a cohort with a model.

    Args:
        model: As `model.name` of a job file; its own weights are taken.
        cohort: The studies. All images of each study are scored.
        images: Directory where the rendered images are kept.

    Returns:
        The contents of `evaluation.json`: the mean IoU pooled over all images and the AUC of the studies' mean
        probabilities, with 95 % intervals by subject, and the digests of weights and cohort.
    """
    from diagchd_batch.model import Predictor, choose_batch_size, resolve_model
    from diagchd_batch.statistics.classification.auc import delong_interval
    from diagchd_batch.statistics.segmentation import mean_iou_pooled

    spec = resolve_model(model, "bundled", "float32").with_view_check(None)
    arrays = phantom_arrays(cohort, (spec.height, spec.width), images)
    probability, predicted = predict(Predictor(spec, choose_batch_size(spec)), arrays["images"])
    subjects = np.array([cohort.study(index).subject for index in range(cohort.studies)])
    labels = np.array([cohort.study(index).disease.label for index in range(cohort.studies)])
    study_score = np.bincount(arrays["studies"], probability) / np.bincount(arrays["studies"])
    auc = delong_interval(labels, study_score, subjects)
    overlap = mean_iou_pooled(pixel_counts(predicted, arrays["masks"]), subjects[arrays["studies"]])
    return {
        "note": "SIMULATED phantoms, of the generator that the training images come from: no proof of generalisation",
        "repeat_with": f"python -m tools.evaluate_on_phantoms {spec.name}",
        "weights_sha256": spec.weights_digest,
        "cohort": {
            "split": cohort.split,
            "seed": cohort.seed,
            "studies": cohort.studies,
            "images": len(arrays["labels"]),
            "sha256": digest(arrays),
        },
        "study_auc_of_mean_probability": figure(auc),
        "pooled_mean_iou_3_classes": figure(overlap),
    }


def predict(predictor: "Predictor", images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each image's probability of CHD [n] and label map [n, height, width]. Zeros fill the last batch."""
    probabilities, label_maps = [], []
    for start in range(0, len(images), predictor.batch_size):
        chosen = images[start : start + predictor.batch_size]
        batch = np.zeros((predictor.batch_size, *images.shape[1:]), np.uint8)
        batch[: len(chosen)] = chosen
        prediction = predictor.predict(batch)
        probabilities.append(prediction.chd_probability_b_f32[: len(chosen)])
        label_maps.append(prediction.label_maps_bhw_u8[: len(chosen)])
    return np.concatenate(probabilities), np.concatenate(label_maps)


def pixel_counts(predicted: np.ndarray, reference: np.ndarray) -> "PixelCounts":
    """Return the pixel counts of each image and class."""
    from diagchd_batch.statistics.segmentation import PixelCounts

    ours = np.stack([predicted == value for value in CLASSES], axis=-1)
    theirs = np.stack([reference == value for value in CLASSES], axis=-1)
    return PixelCounts((ours & theirs).sum((1, 2)), theirs.sum((1, 2)), ours.sum((1, 2)))


def figure(estimate: "Estimate") -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "method", "n", "n_subjects")}


def main() -> None:
    parser = ConsoleParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="as model.name of a job file")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the figures to this file, too")
    parser.add_argument("--images", type=Path, default=Path("out/bundled-weights/gate"), help="default: %(default)s")
    arguments = parser.parse_args()
    result = json.dumps(evaluate(arguments.model, GATE, arguments.images), indent=2)
    print(result)
    if arguments.out:
        arguments.out.write_text(result + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
