"""Makes a package of `diagchd-batch train` the bundled package of its model, under `configs/models/`.

    python -m tools.bundle_package out/bundled-weights/package configs/bundled-weights.yaml

The weights are stored as float16, which halves the file. The texts of the bundled card stay, because a package of
`train` says that its intended use is to be filled in. The bundled card gets no block `training`. With one, `submit`
would refuse every `input.region` but that of the training, and phantoms have no surroundings to cut off.

Run it in the root of the repository. Then measure the new weights with `python -m tools.evaluate_on_phantoms`.
"""

import argparse
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from diagchd_batch.cli.console import ConsoleParser
from diagchd_batch.errors import ConfigError
from diagchd_batch.model import view_check
from diagchd_batch.model.card import ModelCard, parse_card
from diagchd_batch.model.packages.decision_files import CALIBRATION, OPERATING_POINTS
from diagchd_batch.model.packages.package import CARD, checked_weights_path, file_digest
from diagchd_batch.model.packages.registry import find_package

MODELS = Path("configs/models")
ARCHIVE_COMMAND = "python -m dataset.training_archive --out out/bundled-weights/archive"
WEIGHTS = "weights/fold-0.h5"
OPTIONAL_FILES = (view_check.FILE, OPERATING_POINTS, CALIBRATION)
"""A training that holds nothing out writes operating points without a point, and they are not bundled."""


def bundle(location: str, job_file: str, models: Path = MODELS) -> Path:
    """Replace the bundled package of a model by a trained one.

    Args:
        location: The trained package, as `model.name` of a job file.
        job_file: The job file of the training, which the card names.
        models: The directory of the bundled packages.

    Returns:
        The directory of the bundled package.

    Raises:
        ConfigError: The package has several folds, was not made by `train`, was trained on images that are not
            simulated, has another network than the bundled one, or has its version.
        WeightsError: The weights are missing, or are not those of their card.
    """
    package = find_package(location)
    card = parse_card(package.read_card(), location)
    directory = models / card.name
    bundled = parse_card((directory / CARD).read_bytes(), card.name)
    if problem := _unsuitable(card, bundled):
        raise ConfigError(f"package {location} cannot be bundled as {card.name}: {problem}")
    with TemporaryDirectory() as scratch:
        smaller = Path(scratch) / "weights.h5"
        save_as_float16(card, checked_weights_path(package, card.weights_files[0]), smaller)
        (directory / WEIGHTS).write_bytes(smaller.read_bytes())
    for name in OPTIONAL_FILES:
        data = package.read_optional(name)
        if data is None or (name == OPERATING_POINTS and not json.loads(data)["points"]):
            (directory / name).unlink(missing_ok=True)
        else:
            (directory / name).write_bytes(data)
    (directory / "evaluation.json").unlink(missing_ok=True)  # it measured the weights before these
    _write_card(directory / CARD, changes(card, bundled, directory / WEIGHTS, job_file))
    return directory


def _unsuitable(card: ModelCard, bundled: ModelCard) -> str:
    """Return why a trained package cannot take the place of the bundled one, or an empty text."""
    if card.training is None or card.training_data is None:
        return "its card does not say how it was trained; give a package of `diagchd-batch train`"
    if not card.training.simulated:
        return "it was trained on images that are not simulated, and its weights may remember patients"
    if len(card.weights_files) != 1:
        return f"it has the weights of {len(card.weights_files)} folds; train one, with training.folds.rule: column"
    if (card.architecture, card.preprocessing) != (bundled.architecture, bundled.preprocessing):
        return "its network is another one than that of the bundled card"
    if card.version in bundled.changelog:
        return f"there was a version {card.version} already; train with another training.model_version"
    return ""


def save_as_float16(card: ModelCard, source: Path, destination: Path) -> None:
    """Write the weights of one checkpoint to another one of half the size."""
    from diagchd_batch.model import load_checkpoint, save_checkpoint  # they load Keras, which takes seconds
    from diagchd_batch.model.network import build_network_from_card

    network = build_network_from_card(card)
    load_checkpoint(network, source)
    save_checkpoint(network, destination, "float16")


def changes(card: ModelCard, bundled: ModelCard, weights: Path, job_file: str) -> dict[str, Any]:
    """Return the fields of the bundled card that a new training changes."""
    assert card.training is not None and card.training_data is not None
    return {
        "version": card.version,
        "changelog": bundled.changelog
        | {card.version: "trained on simulated phantoms with the command `train` of diagchd-batch"},
        "weights": {"file": WEIGHTS, "sha256": file_digest(weights), "size_bytes": weights.stat().st_size},
        "training_data": {
            "description": f"SIMULATED phantoms of {card.training.subjects} subjects, of whom some were only used to "
            "choose the best epoch",
            "sha256": card.training_data.sha256,
            "simulated": True,
            "repeat_with": f"{ARCHIVE_COMMAND} && diagchd-batch train {job_file}",
        },
    }


def _write_card(path: Path, new: dict[str, Any]) -> None:
    card = json.loads(path.read_text(encoding="utf-8")) | new
    path.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = ConsoleParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", help="what training.package_uri named")
    parser.add_argument("job_file", help="the job file of the training, relative to the repository")
    arguments = parser.parse_args()
    print(f"{bundle(arguments.package, arguments.job_file)} holds the new weights")


if __name__ == "__main__":
    main()
