"""Resolves the `model` block of a job to a `ModelSpec`, which is small enough to send to any worker.

A package with the weights of several folds is an ensemble: each fold is one of its members. This module imports neither
Keras nor TensorFlow, so that the command line and the driver can resolve a model.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from diagchd_batch.errors import ConfigError, RunFault, WeightsError
from diagchd_batch.model import view_check
from diagchd_batch.model.card import ModelCard, parse_card, refuse_impossible_network
from diagchd_batch.model.packages.bundled import bundled_models
from diagchd_batch.model.packages.decision_files import PackageDecisions, read_decisions
from diagchd_batch.model.packages.package import ModelPackage, checked_weights_path, file_digest
from diagchd_batch.model.packages.registry import find_package, load_card
from diagchd_batch.model.view_check import ViewCheck
from diagchd_batch.model.weights.file_kind import refuse_no_checkpoint
from diagchd_batch.uris import expand_home, start_of
from diagchd_batch.wording import shown_value

BUNDLED = "bundled"
"""The value of `model.weights` that means the weights in the model package."""

ALL_MEMBERS: Literal["all"] = "all"
"""The value of `model.members` that means the weights of every fold in the package."""

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
        weights_digest: SHA-256 of the checkpoint's bytes, or of the string ``seed:N``, in hexadecimal. For an ensemble
            it is `ensemble_digest` of the members' digests.
        architecture: The identifier of the design, with its version.
        preprocessing: The identifier of the preprocessing, with its version.
        height: Rows of the model's grid.
        width: Columns of the model's grid.
        precision: ``float32`` or ``bfloat16``.
        chd_threshold: Probabilities at or above it are called CHD.
        runtime: The name of the runtime (`runtimes.registry.RUNTIMES`).
        members: Which weights of the package score, as places in the list of the card, from 0. More than one is an
            ensemble. Weights that are not the package's count as one member.
        gives_view_features: Whether predictions hold what a view check needs.
        view_check_digest: SHA-256 of the package's view check, which then gives each image a `view_score`; None if
            there is none.
        decisions: The operating points and the calibration that were chosen for the package's weights. They change no
            score, so they are not part of the fingerprint. None for other weights, and for a package without them.
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
    members: tuple[int, ...] = (0,)
    gives_view_features: bool = False
    view_check_digest: str | None = None
    decisions: PackageDecisions | None = None

    def with_view_check(self, digest: str | None) -> "ModelSpec":
        """Return the model with the view check of this digest, or without one."""
        return replace(self, view_check_digest=digest, gives_view_features=digest is not None)

    @property
    def member_digests(self) -> tuple[str, ...]:
        """SHA-256 of each member's weights, in the order of `members`."""
        if self.weights != BUNDLED:
            return (self.weights_digest,)
        files = self.card.weights_files
        return tuple(files[member].sha256 for member in self.members)


def resolve_model(name: str, weights: str, precision: str, members: int | Literal["all"] = ALL_MEMBERS) -> ModelSpec:
    """Resolve the `model` block of a job.

    Args:
        name: A bundled name, the path of a package directory, or ``s3://bucket/prefix``.
        weights: ``bundled``, the path of a checkpoint, or ``seed:N``.
        precision: One of `PRECISIONS`.
        members: ``all`` to score with the weights of all folds in the package, or the place of one fold's weights in
            the card's list, from 0.

    Returns:
        The model, with the digest of its weights.

    Raises:
        ConfigError: The package, its design or the precision is unknown, the package has no such member, or the card is
            damaged.
        WeightsError: The weights do not exist, are not those of the card, are no checkpoint, or are of another network.
        StorageFault: The storage of the package cannot be reached.
    """
    package = find_package(name)
    card = parse_card(package.read_card(), package.location)
    _refuse_unknown("architecture", card.architecture.identifier, ARCHITECTURES, package)
    refuse_impossible_network(card, package.location)
    _refuse_unknown("preprocessing", card.preprocessing, PREPROCESSINGS, package)
    if precision not in PRECISIONS:
        raise ConfigError(f"model.precision is {shown_value(precision)}; choose one of {', '.join(PRECISIONS)}")
    chosen = _chosen_members(package, card, weights, members)
    resolved, digest = _resolve_weights(package, card, weights, chosen)
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
        members=chosen,
        decisions=read_decisions(package) if resolved == BUNDLED else None,
    ).with_view_check(_view_check_digest(package, resolved))


def ensemble_digest(digests: Sequence[str]) -> str:
    """Return one digest for the weights that score together.

    Args:
        digests: SHA-256 of each member's weights, as 64 hexadecimal digits, in the order of the card.

    Returns:
        The only digest, or the SHA-256 of the digests joined by line feeds.
    """
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()


def weights_path(spec: ModelSpec, place: int = 0) -> Path:
    """Return the path of a checkpoint on this machine. Not for a model with weights from a seed.

    Weights of a package on S3 are fetched into this machine's cache if they are not there yet.

    Args:
        spec: The model.
        place: Which of `spec.members`, from 0.

    Raises:
        WeightsError: The package does not hold the weights.
        StorageFault: The storage of the package cannot be reached.
    """
    if spec.weights != BUNDLED:
        return Path(spec.weights)
    package = find_package(spec.package)
    return package.weights_path(spec.card.weights_files[spec.members[place]])


