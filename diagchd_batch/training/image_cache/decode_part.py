"""Decodes the images of one shard of a plan to a part of the cache. It needs no Ray."""

import hashlib
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import DicomwebConfig, LimitsConfig
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import REFERENCE_OK
from diagchd_batch.scoring.decoding.byte_budget import ByteBudget
from diagchd_batch.scoring.decoding.file_reader import FileReader, FrameInput, SourceRecord
from diagchd_batch.scoring.decoding.in_process import Decoder, InProcessDecoder
from diagchd_batch.scoring.decoding.isolated import IsolatedDecoder
from diagchd_batch.scoring.worker.parallel_map import ParallelMap
from diagchd_batch.sources import open_source
from diagchd_batch.sources.request_permits import RequestLimit
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.plan.planned_images import PlannedImage, ShardReference
from diagchd_batch.studies.plan.stored_plan import open_plan
from diagchd_batch.training.image_cache.cached_part import (
    CacheSettings,
    PartRecord,
    images_key,
    masks_key,
    part_name,
    record_key,
)

PIXEL_BYTES_IN_FLIGHT = 256 << 20
"""Limit on the bytes of decoded pixels before their resize."""

FILE_BYTES_IN_FLIGHT = 256 << 20


@dataclass(frozen=True, slots=True)
class CachePlaces:
    """What a process needs to build parts of the cache.

    Attributes:
        run_id: The run whose plan names the images.
        input_uri: The root of the images.
        private_uri: The root of the private tree.
        settings: How images get onto the grid.
        limits: The limits of the job.
        dicomweb: How the archive may be read if it is a PACS.
        excluded_studies: Tokens of studies that are never read, such as those of a test set.
        threads: Threads that read and decode.
    """

    run_id: str
    input_uri: str
    private_uri: str
    settings: CacheSettings
    limits: LimitsConfig
    dicomweb: DicomwebConfig
    excluded_studies: frozenset[str]
    threads: int

    def open_private(self) -> Store:
        """Return the private tree."""
        return open_store(self.private_uri, object_timeout_s=self.limits.object_timeout_s, owner_only=True)


def decode_part(places: CachePlaces, reference: ShardReference, request_limit: RequestLimit | None = None) -> str:
    """Make sure that the part of one shard is in the cache, and return its name.

    If an earlier attempt at the part did not end, such as after a crash of its process, each file is decoded in a child
    process with limits. A file that cannot be decoded is left out and named in the part's record.

    Args:
        places: The places and settings.
        reference: Where the shard's images lie in the plan.
        request_limit: What the requests to a PACS share with other processes; None if there are no others.

    Raises:
        StorageFault: A storage failed as a whole.
    """
    private = places.open_private()
    planned = open_plan(private, places.run_id).read_shard(reference)
    images = [image for image in planned if image.study_id not in places.excluded_studies]
    part = part_name(images, places.settings)
    if private.stat(record_key(part)) is not None:
        return part
    attempt = output_layout.training_cache_prefix(part) + "attempt"
    isolated = not private.create(attempt, b"")
    _write_part(places, private, part, images, isolated, request_limit)
    private.delete(attempt)
    return part


def _write_part(
    places: CachePlaces,
    private: Store,
    part: str,
    images: list[PlannedImage],
    isolated: bool,
    request_limit: RequestLimit | None,
) -> None:
    record = PartRecord(image_ids=[], frames=[], has_mask=[], picture_digests=[], failed={})
    settings = places.settings
    no_mask = np.zeros((settings.height, settings.width), np.uint8)
    with scratch_file() as pixels, scratch_file() as masks:
        with closing(decoded_frames(places, images, isolated, request_limit)) as frames, scratch_faults():
            for found in frames:
                if found.error is not None:
                    record.failed.setdefault(found.image.image_id, []).append(found.error.value)
                    continue
                assert found.decoded is not None
                assert found.frame is not None
                has_mask = found.reference is not None and found.reference.status == REFERENCE_OK
                if found.reference is not None and not has_mask:
                    record.failed.setdefault(found.image.image_id, []).append(found.reference.status)
                image = np.ascontiguousarray(found.decoded.image_hwc_u8)
                mask = found.reference.label_map_hw_u8 if has_mask and found.reference else no_mask
                pixels.write(image.data)
                masks.write(np.ascontiguousarray(mask).data)
                record.image_ids.append(found.image.image_id)
                record.frames.append(found.frame)
                record.has_mask.append(has_mask)
                record.picture_digests.append(hashlib.sha256(image.data).hexdigest()[:32])
            pixels.flush()
            masks.flush()
        private.replace(images_key(part), pixels)
        private.replace(masks_key(part), masks)
    record.create(private, record_key(part))


def decoded_frames(
    places: CachePlaces,
    images: list[PlannedImage],
    isolated: bool = False,
    request_limit: RequestLimit | None = None,
) -> Generator[FrameInput, None, None]:
    """Yield the chosen frames of the images in the order of the plan. Several files are decoded at a time.

    Args:
        places: The places and settings.
        images: Planned images.
        isolated: Whether each file is decoded in a child process with limits.
        request_limit: What the requests to a PACS share with other processes; None if there are no others.
    """
    source = open_source(
        places.input_uri,
        object_timeout_s=places.limits.object_timeout_s,
        max_connections=2 * places.threads + 2,
        dicomweb=places.dicomweb,
        request_limit=request_limit,
    )
    reader = FileReader(source, places.settings.frame_rule, places.limits.max_file_bytes)
    budget = ByteBudget(PIXEL_BYTES_IN_FLIGHT)

    def decode(image: PlannedImage) -> Iterator[FrameInput | SourceRecord]:
        decoder: Decoder
        if isolated:
            decoder = IsolatedDecoder(
                places.settings.decode_settings,
                timeout_s=places.limits.decode_timeout_s,
                memory_bytes=places.limits.decode_memory_bytes,
                on_event=lambda: None,
            )
        else:
            decoder = InProcessDecoder(places.settings.decode_settings, budget)
        try:
            yield from reader.read(image, decoder)
        finally:
            decoder.close()

    with ParallelMap(
        images,
        decode,
        threads=places.threads,
        max_tasks=2 * places.threads,
        max_bytes=FILE_BYTES_IN_FLIGHT,
        size_of=lambda image: image.size_bytes or 0,
    ) as found:
        for one in found:
            if isinstance(one, FrameInput):
                yield one
