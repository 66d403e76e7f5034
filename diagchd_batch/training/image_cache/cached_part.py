"""One part of the cache: the frames of one shard of a plan, as two files of raw pixels and a record that commits them.

A part is named by a digest of everything that its pixels depend on. Whoever needs the same images on the same grid
finds it, whatever the run. The record is created last and only if absent, so a part without a record is not there.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.images.frames import FrameRule
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.regions.frame_region import RegionRule
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.model.card import ModelCard
from diagchd_batch.scoring.decoding.in_process import DecodeSettings
from diagchd_batch.scoring.scoring_version import SCORING_VERSION
from diagchd_batch.studies.plan.planned_images import PlannedImage

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """How images get onto the grid, as in scoring.

    Attributes:
        height: Rows of the model's grid.
        width: Columns of the model's grid.
        frame_rule: Which frames of a file are taken if the manifest names none.
        region: Which part of a frame is resized to the grid.
        label_map: Grey value in a mask -> class 0, 1 or 2; None if the values are the classes.
        limits: The largest image and file that are decoded.
    """

    height: int
    width: int
    frame_rule: FrameRule
    region: RegionRule
    label_map: dict[int, int] | None
    limits: DecodeLimits

    @classmethod
    def of_job(cls, config: JobConfig, card: ModelCard) -> "CacheSettings":
        """Return the settings that a job scores and trains with.

        Args:
            config: The job file.
            card: The card of the network, for its grid.
        """
        return cls(
            height=card.architecture.height,
            width=card.architecture.width,
            frame_rule=config.input.frame_rule,
            region=config.input.region,
            label_map=config.input.label_map,
            limits=DecodeLimits(max_pixels=config.limits.max_pixels, max_file_bytes=config.limits.max_file_bytes),
        )

    @property
    def decode_settings(self) -> DecodeSettings:
        """The settings of a decoder."""
        return DecodeSettings(self.limits, self.height, self.width, self.label_map, self.region)

    @property
    def image_bytes(self) -> int:
        """Bytes of one image on the grid."""
        return self.height * self.width * 3

    @property
    def mask_bytes(self) -> int:
        """Bytes of one mask on the grid."""
        return self.height * self.width


class PartRecord(JsonRecord):
    """The frames of a part, in the order of their pixels. All lists but `failed` have one element a frame.

    Attributes:
        image_ids: Tokens of the image files.
        frames: Numbers of the frames in their files, from 0.
        has_mask: Whether there is a usable mask. Without one its pixels are zeros.
        picture_digests: SHA-256 of the image's pixels on the grid, 32 hex digits.
        failed: Token of an image file -> codes of the frames or masks of it that could not be used.
    """

    remedy: ClassVar[str] = "delete the directory of this record, then give the same command again"
    indent: ClassVar[int | None] = None

    image_ids: list[str]
    frames: list[int]
    has_mask: list[bool]
    picture_digests: list[str]
    failed: dict[str, list[str]]


def part_name(images: Sequence[PlannedImage], settings: CacheSettings) -> str:
    """Return the name of the part that holds some planned images: 32 hex digits.

    Args:
        images: The images, with the versions of their files.
        settings: How they get onto the grid.
    """
    left_out = ("shard", "position", "subject_id", "study_id")
    rows = [{name: value for name, value in asdict(image).items() if name not in left_out} for image in images]
    contents = [_FORMAT, SCORING_VERSION, asdict(settings), rows]
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:32]


def record_key(part: str) -> str:
    """Return the key of a part's record, whose existence says that the part is whole."""
    return output_layout.training_cache_prefix(part) + "part.json"


def images_key(part: str) -> str:
    """Return the key of a part's images: uint8 ``[frames, height, width, 3]`` without a header."""
    return output_layout.training_cache_prefix(part) + "images.u8"


def masks_key(part: str) -> str:
    """Return the key of a part's masks: uint8 ``[frames, height, width]`` without a header."""
    return output_layout.training_cache_prefix(part) + "masks.u8"