def refuse_replaced_weights(spec: ModelSpec, place: int = 0) -> None:
    """Raise an error unless this machine's checkpoint is the one that `spec` was resolved from.

    Call it after loading: a worker that starts in the middle of a run would otherwise score with whatever lies at the
    path by then.

    Args:
        spec: The model.
        place: Which of `spec.members`, from 0.

    Raises:
        RunFault: The file was replaced, or differs on this node.
    """
    path = weights_path(spec, place)
    if file_digest(path) != spec.member_digests[place]:
        raise RunFault(
            f"the weights {path} are not those that this run began with: the file was replaced, or another one lies "
            "there on this node. Put the first back to resume this run, or begin another with the new one"
        )


def seed_of(weights: str) -> int | None:
    """Return N of ``seed:N``, and None for any other value of `model.weights`."""
    match = _SEED.fullmatch(weights)
    return int(match[1]) if match else None


def load_view_check(spec: ModelSpec) -> ViewCheck | None:
    """Return the view check of the members that score, or None if the model has none.

    Raises:
        ConfigError: The file is damaged.
        RunFault: The file is not the one that `spec` was resolved from.
        StorageFault: The storage of the package cannot be reached.
    """
    if spec.view_check_digest is None:
        return None
    data = find_package(spec.package).read_optional(view_check.FILE)
    if data is None or hashlib.sha256(data).hexdigest() != spec.view_check_digest:
        raise RunFault(
            f"{view_check.FILE} of model {spec.package} is not the one that this run began with: the file was "
            "replaced, or another one lies there on this node. Put the first back to resume this run, or begin another "
            "with the new one"
        )
    return view_check.parse_view_check(data, spec.package).of_members(spec.members)


def _view_check_digest(package: ModelPackage, weights: str) -> str | None:
    """Return the digest of the package's view check. It knows the package's own weights alone."""
    data = package.read_optional(view_check.FILE) if weights == BUNDLED else None
    if data is None:
        return None
    view_check.parse_view_check(data, package.location)
    return hashlib.sha256(data).hexdigest()


def _chosen_members(
    package: ModelPackage, card: ModelCard, weights: str, members: int | Literal["all"]
) -> tuple[int, ...]:
    """Return the places of the weights that score. Weights that are not the package's are one member."""
    n = len(card.weights_files) if weights == BUNDLED else 1
    if members == ALL_MEMBERS:
        return tuple(range(max(1, n)))
    if weights != BUNDLED:
        raise ConfigError(
            f"model.members is {members}, but model.weights names weights that are not the package's; remove one of "
            "the two"
        )
    if not 0 <= members < n:
        raise ConfigError(
            f"model.members is {members}, and model {package.location} has the weights of {n} members, counted from 0; "
            "give one of them, or 'all'"
        )
    return (members,)


def _resolve_weights(package: ModelPackage, card: ModelCard, weights: str, members: tuple[int, ...]) -> tuple[str, str]:
    """Return the `weights` and the `weights_digest` of a spec."""
    if seed_of(weights) is not None:
        return weights, hashlib.sha256(weights.encode()).hexdigest()
    if weights == BUNDLED:
        if not card.weights_files:
            raise WeightsError(
                f"the package of model {package.location} holds no weights ({card.limitations}) Set model.weights to "
                "the path of a checkpoint of yours, or to seed:0 (pseudo-random weights, to try things out)"
            )
        files = [card.weights_files[member] for member in members]
        for file in files:
            path = checked_weights_path(package, file)
            if "/" in package.location:  # the bundled checkpoints are known to be sound
                refuse_no_checkpoint(path)
                _refuse_other_network(path, f"{file.file} of model {package.location}", card)
        return BUNDLED, ensemble_digest([file.sha256 for file in files])
    path = expand_home(weights)
    if weights.startswith("seed:"):
        raise ConfigError(
            f"model.weights is {shown_value(weights)}; a seed is a number of up to six digits, such as seed:0"
        )
    if not path.is_file():
        is_address = "://" in weights  # It may hold a password.
        shown = "at this address" if is_address else f"{weights}{start_of(weights)}"
        raise WeightsError(
            f"model.weights: there is no file {shown}; give a checkpoint's path (on a disk, not "
            "on S3), 'bundled' or 'seed:N'"
        )
    digest = file_digest(path)
    refuse_no_checkpoint(path)
    _refuse_other_network(path, "model.weights", card)
    return str(path.resolve()), digest


def _refuse_other_network(path: Path, what: str, card: ModelCard) -> None:
    """Raise an error unless a checkpoint fits the network that a card describes; see `matching`."""
    from diagchd_batch.model.weights.matching import refuse_other_network  # h5py, which bundled weights do not need

    widths = {name: load_card(name).architecture.width_factor for name in bundled_models()}
    refuse_other_network(path, what, card.name, widths | {card.name: card.architecture.width_factor})


def _refuse_unknown(what: str, identifier: str, known: tuple[str, ...], package: ModelPackage) -> None:
    if identifier not in known:
        raise ConfigError(
            f"the {what} of model {package.location} is {shown_value(identifier)}, and this version knows "
            f"{', '.join(known)}; update the program"
        )
