"""Reads the pictures of cases: the source frame, decoded as for scoring, and its masks."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow.dataset as ds
from PIL import Image

from diagchd_batch import output_layout
from diagchd_batch.config.loading import parse_job
from diagchd_batch.errors import ItemError, UsageError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.formats import open_image
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.regions.frame_region import crop, recorded_region
from diagchd_batch.report.gallery.cases import Case
from diagchd_batch.results.columns import SCORES
from diagchd_batch.results.datasets import parquet_files
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import read_private_run_record
from diagchd_batch.sources import ObjectInfo, Source, open_source
from diagchd_batch.studies.plan.planned_images import PlannedImage, ShardReference
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan

_REGION_COLUMNS = ["source_height", "source_width", "region_top", "region_left", "region_height", "region_width"]
_COLUMNS = ["image_id", "frame", "mask_png", "reference_png", *_REGION_COLUMNS]


@dataclass(frozen=True)
class Picture:
    """The picture of a case.

    Attributes:
        file_key: The key of the image file in the input. It is identified.
        png: The scored region of the source frame as PNG, or None if it could not be read.
        problem: Why the frame could not be read, or None.
        predicted: The predicted label map, uint8 [rows, columns] at the model's grid, or None.
        reference: The reference label map at the same grid, or None.
    """

    file_key: str
    png: bytes | None
    problem: str | None
    predicted: np.ndarray | None
    reference: np.ndarray | None


THUMBNAIL_SIDE_PX = 240
"""The longer side of a thumbnail, about twice the size at which the page shows it."""


def thumbnail(picture: Picture) -> Picture:
    """Return the picture with a smaller image, which keeps its proportions. Its masks stay as they are.

    Args:
        picture: The picture. One that could not be read, or is small enough, is returned as it is.
    """
    if picture.png is None:
        return picture
    with Image.open(io.BytesIO(picture.png)) as image:
        if max(image.size) <= THUMBNAIL_SIDE_PX:
            return picture
        image.thumbnail((THUMBNAIL_SIDE_PX, THUMBNAIL_SIDE_PX))
        buffer = io.BytesIO()
        image.save(buffer, "PNG")
    return replace(picture, png=buffer.getvalue())


class RunPictures:
    """Reads the pictures of one run's cases from its input and its score files.

    Args:
        output: The output, with its private tree.
        run_id: The run.
        input_uri: Where the archive is now; None for the place that the run's job file names.
    """

    def __init__(self, output: Output, run_id: str, input_uri: str | None = None) -> None:
        record = read_private_run_record(output.private, run_id)
        if record is None:
            raise UsageError(
                f"the private tree holds no record of run {run_id}, so its images are not known; name that tree with "
                "--private-uri"
            )
        job = parse_job(record.full_config, f"the job file in the private record of run {run_id}")
        self._output, self._run_id, self._input_uri = output, run_id, input_uri
        self._plan: Plan = open_plan(output.private, run_id)
        self._limits = DecodeLimits(max_pixels=job.limits.max_pixels, max_file_bytes=job.limits.max_file_bytes)
        self._input_config = job.input

    @cached_property
    def _input(self) -> Source:
        """The run's input. Raises StorageFault if it cannot be reached."""
        storage = open_source(self._input_uri or self._input_config.uri, dicomweb=self._input_config.dicomweb)
        storage.probe()
        return storage

    @cached_property
    def _shards(self) -> dict[int, ShardReference]:
        return {reference.shard: reference for reference in self._plan.shards()}

    def read(self, shard: int, cases: Sequence[Case]) -> dict[tuple[str, int], Picture]:
        """Return the pictures of the cases of one shard.

        Args:
            shard: The shard's number, from 0.
            cases: Cases whose frames lie in this shard.

        Returns:
            (Image id, frame) → picture. A source that cannot be read gives a picture that says so.
        """
        planned = {image.image_id: image for image in self._plan.read_shard(self._shards[shard])}
        wanted = ds.field("image_id").isin([case.image_id for case in cases])
        scores = parquet_files(self._output.storage, [output_layout.shard_file(self._run_id, shard)], SCORES)
        found = scores.to_table(columns=_COLUMNS, filter=wanted).to_pylist()
        rows = {(row["image_id"], row["frame"]): row for row in found}
        pictures = {}
        for case in cases:
            image = planned[case.image_id]
            row = rows[case.image_id, case.frame]
            predicted, reference = (png and decode_mask(png) for png in (row["mask_png"], row["reference_png"]))
            try:
                png, problem = self._source_png(image, case.frame, row), None
            except ItemError as error:
                png, problem = None, f"the source cannot be shown: {error.code.value}"
            pictures[case.image_id, case.frame] = Picture(image.uri, png, problem, predicted, reference)
        return pictures

    def _source_png(self, image: PlannedImage, frame: int, row: Mapping[str, Any]) -> bytes:
        """Return the scored region of a frame, so that the masks lie over it."""
        data, found = self._input.read_versioned(image.uri, max_bytes=self._limits.max_file_bytes)
        if found != ObjectInfo(image.uri, image.size_bytes, image.etag, image.modified_ns):
            raise ItemError(FailureCode.SOURCE_CHANGED, f"{image.uri} changed after planning")
        buffer = io.BytesIO()
        pixels = open_image(data, self._limits).frame(frame)
        if row["source_height"] is not None:  # of a frame that could be scored
            pixels = crop(pixels, recorded_region(row))
        Image.fromarray(pixels).save(buffer, "PNG")
        return buffer.getvalue()
