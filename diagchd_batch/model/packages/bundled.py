"""Model packages that are installed with this program, one directory a model under `configs/models/`."""

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.model.packages.directory import DirectoryPackage
from diagchd_batch.model.packages.package import CARD

_MODELS = "configs/models"


def bundled_models() -> list[str]:
    """Return the names of the bundled models, in alphabetical order."""
    return sorted(path.parent.name for path in bundled_path(_MODELS).glob(f"*/{CARD}"))


def bundled_package(name: str) -> DirectoryPackage:
    """Return the bundled package `name`. Its location is the name, because each machine has its own copy."""
    return DirectoryPackage(name, bundled_path(f"{_MODELS}/{name}"))
