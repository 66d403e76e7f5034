"""Versions of the packages that results may depend on."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from diagchd_batch import __version__

RECORDED_PACKAGES = ("tensorflow", "keras", "ray", "numpy", "scipy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """Return the versions, by name, of Python, of this package and of the installed RECORDED_PACKAGES."""
    versions = {"python": platform.python_version(), "diagchd-batch": __version__}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions["platform"] = sys.platform
    return versions


def version_differences(expected: Mapping[str, str]) -> str:
    """Return how this node's versions differ from the driver's, with the remedy, or an empty string if they do not.

    Args:
        expected: The driver's `package_versions`.
    """
    here = _relevant(package_versions())
    differing = [
        f"{name} {here.get(name, 'none')} instead of {version}"
        for name, version in _relevant(expected).items()
        if here.get(name) != version
    ]
    if not differing:
        return ""
    return (
        f"it has {', '.join(differing)}, so its results might differ from those of the other nodes; give all nodes "
        "the same image (deploy/Dockerfile), or remove this node"
    )


def _relevant(versions: Mapping[str, str]) -> dict[str, str]:
    """Drop Python's patch version, which changes no result."""
    return {**versions, "python": ".".join(versions["python"].split(".")[:2])}
