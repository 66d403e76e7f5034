"""The directories that Ray's workers import from: the package's own, never the working directory of the driver."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from diagchd_batch.process.import_path import PACKAGE_PARENT

if TYPE_CHECKING:
    from ray.job_config import JobConfig


class _PackagePath(list[str]):
    """The list that Ray extends by the directory of the driver's script and the driver's working directory.

    This list takes the directory that holds the package instead: an archive's folder may hold a file `h5py.py`. Ray
    extends nothing for a job that brings its own directory with the package.
    """

    def extend(self, _directories: Iterable[str]) -> None:
        if PACKAGE_PARENT.name not in ("site-packages", "dist-packages"):
            super().extend([str(PACKAGE_PARENT)])


def job_config() -> "JobConfig":
    """Return the configuration with which a driver connects to Ray."""
    from ray.job_config import JobConfig

    config = JobConfig()
    config._py_driver_sys_path = _PackagePath()  # Ray has no public setting for it
    return config
