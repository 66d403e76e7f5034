"""Trains the bundled weights of a model on generated phantoms, or evaluates them on the gate cohort.

    python -m tools.train_bundled_weights CONFIG               generate, train, write the weights and the model's card
    python -m tools.train_bundled_weights CONFIG --evaluate    score the gate cohort, write evaluation.json

Run it in the root of the repository. Whatever the configuration's directory already holds is not made again, so an
interrupted training continues at the stage where it stopped.
"""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from dataset.arrays import Selection, digest, phantom_arrays
from diagchd_batch.cli.console import ConsoleParser

if TYPE_CHECKING:  # the processes that generate images import this file too and need no TensorFlow
    from diagchd_batch.model import Predictor
    from diagchd_batch.statistics.estimate import Estimate

MODELS = Path("configs/models")
WEIGHTS = "weights/fold-0.h5"
CLASSES = (0, 1, 2)


@dataclass(frozen=True, config={"extra": "forbid"})
class TrainingConfig:
    """A training on phantoms.

    Attributes:
        model: The bundled model whose weights are made.
        seed: Seed of the training.
        directory: Where images and stages are kept.
        training: Phantoms to train on.
        validation: Phantoms that choose the best epoch.
        gate: Phantoms that the weights are evaluated on.
        stages: The name of each stage → fields of `diagchd_batch.training.stages.Stage`.
    """

    model: str
    seed: int
    directory: Path
    training: Selection
    validation: Selection
    gate: Selection
    stages: dict[str, dict[str, float]]


def make_weights(config: TrainingConfig, config_path: Path) -> None:
    """Train the model, write its weights, and write their digest into its card."""
    from diagchd_batch.model import save_checkpoint
    from diagchd_batch.training.stages import Cohort, Stage, train

    stages = TypeAdapter(dict[str, Stage]).validate_python(config.stages)
    training, validation = arrays(config, config.training), arrays(config, config.validation)
    model = train(config.model, Cohort(**training), Cohort(**validation), stages, config.seed, config.directory)
    weights = MODELS / config.model / WEIGHTS
    weights.parent.mkdir(exist_ok=True)
    save_checkpoint(model, weights, "float16")
    write_card(
        config.model,
        weights={"file": WEIGHTS, "sha256": file_digest(weights), "size_bytes": weights.stat().st_size},
        training_data={
            "description": f"SIMULATED phantoms: {len(training['labels'])} images to train on, "
            f"{len(validation['labels'])} to choose the best epoch; no subject is in both",
            "sha256": digest(training, validation),
            "simulated": True,
            "repeat_with": f"python -m tools.train_bundled_weights {config_path}",
        },
    )


def evaluate(config: TrainingConfig, config_path: Path) -> None:
    """Score the gate cohort with the bundled weights and write evaluation.json beside the card.

    It holds the mean IoU pooled over all images and the AUC of the studies' mean probabilities, with 95 % intervals.
    """
    from diagchd_batch.model import Predictor, choose_batch_size, resolve_model
    from diagchd_batch.statistics.classification.auc import delong_interval
    from diagchd_batch.statistics.segmentation import mean_iou_pooled

    spec = resolve_model(config.model, "bundled", "float32")
    gate = arrays(config, config.gate)
    probability, predicted = predict(Predictor(spec, choose_batch_size(spec)), gate["images"])
    subjects = np.array([config.gate.study(index).subject for index in range(config.gate.studies)])
    labels = np.array([config.gate.study(index).disease.label for index in range(config.gate.studies)])
    study_score = np.bincount(gate["studies"], probability) / np.bincount(gate["studies"])
    auc = delong_interval(labels, study_score, subjects)
    overlap = mean_iou_pooled(pixel_counts(predicted, gate["masks"]), subjects[gate["studies"]])
    result = {
        "note": "SIMULATED phantoms, of the generator that the training images come from: no proof of generalisation",
        "repeat_with": f"python -m tools.train_bundled_weights {config_path} --evaluate",
        "weights_sha256": spec.weights_digest,
        "cohort": {
            "split": config.gate.split,
            "seed": config.gate.seed,
            "studies": config.gate.studies,
            "images": len(gate["labels"]),
            "sha256": digest(gate),
        },
        "study_auc_of_mean_probability": figure(auc),
        "pooled_mean_iou_3_classes": figure(overlap),
    }
    write_json(MODELS / config.model / "evaluation.json", result)
    print(json.dumps(result, indent=2))


def arrays(config: TrainingConfig, selection: Selection) -> dict[str, np.ndarray]:
    """Return the images (uint8 [n, height, width, 3]), masks, labels and study numbers of a selection."""
    from diagchd_batch.model import load_card

    architecture = load_card(config.model).architecture
    return phantom_arrays(selection, (architecture.height, architecture.width), config.directory)


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


def pixel_counts(predicted: np.ndarray, reference: np.ndarray) -> Any:
    """Return the pixel counts of each image and class."""
    from diagchd_batch.statistics.segmentation import PixelCounts

    ours = np.stack([predicted == value for value in CLASSES], axis=-1)
    theirs = np.stack([reference == value for value in CLASSES], axis=-1)
    return PixelCounts((ours & theirs).sum((1, 2)), theirs.sum((1, 2)), ours.sum((1, 2)))


def figure(estimate: "Estimate") -> dict[str, Any]:
    return {name: getattr(estimate, name) for name in ("value", "low", "high", "method", "n", "n_subjects")}


def write_card(model: str, **sections: dict[str, Any]) -> None:
    path = MODELS / model / "card.json"
    write_json(path, json.loads(path.read_text(encoding="utf-8")) | sections)


def write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = ConsoleParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="such as configs/train-compact.yaml")
    parser.add_argument("--evaluate", action="store_true", help="score the gate cohort with the bundled weights")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    content = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    config = TypeAdapter(TrainingConfig).validate_python(content)
    if arguments.evaluate:
        evaluate(config, arguments.config)
    else:
        make_weights(config, arguments.config)


if __name__ == "__main__":
    main()
