"""Versions of what results may depend on."""

import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

from diagchd_batch import __version__

RECORDED_PACKAGES = ("tensorflow", "keras", "ray", "numpy", "scipy", "pillow", "pyarrow")


def package_versions() -> dict[str, str]:
    """Of Python and of the packages that results may depend on."""
    versions = {"python": platform.python_version(), "diagchd-batch": __version__}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    versions["platform"] = sys.platform
    return versions


def version_differences(expected: Mapping[str, str]) -> str:
    """What differs here from the driver's `package_versions`, with the remedy; empty where nothing does."""
    here = _deciding(package_versions())
    differing = [
        f"{name} {here.get(name, 'none')} instead of {version}"
        for name, version in _deciding(expected).items()
        if here.get(name) != version
    ]
    if not differing:
        return ""
    return (
        f"it has {', '.join(differing)}, so that its results might differ from those of the others; give all nodes one "
        "image (deploy/Dockerfile), or take this one out, then give the same command again"
    )


def _deciding(versions: Mapping[str, str]) -> dict[str, str]:
    """Python's third number changes no result."""
    return {**versions, "python": ".".join(versions["python"].split(".")[:2])}
