"""Whether this Python can run the package. Imports nothing that a node may lack."""

import importlib.util
import os
import sys

from diagchd_batch.process.import_path import shadowed_library

PYTHON_FROM = (3, 11)
PACKAGES = (
    *("boto3", "dicomweb_client", "duckdb", "h5py", "highdicom", "imagecodecs", "jinja2", "jpeg_ls", "keras", "numpy"),
    *("openjpeg", "pandas", "PIL", "pyarrow", "pydantic", "pydicom", "pylibjpeg", "ray", "requests", "rich", "rle"),
    *("scipy", "sklearn", "statsmodels", "tenacity", "tensorflow", "typer", "xlsxwriter", "yaml"),
)
"""The import names of this package's dependencies. The package itself is sent with each job."""

_REMEDY = "build the nodes' image from deploy/Dockerfile, or install diagchd-batch's dependencies there"


def unsuitable_node() -> str:
    """Return why this Python cannot run the package, with the remedy, or an empty string if it can."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_FROM:
        return "Python {} is too old, {}.{} is needed; {}".format(found, *PYTHON_FROM, _REMEDY)
    missing = [name for name in PACKAGES if not _is_installed(name)]
    if missing:
        return "its Python {} lacks {}; {}".format(found, ", ".join(missing), _REMEDY)
    environ = dict(os.environ)  # before the import below, which removes variables
    from diagchd_batch.model.pinned_settings import setting_read_too_early

    return shadowed_library(environ) or setting_read_too_early(environ)


def _is_installed(name: str) -> bool:
    """Return whether a package can be imported. A directory that an uninstallation left behind has no origin."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
