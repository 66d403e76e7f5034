"""The rows of a frozen plan."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PlannedImage:
    """One image file of a frozen plan. `uri` and `mask_uri` are identified data and never leave the private tree.

    `frames` holds the frame numbers (from 0) that the manifest asks for, or None for the run's frame rule. Sizes, ETags
    and modification times were listed when the plan was made. They are None if the object was not listed. `fold` is the
    fold of a training whose model scores the image (from 0), or None for any other run.
    """

    shard: int
    position: int
    subject_id: str
    study_id: str
    image_id: str
    uri: str
    frames: tuple[int, ...] | None
    size_bytes: int | None
    etag: str | None
    modified_ns: int | None
    mask_uri: str | None
    mask_size_bytes: int | None
    mask_etag: str | None
    mask_modified_ns: int | None
    fold: int | None = None


@dataclass(frozen=True, slots=True)
class ShardReference:
    """Where a shard's rows lie in a plan: in row group `row_group` of part `part`."""

    shard: int
    part: int
    row_group: int
    n_images: int
    n_studies: int
    size_bytes: int
