"""Keeps this program from importing what lies in the working directory or shadows a library on PYTHONPATH.

A folder of a study archive may hold a file `h5py.py`. Python would execute it instead of the library wherever the
working directory is on the import path: for `python -m`, for an empty entry of PYTHONPATH, and in Ray's workers.

A cluster's node imports this module before anything is known of its Python, so it needs only the standard library.
"""

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.metadata import Distribution

PACKAGE_PARENT = Path(__file__).resolve().parents[2]
"""The directory that holds the package `diagchd_batch`."""

_PROGRAM = "diagchd-batch"
_OWN_MODULES = ("diagchd_batch", "diagchd_batch.__main__")
_OWN_MODULE_PREFIXES = ("jobs.", "diagchd_batch.bundled_files.jobs.")
_JOB_DIRECTORIES = (PACKAGE_PARENT / "jobs", PACKAGE_PARENT / "diagchd_batch" / "bundled_files" / "jobs")
_USAGE_ERROR = 2  # a number, because an older Python cannot import ExitCode


def protect_own_program() -> None:
    """Protect the imports of this process if it is the command line or a job, and not a notebook or another program.

    The working directory is taken off the import path, unless it holds this package. The processes that this one starts
    get the same protection from the environment.

    Raises:
        SystemExit: A file on PYTHONPATH would be imported instead of a library; a message on stderr names it.
    """
    if not _is_own_program():
        return
    sys.path[:] = [entry for entry in sys.path if not _is_untrusted(entry, os.environ)]
    os.environ.update(protected_environment(os.environ))
    if problem := shadowed_library(os.environ):
        print(f"error: {problem}, then give the same command again", file=sys.stderr)
        sys.exit(_USAGE_ERROR)


def protected_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that keep a Python process from importing from its working directory.

    Args:
        environ: The environment variables that the process would get otherwise.
    """
    changed = {"PYTHONSAFEPATH": "1"}
    if environ.get("PYTHONPATH"):
        changed["PYTHONPATH"] = os.pathsep.join(_entries(environ))
    return changed


def shadowed_library(environ: Mapping[str, str]) -> str:
    """Return what a module on PYTHONPATH does to a library, with the remedy, or an empty string.

    A module shadows a library if an installed library, or one of Python's own, has the same name. An entry of
    PYTHONPATH may hold libraries themselves, as on machines with environment modules: these have metadata beside them.

    Args:
        environ: The environment variables.
    """
    if not environ.get("PYTHONPATH"):
        return ""
    import pkgutil  # here and below: the program answers --help sooner without them

    entries = [entry for entry in _entries(environ) if entry in sys.path and not _is_trusted(entry)]
    for entry in entries:
        later = [other for other in sys.path[sys.path.index(entry) + 1 :] if other not in entries]
        installed_here = None
        for module in pkgutil.iter_modules([entry]):
            if module.name == __package__.partition(".")[0] or not _is_library(module.name, later):
                continue
            installed_here = _installed_names(entry) if installed_here is None else installed_here
            if module.name not in installed_here:
                return (
                    f"PYTHONPATH names {entry}, where a module {module.name} would be imported instead of the library "
                    f"{module.name}; remove that directory from PYTHONPATH"
                )
    return ""


def _is_own_program() -> bool:
    first = sys.argv[0] if sys.argv else ""
    if first == "-m":  # while `python -m` looks for the module, it imports the packages that hold it
        words = getattr(sys, "orig_argv", [])
        module = words[words.index("-m") + 1] if "-m" in words[:-1] else ""
        return module in _OWN_MODULES or module.startswith(_OWN_MODULE_PREFIXES)
    path = Path(os.path.realpath(first))
    return path.name == _PROGRAM or path.parent in _JOB_DIRECTORIES


def _is_untrusted(entry: str, environ: Mapping[str, str]) -> bool:
    """Return whether an entry of the import path is the working directory, and nobody named it by its full path."""
    if entry and Path(os.path.realpath(entry)) in (PACKAGE_PARENT, *_JOB_DIRECTORIES):
        return False
    try:
        working_directory = str(Path.cwd())
    except OSError:  # it was removed
        return not entry
    return entry in ("", ".") or (entry == working_directory and entry not in _entries(environ))


def _entries(environ: Mapping[str, str]) -> list[str]:
    """Return the entries of PYTHONPATH as absolute paths, without those that mean the working directory."""
    named = environ.get("PYTHONPATH", "").split(os.pathsep)
    return [str(Path(entry).absolute()) for entry in named if entry and os.path.normpath(entry) != os.curdir]


def _is_trusted(entry: str) -> bool:
    """Return whether an entry holds this package, Python's own library or the installed libraries."""
    import sysconfig

    own = {os.path.realpath(path) for path in sysconfig.get_paths().values()}
    path = os.path.realpath(entry)
    return path == str(PACKAGE_PARENT) or path in own or Path(path).parent == Path(sysconfig.get_paths()["stdlib"])


def _is_library(name: str, import_path: list[str]) -> bool:
    if name in getattr(sys, "stdlib_module_names", ()):
        return True
    import importlib.machinery

    spec = importlib.machinery.PathFinder.find_spec(name, import_path)
    return spec is not None and spec.origin is not None


def _installed_names(entry: str) -> set[str]:
    """Return the top-level modules of the libraries whose metadata lies in a directory."""
    import importlib.metadata

    return {name for found in importlib.metadata.distributions(path=[entry]) for name in _top_level_names(found)}


def _top_level_names(distribution: "Distribution") -> Iterator[str]:
    yield from (distribution.read_text("top_level.txt") or "").split()
    for path in distribution.files or ():
        yield path.parts[0].partition(".")[0]
