"""The protocol of a model package: a card, and the files of its weights."""

import hashlib
from pathlib import Path
from typing import Protocol

from diagchd_batch.errors import WeightsError
from diagchd_batch.model.card import WeightsFile

CARD = "card.json"
"""The name of the card's file in a package."""

MAX_CARD_BYTES = 1 << 20

MAX_EXTRA_BYTES = 256 << 20
"""The largest size of another file beside the card. The view check of ten members of the full design takes 20 MB."""


class ModelPackage(Protocol):
    """A directory, or an S3 prefix, with a card and the files of the weights. Nothing in it is ever executed."""

    @property
    def location(self) -> str:
        """A bundled name, an absolute path or an S3 URI. Every node finds the package by it."""
        ...

    def read_card(self) -> bytes:
        """Return the bytes of the card.

        Raises:
            ConfigError: There is no card, so this is no model package.
            StorageFault: The storage of the package cannot be reached.
        """
        ...

    def read_optional(self, name: str) -> bytes | None:
        """Return the bytes of a small file beside the card, or None if the package does not have it.

        Args:
            name: The file's name, such as ``view_check.json``.

        Raises:
            ConfigError: The file cannot be read, or is larger than `MAX_EXTRA_BYTES`.
            StorageFault: The storage of the package cannot be reached.
        """
        ...

    def weights_path(self, weights: WeightsFile) -> Path:
        """Return the path of a weights file on this machine, and fetch it first if necessary.

        The content of a local file is not checked here; see `checked_weights_path`.

        Raises:
            WeightsError: The package does not hold the file, or holds another content.
            StorageFault: The storage of the package cannot be reached.
        """
        ...


def checked_weights_path(package: ModelPackage, weights: WeightsFile) -> Path:
    """Return the path of a weights file on this machine, after comparing its digest with the card's.

    Args:
        package: The model package.
        weights: The file that the package's card describes.

    Raises:
        WeightsError: The file cannot be read, or is not the one that the card describes.
        StorageFault: The storage of the package cannot be reached.
    """
    path = package.weights_path(weights)
    if file_digest(path) != weights.sha256:
        raise WeightsError(
            f"the weights {weights.file} of model {package.location} ({path}) are not those of its card; restore the "
            "file, or reinstall a bundled model"
        )
    return path


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a weights file, as 64 hexadecimal digits.

    Raises:
        WeightsError: The file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"the weights {path} cannot be read: {error.strerror}") from error
