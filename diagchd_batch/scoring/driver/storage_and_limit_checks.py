"""Checks before a run begins, so that it is refused at once instead of failing in the night."""

import os
import shutil
from pathlib import Path

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import LimitsConfig
from diagchd_batch.errors import ConfigError, StorageFault
from diagchd_batch.results.datasets import OutputTrees
from diagchd_batch.sources import Source
from diagchd_batch.sources.checks import check_readable
from diagchd_batch.storage import Store
from diagchd_batch.storage.checks import check_create_if_absent
from diagchd_batch.uris import is_local_path, normalize_uri

BYTES_PER_IMAGE = 16_000
"""Scores, masks, predictions and sources on disk. Measured: 4 to 12 kB an image with a reference mask."""


def check_places(input_storage: Source, output: Store, private: Store) -> None:
    """Check that the input can be read, and that output and private tree refuse a second create of one key.

    Args:
        input_storage: The archive.
        output: The output.
        private: The private tree.

    Raises:
        DiagchdBatchError: One of them cannot be used.
    """
    check_readable(input_storage)
    check_create_if_absent(private, output_layout.RUNS_PREFIX)
    check_create_if_absent(output, output_layout.RUNS_PREFIX)


def check_writable(output: OutputTrees) -> None:
    """Refuse local places that cannot be written, without writing. Other stores are tried when a run begins.

    Args:
        output: The output with its private tree.

    Raises:
        ConfigError: The error of `check_place_is_writable`.
    """
    check_place_is_writable("output.uri", output.storage.uri)
    check_place_is_writable("output.private_uri", output.private.uri)


def check_place_is_writable(name: str, uri: str) -> None:
    """Refuse a local place that cannot be written, without writing. A URI of another storage is not checked.

    Rights alone do not tell: a disk may be full, and ``/proc``, where root may write by its rights, has no room.

    Args:
        name: The key of the job file.
        uri: The place.

    Raises:
        ConfigError: The place or the directory that it would be made in is no directory, has no room, or may not be
            written by this user.
    """
    if not is_local_path(uri):
        return
    place = Path(normalize_uri(uri))
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir():
        raise ConfigError(f"{name}: {place} is no directory, so {uri} cannot be written; name another place")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ConfigError(
            f"{name}: this user may not write in {place}; change its rights, or name another place for {name}"
        )
    if not shutil.disk_usage(place).free:
        raise ConfigError(f"{name}: there is no room in {place}; free some, or name another place for {name}")


def check_limits(limits: LimitsConfig) -> None:
    """Refuse limits under which a worker could be taken for stalled while it waits as long as it may.

    Args:
        limits: The job's `limits` block.

    Raises:
        ConfigError: `stall_timeout_s` does not exceed `decode_timeout_s` and `object_timeout_s`.
    """
    for name in ("decode_timeout_s", "object_timeout_s"):
        if limits.stall_timeout_s <= getattr(limits, name):
            raise ConfigError(
                f"limits.stall_timeout_s ({limits.stall_timeout_s:g}) must exceed limits.{name} "
                f"({getattr(limits, name):g}); raise the first or lower the second"
            )


def check_space(output: Store, n_images: int) -> None:
    """Refuse an output on a disk that has no room for the results. Other stores are not checked.

    Args:
        output: The output.
        n_images: Images that will be scored.

    Raises:
        StorageFault: The disk has too little free space.
    """
    if not is_local_path(output.uri):
        return
    needed, free = n_images * BYTES_PER_IMAGE, shutil.disk_usage(_nearest_directory(Path(output.uri))).free
    if free < needed:
        raise StorageFault(
            f"{output.uri} has {free / 1e9:.1f} GB free, {n_images:,} images need about {needed / 1e9:.1f} GB; "
            "free some space or choose another output.uri"
        )


def _nearest_directory(path: Path) -> Path:
    return path if path.is_dir() else _nearest_directory(path.parent)
