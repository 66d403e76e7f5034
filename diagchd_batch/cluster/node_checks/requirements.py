"""Whether this Python can run the package. Imports nothing that may be missing."""

import importlib.util
import sys

PYTHON_FROM = (3, 11)
PACKAGES = (
    *("boto3", "duckdb", "h5py", "jinja2", "keras", "numpy", "pandas", "PIL", "pyarrow", "pydantic", "ray", "rich"),
    *("scipy", "sklearn", "statsmodels", "tensorflow", "typer", "yaml"),
)
"""What this package imports, by the names it imports them by; itself it is shipped with a job."""

_REMEDY = "build the nodes' image from deploy/Dockerfile, or install diagchd-batch's dependencies there"


def unfit() -> str:
    """What keeps this Python from running the package, with the remedy; empty where nothing does."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < PYTHON_FROM:
        return "Python {} is too old, {}.{} is needed; {}".format(found, *PYTHON_FROM, _REMEDY)
    missing = [name for name in PACKAGES if not _is_there(name)]
    if missing:
        return "its Python {} lacks {}; {}".format(found, ", ".join(missing), _REMEDY)
    return ""


def _is_there(name: str) -> bool:
    """A directory that an uninstallation left behind is not a package."""
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None
