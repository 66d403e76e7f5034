"""Model packages in a directory of this machine."""

from dataclasses import dataclass
from pathlib import Path

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.card import WeightsFile
from diagchd_batch.model.packages.package import CARD, MAX_CARD_BYTES, MAX_EXTRA_BYTES


@dataclass(frozen=True, slots=True)
class DirectoryPackage:
    """A `ModelPackage` in a directory. On a cluster every node must have it at the same path.

    Attributes:
        location: What records of a run and messages call the package.
        directory: Where it lies on this machine.
    """

    location: str
    directory: Path

    def read_card(self) -> bytes:
        """See `ModelPackage.read_card`."""
        try:
            with (self.directory / CARD).open("rb") as file:
                return file.read(MAX_CARD_BYTES)
        except OSError as error:
            raise ConfigError(
                f"model.name: {self.location} is no model package: its {CARD} cannot be read ({error.strerror}); give "
                "the directory that holds the card and the weights"
            ) from error

    def read_optional(self, name: str) -> bytes | None:
        """See `ModelPackage.read_optional`."""
        try:
            with (self.directory / name).open("rb") as file:
                data = file.read(MAX_EXTRA_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{name} of model {self.location} cannot be read: {error.strerror}") from error
        if len(data) > MAX_EXTRA_BYTES:
            raise ConfigError(f"{name} of model {self.location} is larger than {MAX_EXTRA_BYTES:,} bytes; restore it")
        return data

    def weights_path(self, weights: WeightsFile) -> Path:
        """See `ModelPackage.weights_path`."""
        return self.directory / weights.file
