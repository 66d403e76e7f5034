"""Reads the cached images of a run by their row. Memory does not depend on the number of images."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.fs

from diagchd_batch.errors import RunFault
from diagchd_batch.process.scratch_files import scratch_faults
from diagchd_batch.storage import Store
from diagchd_batch.training.image_cache.cached_part import (
    CacheSettings,
    PartRecord,
    images_key,
    masks_key,
    record_key,
)

_FETCHED_BYTES = 64 << 20


class ImageCache:
    """The frames of a run on the model's grid. A row is a frame; rows are in the order of the plan.

    Pixels are read from files when they are asked for. Several threads may ask at once.

    Attributes:
        settings: How the images got onto the grid.
        image_ids: str ``[n]``, tokens of the image files.
        frames: int32 ``[n]``, numbers of the frames in their files, from 0.
        has_mask: bool ``[n]``, whether there is a usable mask.
        picture_digests: str ``[n]``, digest of each image's pixels on the grid.
        failed: Token of an image file -> codes of its frames and masks that could not be used.
    """

    def __init__(
        self, settings: CacheSettings, records: Sequence[PartRecord], paths: Sequence[tuple[Path, Path]]
    ) -> None:
        """Join parts to one cache.

        Args:
            settings: How the images got onto the grid.
            records: The record of each part.
            paths: The files of each part's images and masks.
        """
        self.settings = settings
        self.image_ids = np.array([one for record in records for one in record.image_ids], str)
        self.frames = np.array([one for record in records for one in record.frames], np.int32)
        self.has_mask = np.array([one for record in records for one in record.has_mask], bool)
        self.picture_digests = np.array([one for record in records for one in record.picture_digests], str)
        self.failed = {image: codes for record in records for image, codes in record.failed.items()}
        self._paths = paths
        self._part_ends = np.cumsum([len(record.frames) for record in records])
        self._rows = np.arange(len(self.frames))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def frames_of_images(self) -> dict[str, tuple[int, ...]]:
        """Return the decoded frames of each image file by its token. A file that gave none has an empty tuple."""
        found: dict[str, list[int]] = {image: [] for image in self.failed}
        for image, frame in zip(self.image_ids.tolist(), self.frames.tolist(), strict=True):
            found.setdefault(image, []).append(frame)
        return {image: tuple(frames) for image, frames in found.items()}

    def take(self, image_ids: np.ndarray, frames: np.ndarray) -> "ImageCache":
        """Return the same cache with other rows, such as those of a cohort in its order.

        Args:
            image_ids: str ``[m]``, tokens of the image files.
            frames: int ``[m]``, numbers of the frames.

        Raises:
            RunFault: The cache has no such frame.
        """
        place = {key: row for row, key in enumerate(zip(self.image_ids.tolist(), self.frames.tolist(), strict=True))}
        try:
            rows = np.array([place[key] for key in zip(image_ids.tolist(), frames.tolist(), strict=True)], np.int64)
        except KeyError as error:
            raise RunFault(
                f"the cache of training images has no frame {error.args[0][1]} of image {error.args[0][0]}; delete "
                "training_cache in the private tree, then give the same command again"
            ) from None
        taken = ImageCache(self.settings, (), self._paths)
        taken.image_ids, taken.frames = self.image_ids[rows], self.frames[rows]
        taken.has_mask, taken.picture_digests = self.has_mask[rows], self.picture_digests[rows]
        taken.failed, taken._part_ends, taken._rows = self.failed, self._part_ends, self._rows[rows]
        return taken

    def images(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 ``[len(rows), height, width, 3]``.

        Args:
            rows: Rows of this cache, in any order.

        Raises:
            RunFault: A file of the cache is gone or cut off.
        """
        return self._read(0, rows, (self.settings.height, self.settings.width, 3))

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Return uint8 ``[len(rows), height, width]``, zeros where there is no mask. See `images`."""
        return self._read(1, rows, (self.settings.height, self.settings.width))

    def _read(self, kind: int, rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        pixels = np.empty((len(rows), *shape), np.uint8)
        stored = self._rows[rows]
        parts = np.searchsorted(self._part_ends, stored, side="right")
        for part in np.unique(parts):
            path = self._paths[part][kind]
            start = self._part_ends[part - 1] if part else 0
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except OSError as error:
                raise _gone(path) from error
            try:
                for position in np.flatnonzero(parts == part):
                    target = memoryview(pixels[position]).cast("B")
                    if os.preadv(descriptor, [target], int(stored[position] - start) * len(target)) != len(target):
                        raise _gone(path)
            finally:
                os.close(descriptor)
        return pixels


def open_cache(private: Store, settings: CacheSettings, parts: Sequence[str], directory: Path) -> ImageCache:
    """Return the cache that consists of some parts.

    Args:
        private: The private tree.
        settings: How the images got onto the grid.
        parts: The names of the parts, in the order of the plan, from `build_cache`.
        directory: Where parts are fetched to if the private tree is not a directory of this machine.

    Raises:
        RunFault: A part is gone, or cannot be fetched.
    """
    records, paths = [], []
    for part in parts:
        record = PartRecord.read(private, record_key(part))
        if record is None:
            raise _gone(record_key(part))
        records.append(record)
        paths.append((_local(private, images_key(part), directory), _local(private, masks_key(part), directory)))
    return ImageCache(settings, records, paths)


def _local(private: Store, key: str, directory: Path) -> Path:
    """Return the path of an object on this machine, and fetch the object first if it is elsewhere."""
    file_system, root = private.arrow()
    if isinstance(file_system, pyarrow.fs.LocalFileSystem):
        return Path(root) / key
    path = directory / key
    info = private.stat(key)
    if info is None or info.size_bytes is None:
        raise _gone(key)
    if path.exists() and path.stat().st_size == info.size_bytes:
        return path
    with scratch_faults():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".unfinished")
        with unfinished.open("wb") as file:
            for start in range(0, info.size_bytes, _FETCHED_BYTES):
                file.write(private.read_range(key, start, min(_FETCHED_BYTES, info.size_bytes - start)))
        unfinished.replace(path)
    return path


def _gone(place: object) -> RunFault:
    return RunFault(
        f"{place} of the cache of training images is gone or cut off; give the same command again to decode its images "
        "again (delete the directory of the file first, if it is still there)"
    )
