"""The pixels of two runs' masks of the same frames, counted by class. One group of shards is in memory at a time."""

import bisect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.results.columns import CLASSES
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.statistics.segmentation import PixelCounts
from diagchd_batch.storage import Store

_COLUMNS = ["study_id", "image_id", "frame", "mask_png"]
_DECODERS = 4
_N = len(CLASSES)

FrameKey = tuple[str, int]


@dataclass(frozen=True, order=True)
class ShardRange:
    """A score file, and the range of studies in it.

    Attributes:
        first_study: The lowest token of a study in the file.
        last_study: The highest.
        generation: The run's place in its lineage. Where files hold the same frame, the higher generation counts.
        run_id: The run.
        shard: The shard's number.
    """

    first_study: str
    last_study: str
    generation: int
    run_id: str
    shard: int


@dataclass(frozen=True)
class MaskPairs:
    """The frames that have a mask in both runs, sorted by study within each group of shards.

    Attributes:
        study_id: bytes [frames], the studies' tokens.
        image_id: bytes [frames], the images' tokens.
        frame: int64 [frames], the frame's number in its file, from 0.
        counts: int64 [frames, 3, 3], pixels by class of the first run and class of the second run.
    """

    study_id: np.ndarray
    image_id: np.ndarray
    frame: np.ndarray
    counts: np.ndarray

    def pixel_counts(self, classes: Sequence[int]) -> PixelCounts:
        """Count the pixels of a union of classes. The first run stands for the reference.

        Args:
            classes: Class numbers: 0 background, 1 septum, 2 heart.
        """
        both = self.counts[:, classes][:, :, classes].sum(axis=(1, 2))
        return PixelCounts(both, self.counts[:, classes].sum(axis=(1, 2)), self.counts[:, :, classes].sum(axis=(1, 2)))

    @property
    def changed_px(self) -> np.ndarray:
        """int64 [frames]: the number of pixels whose class differs between the runs."""
        return self.counts.sum(axis=(1, 2)) - np.trace(self.counts, axis1=1, axis2=2)


def compare_masks(storage: Store, first: Sequence[ShardRange], second: Sequence[ShardRange]) -> MaskPairs:
    """Count the pixels of every frame that has a mask in both runs.

    Shards hold contiguous ranges of studies, so only overlapping files have to be read together. Masks on different
    grids are compared on the finer one.

    Args:
        storage: The output.
        first: The score files of the first run's lineage.
        second: The score files of the second run's lineage.

    Returns:
        The frames that have a mask in both runs, with the pixels of each pair of classes.

    Raises:
        ItemError: A score file cannot be read.
    """
    parts = list(_pairs(storage, sorted(first), sorted(second)))
    if not parts:
        return MaskPairs(_tokens([]), _tokens([]), np.empty(0, np.int64), np.empty((0, _N, _N), np.int64))
    return MaskPairs(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _tokens(values: Sequence[str]) -> np.ndarray:
    return np.array(values, dtype="S18")  # a letter, a dash and 16 hex digits: a quarter of a string array's memory


def _confusion(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Count pixels by class of two label maps (uint8 [height, width]), as a flat 3 × 3 table."""
    if first.shape != second.shape:
        height, width = max(first.shape, second.shape, key=lambda shape: shape[0] * shape[1])
        first, second = (
            mask if mask.shape == (height, width) else resize_labels(mask, height, width) for mask in (first, second)
        )
    return np.bincount(_N * first.astype(np.int64).ravel() + second.ravel(), minlength=_N * _N)


def _confusion_of_pngs(pngs: tuple[bytes, bytes]) -> np.ndarray:
    return _confusion(*(decode_mask(png) for png in pngs))


_Columns = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _pairs(storage: Store, first: Sequence[ShardRange], second: Sequence[ShardRange]) -> Iterator[_Columns]:
    files = _Files(storage)
    starts = [shard.first_study for shard in second]
    with ThreadPoolExecutor(_DECODERS) as decoders:
        for group in _overlapping_groups(first):
            low, high = group[0].first_study, max(shard.last_study for shard in group)
            until = bisect.bisect_right(starts, high)
            others = [shard for shard in second[:until] if shard.last_study >= low]
            ours, theirs = files.masks(group), files.masks(others)
            shared = sorted(ours.keys() & theirs.keys())
            tables = list(decoders.map(_confusion_of_pngs, [(ours[key][1], theirs[key][1]) for key in shared]))
            if shared:
                yield (
                    _tokens([ours[key][0] for key in shared]),
                    _tokens([image for image, _ in shared]),
                    np.array([frame for _, frame in shared], dtype=np.int64),
                    np.stack(tables).reshape(-1, _N, _N),
                )


def _overlapping_groups(shards: Sequence[ShardRange]) -> Iterator[list[ShardRange]]:
    """Yield groups of files whose ranges overlap, as those of a lineage may. Files of one run never overlap."""
    group: list[ShardRange] = []
    for shard in shards:
        if group and shard.first_study > max(known.last_study for known in group):
            yield group
            group = []
        group.append(shard)
    if group:
        yield group


class _Files:
    """Reads score files and keeps those of the last call, because the next group often needs the same ones."""

    def __init__(self, storage: Store) -> None:
        self._filesystem, self._root = storage.arrow()
        self._kept: dict[ShardRange, dict[FrameKey, tuple[str, bytes]]] = {}

    def masks(self, shards: Sequence[ShardRange]) -> dict[FrameKey, tuple[str, bytes]]:
        """Return (image, frame) → (study, PNG) of the frames with a mask. The latest generation counts."""
        found: dict[FrameKey, tuple[str, bytes]] = {}
        for shard in sorted(shards, key=lambda shard: shard.generation):
            found |= self._read(shard)
        self._kept = {shard: masks for shard, masks in self._kept.items() if shard in shards}
        return found

    def _read(self, shard: ShardRange) -> dict[FrameKey, tuple[str, bytes]]:
        if shard not in self._kept:
            path = f"{self._root}/{output_layout.shard_file(shard.run_id, shard.shard)}"
            table = pq.ParquetFile(self._filesystem.open_input_file(path)).read(_COLUMNS)
            studies, images, frames, masks = (table[name].to_pylist() for name in _COLUMNS)
            self._kept[shard] = {
                (image, frame): (study, mask)
                for study, image, frame, mask in zip(studies, images, frames, masks, strict=True)
                if mask is not None
            }
        return self._kept[shard]
