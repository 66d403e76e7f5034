"""What is scored with: a model's name, weights, grid and precision, resolved once and small enough to send anywhere.

Imports neither Keras nor TensorFlow, so that a command line or a driver can resolve a model.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from diagchd_batch.bundled import bundled_path
from diagchd_batch.errors import ConfigError, RunFault, WeightsError
from diagchd_batch.model.card import ModelCard, load_card
from diagchd_batch.model.weights.checkpoint_file import refuse_no_checkpoint

BUNDLED = "bundled"
PRECISIONS = ("float32", "bfloat16")
_SEED = re.compile(r"seed:(\d{1,6})")


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """`weights` is ``bundled`` (each machine has its own copy), a local path or ``seed:N`` (see
    `weights.fill_from_seed`); `weights_digest` the SHA-256, in hex, of
    the checkpoint's bytes or of that string. `height` and `width` are the model's grid. Probabilities of
    `chd_threshold` and above are called CHD. `architecture` and `preprocessing` are identifiers with versions.
    """

    name: str
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
    """Resolve a job's model block. `weights` is ``bundled``, ``seed:N`` or a local path.

    Raises ConfigError for an unknown model or precision, WeightsError for weights that are not there, or
    are no checkpoint.
    """
    card = load_card(name)
    if precision not in PRECISIONS:
        raise ConfigError(f"model.precision is {precision!r}; choose one of {', '.join(PRECISIONS)}")
    location, digest = _resolve_weights(card, weights)
    return ModelSpec(
        name=name,
        weights=location,
        weights_digest=digest,
        architecture=card.architecture.identifier,
        preprocessing=card.preprocessing,
        height=card.architecture.height,
        width=card.architecture.width,
        precision=precision,
        chd_threshold=card.chd_threshold,
    )


def weights_path(spec: ModelSpec) -> str:
    """Where this machine has the checkpoint of `spec`; not for seeds."""
    return str(_bundled_path(load_card(spec.name))) if spec.weights == BUNDLED else spec.weights


def refuse_replaced_weights(spec: ModelSpec) -> None:
    """Raises RunFault unless this machine's checkpoint of `spec` still is the one that the spec was resolved from.

    To be called after loading: a worker that starts in mid-run would score with whatever lies at the path by then.
    """
    path = weights_path(spec)
    if _digest(Path(path)) != spec.weights_digest:
        raise RunFault(
            f"the weights {path} are not those that this run began with: the file was replaced, or another one lies "
            "there on this node. Put the first back to resume this run, or begin another with the new one"
        )


def seed_of(weights: str) -> int | None:
    """N of ``seed:N``, None for anything else."""
    match = _SEED.fullmatch(weights)
    return int(match[1]) if match else None


def _resolve_weights(card: ModelCard, weights: str) -> tuple[str, str]:
    """(location, digest)."""
    if seed_of(weights) is not None:
        return weights, hashlib.sha256(weights.encode()).hexdigest()
    if weights == BUNDLED:
        return BUNDLED, _bundled_digest(card)
    path = Path(weights)
    if weights.startswith("seed:"):
        raise ConfigError(f"model.weights is {weights!r}; a seed is a number of up to six digits, such as seed:0")
    if not path.is_file():
        raise WeightsError(
            f"model.weights: there is no file {weights}; give a checkpoint's path (on a disk, not on S3), 'bundled' or "
            "'seed:N'"
        )
    digest = _digest(path)
    refuse_no_checkpoint(str(path))
    return str(path.resolve()), digest


def _bundled_path(card: ModelCard) -> Path:
    if card.weights is None:
        raise WeightsError(
            f"no weights of {card.name} are bundled: the authors' are not publicly reachable. Set model.weights to the "
            "path of a checkpoint of yours, or to seed:0 (pseudo-random weights, to try things out)"
        )
    return bundled_path(f"configs/models/{card.name}/{card.weights.file}")


def _bundled_digest(card: ModelCard) -> str:
    path = _bundled_path(card)
    digest = _digest(path)
    if card.weights is None or digest != card.weights.sha256:
        raise WeightsError(
            f"the bundled weights of {card.name} ({path}) are not those of its card; reinstall the package"
        )
    return digest


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror}") from error
