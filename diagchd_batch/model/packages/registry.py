"""Finds the model package that `model.name` names: a bundled one, a directory, or an S3 prefix.

A new kind of place for packages is one module and one line in `PACKAGES`.
"""

from pathlib import Path

from diagchd_batch.errors import ConfigError
from diagchd_batch.model.card import ModelCard, parse_card
from diagchd_batch.model.packages.bundled import bundled_models, bundled_package
from diagchd_batch.model.packages.directory import DirectoryPackage
from diagchd_batch.model.packages.package import ModelPackage
from diagchd_batch.sources.registry import class_for
from diagchd_batch.uris import is_local_path, normalize_uri, start_of
from diagchd_batch.wording import shortened

PACKAGES: dict[str, str] = {"s3": "diagchd_batch.model.packages.s3:S3Package"}
"""The class of each URI scheme, as ``module:class``.

A class is imported when its scheme is first used, because boto3 takes long to import. It is called with the normalised
URI and must implement `ModelPackage`. Names without a scheme are bundled models and directories.
"""


def package_location(name: str) -> str:
    """Return the location that `model.name` means on every machine: a bundled name, an absolute path or an S3 URI.

    A name with a slash is a path or a URI; a relative path is taken from the working directory.
    """
    return normalize_uri(name) if "/" in name else name


def find_package(name: str) -> ModelPackage:
    """Return the model package that `model.name` names. Nothing of it is read yet.

    Args:
        name: A bundled name, a path with a slash in it (``./mine``), or ``s3://bucket/prefix``.

    Raises:
        ConfigError: There is no bundled model of that name, or no such directory.
    """
    location = package_location(name)
    if not is_local_path(location):
        package: ModelPackage = class_for(location, PACKAGES)(location)
        return package
    if "/" in location and Path(location).is_dir():
        return DirectoryPackage(location, Path(location))
    known = bundled_models()
    if "/" in location:
        raise ConfigError(
            f"there is no directory {shortened(name, 300)!r}{start_of(name)}, which model.name names; choose one of "
            f"{', '.join(known)}, or give the path of a package directory or s3://bucket/prefix"
        )
    if location not in known:
        raise ConfigError(
            f"there is no model {shortened(name, 300)!r}; choose one of {', '.join(known)}, or give the path of a "
            "package directory (with a slash in it: ./mine) or s3://bucket/prefix"
        )
    return bundled_package(location)


def load_card(name: str) -> ModelCard:
    """Return the card of the model package that `model.name` names.

    Raises:
        ConfigError: There is no such package, or its card is damaged.
        StorageFault: The storage of the package cannot be reached.
    """
    package = find_package(name)
    return parse_card(package.read_card(), package.location)
