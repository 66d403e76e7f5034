"""Trains the bundled weights of a model on generated phantoms, and writes them and the model's card.

    python -m tools.train_bundled_weights configs/train-compact.yaml

Run it in the root of the repository. Whatever the configuration's directory already holds is not made again, so an
interrupted training continues at the stage where it stopped.
"""

import argparse
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from pydantic import TypeAdapter
from pydantic.dataclasses import dataclass

from dataset.arrays import Selection, digest, phantom_arrays
from diagchd_batch.cli.console import ConsoleParser

MODELS = Path("configs/models")
WEIGHTS = "weights/fold-0.h5"


@dataclass(frozen=True, config={"extra": "forbid"})
class TrainingConfig:
    """A training on phantoms.

    Attributes:
        model: The bundled model whose weights are made.
        seed: Seed of the training.
        directory: Where images and stages are kept.
        training: Phantoms to train on.
        validation: Phantoms that choose the best epoch.
        stages: The name of each stage → fields of `diagchd_batch.training.stages.Stage`.
    """

    model: str
    seed: int
    directory: Path
    training: Selection
    validation: Selection
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


def arrays(config: TrainingConfig, selection: Selection) -> dict[str, np.ndarray]:
    """Return the images (uint8 [n, height, width, 3]), masks, labels and study numbers of a selection."""
    from diagchd_batch.model import load_card

    architecture = load_card(config.model).architecture
    return phantom_arrays(selection, (architecture.height, architecture.width), config.directory)


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
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    content = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    config = TypeAdapter(TrainingConfig).validate_python(content)
    make_weights(config, arguments.config)


if __name__ == "__main__":
    main()
