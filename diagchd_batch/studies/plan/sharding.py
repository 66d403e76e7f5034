"""Decides how many images a shard holds and which studies go into which shard."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

MIN_AUTO_IMAGES = 256
MAX_AUTO_IMAGES = 2_048
AIMED_SHARDS = 5_000


class ShardSize(NamedTuple):
    """The size of one shard. `size_bytes` counts the image files whose size the listing showed."""

    n_images: int
    n_studies: int
    size_bytes: int


def images_per_shard(n_images: int, setting: int | Literal["auto"]) -> int:
    """Return how many images a shard may hold.

    Args:
        n_images: The number of images of the plan.
        setting: The number from the job file, which is returned as it is. ``auto`` gives between 256 and 2,048 images,
            with about 5,000 shards as the aim.
    """
    if setting != "auto":
        return setting
    return min(max(-(-n_images // AIMED_SHARDS), MIN_AUTO_IMAGES), MAX_AUTO_IMAGES)


def pack_studies(studies: Iterable[tuple[int, int]], limit: int) -> list[ShardSize]:
    """Cut studies into shards of whole studies, in the order given.

    Args:
        studies: (number of images, bytes) of each study.
        limit: The most images in a shard. Only a shard of a single study may have more.

    Returns:
        The size of each shard, in order.
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
