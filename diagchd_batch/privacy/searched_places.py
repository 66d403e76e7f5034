"""The places that `privacy check` searches: the public tree of an output, and what Ray has on this machine's disk."""

import os
from collections.abc import Iterator
from pathlib import Path

from diagchd_batch.process.owner_only_directory import directories_of_this_user
from diagchd_batch.results.datasets import OutputTrees


def public_keys(output: OutputTrees) -> list[str]:
    """Return the keys of all files of an output outside its private tree, sorted.

    Args:
        output: The output.
    """
    root = output.storage.uri.rstrip("/") + "/"
    private = output.private.uri.rstrip("/") + "/"
    inside = private.removeprefix(root) if private.startswith(root) else None
    keys = (info.key for info in output.storage.list())
    return sorted(key for key in keys if inside is None or not key.startswith(inside))


def ray_files() -> Iterator[tuple[Path, Path]]:
    """Yield the files of local Rays of this user that run, or that a killed process left, with Ray's directory."""
    for directory in directories_of_this_user():
        for folder, _, names in os.walk(directory / "ray"):
            for name in sorted(names):
                path = Path(folder, name)
                if path.is_file() and not path.is_symlink():
                    yield directory, path
