"""How many images a shard holds, and which studies go into which shard. Pure functions."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

MIN_AUTO_IMAGES = 256
MAX_AUTO_IMAGES = 2_048
AIMED_SHARDS = 5_000


@dataclass(frozen=True, slots=True)
class ShardSize:
    """Of one shard. `size_bytes` counts the image files whose size the listing showed."""

    n_images: int
    n_studies: int
    size_bytes: int


def images_per_shard(n_images: int, setting: int | Literal["auto"]) -> int:
    """The size that shards aim at: `setting`, or for ``auto`` one that makes about 5,000 shards, from 256 to 2,048."""
    if setting != "auto":
        return setting
    return min(max(-(-n_images // AIMED_SHARDS), MIN_AUTO_IMAGES), MAX_AUTO_IMAGES)


def pack_studies(studies: Iterable[tuple[int, int]], limit: int) -> list[ShardSize]:
    """Cuts studies, each (n_images, size_bytes), in the order given, into runs of whole studies.

    A run has at most `limit` images, unless it is a single study that has more.
    """
    shards: list[ShardSize] = []
    n_images = n_studies = size_bytes = 0
    for study_images, study_bytes in studies:
        if n_studies and n_images + study_images > limit:
            shards.append(ShardSize(n_images, n_studies, size_bytes))
            n_images = n_studies = size_bytes = 0
        n_images += study_images
        n_studies += 1
        size_bytes += study_bytes
    if n_studies:
        shards.append(ShardSize(n_images, n_studies, size_bytes))
    return shards
