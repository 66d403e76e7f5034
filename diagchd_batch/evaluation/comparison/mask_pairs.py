"""The pixels of two runs' masks of the same frames, counted by class. One group of shards is in memory at a time."""

import bisect
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.images.regions.frame_region import Box, box_around, labels_on_box, recorded_region
from diagchd_batch.images.resize import resize_labels
from diagchd_batch.results.columns import CLASSES
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.statistics.segmentation import PixelCounts
from diagchd_batch.storage import Store

_REGION_COLUMNS = ["source_height", "source_width", "region_top", "region_left", "region_height", "region_width"]
_COLUMNS = ["study_id", "image_id", "frame", "mask_png", *_REGION_COLUMNS]
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

    Shards of most runs hold contiguous ranges of studies, so only overlapping files have to be read together. Masks on
    different grids are compared on the finer one. Masks of different regions of a frame are compared on the rectangle
    around both regions; outside its own region a mask is background.

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


@dataclass(frozen=True)
class _StoredMask:
    """A mask as it is stored: the token of its study, its PNG, and the region of the frame that it covers."""

    study_id: str
    png: bytes
    region: Box


def _confusion_of_stored(pair: tuple[_StoredMask, _StoredMask]) -> np.ndarray:
    first, second = (decode_mask(mask.png) for mask in pair)
    regions = pair[0].region, pair[1].region
    if regions[0] != regions[1]:
        around = box_around(*regions)
        height, width = max(first.shape, second.shape, key=lambda shape: shape[0] * shape[1])
        first, second = (
            labels_on_box(mask, region, around, height, width)
            for mask, region in zip((first, second), regions, strict=True)
        )
    return _confusion(first, second)


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
            tables = list(decoders.map(_confusion_of_stored, [(ours[key], theirs[key]) for key in shared]))
            if shared:
                yield (
                    _tokens([ours[key].study_id for key in shared]),
                    _tokens([image for image, _ in shared]),
                    np.array([frame for _, frame in shared], dtype=np.int64),
                    np.stack(tables).reshape(-1, _N, _N),
                )


def _overlapping_groups(shards: Sequence[ShardRange]) -> Iterator[list[ShardRange]]:
    """Yield groups of files whose ranges overlap, as those of a lineage and of out-of-fold predictions may."""
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
        self._kept: dict[ShardRange, dict[FrameKey, _StoredMask]] = {}

    def masks(self, shards: Sequence[ShardRange]) -> dict[FrameKey, _StoredMask]:
        """Return the masks by image and frame. The latest generation counts."""
        found: dict[FrameKey, _StoredMask] = {}
        for shard in sorted(shards, key=lambda shard: shard.generation):
            found |= self._read(shard)
        self._kept = {shard: masks for shard, masks in self._kept.items() if shard in shards}
        return found

    def _read(self, shard: ShardRange) -> dict[FrameKey, _StoredMask]:
        if shard not in self._kept:
            path = f"{self._root}/{output_layout.shard_file(shard.run_id, shard.shard)}"
            rows = pq.ParquetFile(self._filesystem.open_input_file(path)).read(_COLUMNS).to_pylist()
            self._kept[shard] = {
                (row["image_id"], row["frame"]): _StoredMask(row["study_id"], row["mask_png"], recorded_region(row))
                for row in rows
                if row["mask_png"] is not None
            }
        return self._kept[shard]
