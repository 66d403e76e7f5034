"""Finds the files that travel with the package: ready job files, model cards and weights, jobs, the sample cohort."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def bundled_path(relative: str) -> Path:
    """Return the path of a bundled file or directory.

    In an installation these files lie inside the package (``bundled_files/``), in a checkout beside it.

    Args:
        relative: The path below those directories, such as ``configs/models/diagchd-compact/card.json``.

    Raises:
        FileNotFoundError: Neither place has it. The message names both.
    """
    candidates = (_PACKAGE / "bundled_files" / relative, _PACKAGE.parent / relative)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    places = " nor ".join(str(candidate) for candidate in candidates)
    raise FileNotFoundError(
        f"{relative} is not part of this installation: neither {places} exists; reinstall the package"
    )
