"""Resolves the `model` block of a job to a `ModelSpec`, which is small enough to send to any worker.

This module imports neither Keras nor TensorFlow, so that the command line and the driver can resolve a model.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from diagchd_batch.errors import ConfigError, RunFault, WeightsError
from diagchd_batch.model.card import ModelCard, WeightsFile, parse_card
from diagchd_batch.model.packages.package import ModelPackage, checked_weights_path, file_digest
from diagchd_batch.model.packages.registry import find_package
from diagchd_batch.model.weights.file_kind import refuse_no_checkpoint
from diagchd_batch.wording import shown_value

BUNDLED = "bundled"
"""The value of `model.weights` that means the weights in the model package."""

PRECISIONS = ("float32", "bfloat16")

ARCHITECTURES = ("diagchd/1",)
"""Identifiers of the designs that `model.network` builds."""

PREPROCESSINGS = ("rgb8-nearest-div255/1",)
"""Identifiers of the preprocessings that `images` and the network apply."""

_SEED = re.compile(r"seed:(\d{1,6})")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A resolved model.

    Attributes:
        name: The name on the model's card, as records and reports show it.
        package: The location of the model package: a bundled name, an absolute path or an S3 URI.
        card: The model's card.
        weights: ``bundled`` (those of the package), the absolute path of a checkpoint, or ``seed:N`` (see
            `weights.checkpoints.fill_from_seed`).
        weights_digest: SHA-256 of the checkpoint's bytes, or of the string ``seed:N``, in hexadecimal.
        architecture: The identifier of the design, with its version.
        preprocessing: The identifier of the preprocessing, with its version.
        height: Rows of the model's grid.
        width: Columns of the model's grid.
        precision: ``float32`` or ``bfloat16``.
        chd_threshold: Probabilities at or above it are called CHD.
        runtime: The name of the runtime (`runtimes.registry.RUNTIMES`).
    """

    name: str
    package: str
    card: ModelCard
    weights: str
    weights_digest: str
    architecture: str
    preprocessing: str
    height: int
    width: int
    precision: str
    chd_threshold: float
    runtime: str = "tensorflow"


def resolve_model(name: str, weights: str, precision: str) -> ModelSpec:
    """Resolve the `model` block of a job.

    Args:
        name: A bundled name, the path of a package directory, or ``s3://bucket/prefix``.
        weights: ``bundled``, the path of a checkpoint, or ``seed:N``.
        precision: One of `PRECISIONS`.

    Returns:
        The model, with the digest of its weights.

    Raises:
        ConfigError: The package, its design or the precision is unknown, or the card is damaged.
        WeightsError: The weights do not exist, are not those of the card, or are no checkpoint.
        StorageFault: The storage of the package cannot be reached.
    """
    package = find_package(name)
    card = parse_card(package.read_card(), package.location)
    _refuse_unknown("architecture", card.architecture.identifier, ARCHITECTURES, package)
    _refuse_unknown("preprocessing", card.preprocessing, PREPROCESSINGS, package)
    if precision not in PRECISIONS:
        raise ConfigError(f"model.precision is {shown_value(precision)}; choose one of {', '.join(PRECISIONS)}")
    resolved, digest = _resolve_weights(package, card, weights)
    return ModelSpec(
        name=card.name,
        package=package.location,
        card=card,
        weights=resolved,
        weights_digest=digest,
        architecture=card.architecture.identifier,
        preprocessing=card.preprocessing,
        height=card.architecture.height,
        width=card.architecture.width,
        precision=precision,
        chd_threshold=card.chd_threshold,
    )


def weights_path(spec: ModelSpec) -> Path:
    """Return the path of the checkpoint on this machine. Not for a model with weights from a seed.

    Weights of a package on S3 are fetched into this machine's cache if they are not there yet.

    Raises:
        WeightsError: The package does not hold the weights.
        StorageFault: The storage of the package cannot be reached.
    """
    if spec.weights != BUNDLED:
        return Path(spec.weights)
    package = find_package(spec.package)
    return package.weights_path(_only_file(package, spec.card))


def refuse_replaced_weights(spec: ModelSpec) -> None:
    """Raise an error unless this machine's checkpoint is the one that `spec` was resolved from.

    Call it after loading: a worker that starts in the middle of a run would otherwise score with whatever lies at the
    path by then.

    Raises:
        RunFault: The file was replaced, or differs on this node.
    """
    path = weights_path(spec)
    if file_digest(path) != spec.weights_digest:
        raise RunFault(
            f"the weights {path} are not those that this run began with: the file was replaced, or another one lies "
            "there on this node. Put the first back to resume this run, or begin another with the new one"
        )


def seed_of(weights: str) -> int | None:
    """Return N of ``seed:N``, and None for any other value of `model.weights`."""
    match = _SEED.fullmatch(weights)
    return int(match[1]) if match else None


def _resolve_weights(package: ModelPackage, card: ModelCard, weights: str) -> tuple[str, str]:
    """Return the `weights` and the `weights_digest` of a spec."""
    if seed_of(weights) is not None:
        return weights, hashlib.sha256(weights.encode()).hexdigest()
    if weights == BUNDLED:
        file = _only_file(package, card)
        path = checked_weights_path(package, file)
        if "/" in package.location:  # the bundled checkpoints are known to be sound
            refuse_no_checkpoint(path)
        return BUNDLED, file.sha256
    path = Path(weights).expanduser()
    if weights.startswith("seed:"):
        raise ConfigError(
            f"model.weights is {shown_value(weights)}; a seed is a number of up to six digits, such as seed:0"
        )
    if not path.is_file():
        raise WeightsError(
            f"model.weights: there is no file {weights}; give a checkpoint's path (on a disk, not on S3), 'bundled' or "
            "'seed:N'"
        )
    digest = file_digest(path)
    refuse_no_checkpoint(path)
    return str(path.resolve()), digest


def _only_file(package: ModelPackage, card: ModelCard) -> WeightsFile:
    match card.weights_files:
        case []:
            raise WeightsError(
                f"the package of model {package.location} holds no weights ({card.limitations}) Set model.weights to "
                "the path of a checkpoint of yours, or to seed:0 (pseudo-random weights, to try things out)"
            )
        case [file]:
            return file
        case files:
            raise WeightsError(
                f"model {package.location} has weights of {len(files)} folds, and this version scores with one; set "
                "model.weights to the path of one fold's file"
            )


def _refuse_unknown(what: str, identifier: str, known: tuple[str, ...], package: ModelPackage) -> None:
    if identifier not in known:
        raise ConfigError(
            f"the {what} of model {package.location} is {shown_value(identifier)}, and this version knows "
            f"{', '.join(known)}; update the program"
        )
