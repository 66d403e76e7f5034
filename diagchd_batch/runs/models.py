"""`models`: lists, shows, checks and copies model packages. Nothing in a package is executed."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from diagchd_batch.errors import DiagchdBatchError, UsageError
from diagchd_batch.model import view_check
from diagchd_batch.model.card import ModelCard, WeightsFile, parse_card
from diagchd_batch.model.packages.bundled import bundled_models
from diagchd_batch.model.packages.package import CARD, ModelPackage, checked_weights_path
from diagchd_batch.model.packages.registry import find_package
from diagchd_batch.model.spec import BUNDLED, load_view_check, resolve_model
from diagchd_batch.process.native_stderr import native_stderr_silenced
from diagchd_batch.storage import Store, open_store
from diagchd_batch.wording import counted

OPTIONAL_FILES = (view_check.FILE, "operating_points.json", "calibration.json", "evaluation.json")
"""The files that a package may have besides its card and its weights."""


@dataclass(frozen=True, slots=True)
class PackageFile:
    """One file of a package: its name in the package, its SHA-256 in hexadecimal, and its size in bytes."""

    name: str
    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """A model package.

    Attributes:
        location: A bundled name, an absolute path or an S3 URI.
        card: Its card.
        files: Card, weights and further files. The digests of weights are those that the card states.
        has_view_check: Whether it has a view check, so that scores say which images are evaluable.
    """

    location: str
    card: ModelCard
    files: tuple[PackageFile, ...]
    has_view_check: bool


@dataclass(frozen=True, slots=True)
class ModelCheck:
    """One thing that `check_model` looked at, and what is wrong with it; empty if nothing is."""

    what: str
    problem: str


def list_models(names: Sequence[str] = ()) -> list[ModelDetails]:
    """Describe packages.

    Args:
        names: What `model.name` of a job may be; by default the bundled models.

    Raises:
        ConfigError: A package is unknown, or its card is damaged.
        StorageFault: The storage of a package cannot be reached.
    """
    return [show_model(name) for name in names or bundled_models()]


def show_model(name: str) -> ModelDetails:
    """Describe a package by its card. Its weights are not read.

    Args:
        name: What `model.name` of a job may be: a bundled name, a path with a slash in it, or ``s3://bucket/prefix``.

    Raises:
        ConfigError: There is no such package, or its card is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    package = find_package(name)
    content = package.read_card()
    card = parse_card(content, package.location)
    small = {CARD: content} | _optional_files(package)
    files = [*(_described(file, data) for file, data in small.items()), *map(_stated, card.weights_files)]
    return ModelDetails(package.location, card, tuple(files), view_check.FILE in small)


def check_model(name: str) -> list[ModelCheck]:
    """Check that a package can score: design, digests, view check, and that the weights of every member load.

    Args:
        name: As for `show_model`.

    Returns:
        What was checked, in this order, each with its problem. A package without weights has one problem.

    Raises:
        ConfigError: There is no such package, or its card is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    package = find_package(name)
    card = parse_card(package.read_card(), package.location)
    checks = [ModelCheck("card.json", "")]
    if not card.weights_files:
        return [*checks, ModelCheck("weights", "the package holds none")]
    for file in card.weights_files:
        checks.append(_checked(file.file, partial(checked_weights_path, package, file)))
    checks.append(_checked("architecture and view check", lambda: resolve_model(name, BUNDLED, "float32")))
    if not any(check.problem for check in checks):
        checks += [
            _checked(f"member {member} loads", partial(_load_member, name, member))
            for member in range(len(card.weights_files))
        ]
    return checks


def copy_model(name: str, destination: str) -> ModelDetails:
    """Copy a package to a new directory or S3 prefix, and compare the digest of every file that was written.

    The card is written last, so that an interrupted copy is no package. The same command goes on with it.

    Args:
        name: As for `show_model`.
        destination: A directory or ``s3://bucket/prefix`` that is new, empty, or holds a part of the same package.

    Returns:
        The copy.

    Raises:
        ConfigError: There is no such package, or its card is damaged.
        WeightsError: A weights file is missing, or is not the one that the card describes.
        UsageError: The destination holds other files.
        StorageFault: A storage cannot be reached, or what was written is not what is read back.
    """
    package = find_package(name)
    card_bytes = package.read_card()
    card = parse_card(card_bytes, package.location)
    store = open_store(destination)
    optional = _optional_files(package)
    names = {file.file for file in card.weights_files} | {CARD, *optional}
    if others := sorted({info.key for info in store.list("")} - names):
        raise UsageError(
            f"{destination} holds {counted(len(others), 'other file')}, such as {others[0]}; name a new directory or "
            "prefix for the package"
        )
    for file in card.weights_files:
        _put(store, file.file, checked_weights_path(package, file).read_bytes(), destination)
    for file_name, data in optional.items():
        _put(store, file_name, data, destination)
    _put(store, CARD, card_bytes, destination)
    return show_model(destination if "/" in destination else f"./{destination}")


def _put(store: Store, key: str, data: bytes, destination: str) -> None:
    """Write one file unless it is there, and compare what lies there then."""
    store.create(key, data)
    if hashlib.sha256(store.read(key)).digest() != hashlib.sha256(data).digest():
        raise UsageError(f"{key} in {destination} is not the package's; name a new directory or prefix for the package")


def _optional_files(package: ModelPackage) -> dict[str, bytes]:
    found = ((name, package.read_optional(name)) for name in OPTIONAL_FILES)
    return {name: data for name, data in found if data is not None}


def _described(name: str, data: bytes) -> PackageFile:
    return PackageFile(name, hashlib.sha256(data).hexdigest(), len(data))


def _stated(file: WeightsFile) -> PackageFile:
    return PackageFile(file.file, file.sha256, file.size_bytes)


def _checked(what: str, check: Callable[[], object]) -> ModelCheck:
    try:
        check()
    except DiagchdBatchError as error:
        return ModelCheck(what, str(error))
    return ModelCheck(what, "")


def _load_member(name: str, member: int) -> None:
    spec = resolve_model(name, BUNDLED, "float32", member)
    load_view_check(spec)
    with native_stderr_silenced():
        from diagchd_batch.model.runtimes.tensorflow.compiled import load_network

        load_network(spec)
