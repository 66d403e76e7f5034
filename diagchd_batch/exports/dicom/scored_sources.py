"""Reads the files that were scored again, and refuses those that have changed since."""

from collections.abc import Callable
from functools import lru_cache

from diagchd_batch.errors import ItemError, RunFault
from diagchd_batch.exports.chosen_images import ChosenImage
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.results.output import Output
from diagchd_batch.sources import ObjectInfo, Source
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.stored_plan import open_plan


class ScoredSources:
    """The files of an output's runs.

    Args:
        output: The output, with its private tree.
        archive_of: Returns the archive of a run, and the limits that it was read with.
        has_scored_bytes: Returns whether a file, given with its row of the plan and its bytes, has the bytes that were
            scored; None if these are not recorded. Then it is unchanged if it has the version that was planned.
    """

    def __init__(
        self,
        output: Output,
        archive_of: Callable[[str], tuple[Source, DecodeLimits]],
        has_scored_bytes: Callable[[ChosenImage, PlannedImage, bytes], bool | None],
    ) -> None:
        self._output = output
        self._archive_of = lru_cache(maxsize=None)(archive_of)
        self._has_scored_bytes = has_scored_bytes
        self._planned_of = lru_cache(maxsize=1)(self._read_planned)  # images come shard by shard

    def read(self, image: ChosenImage) -> tuple[bytes, DecodeLimits]:
        """Return a whole file, and the limits for decoding it.

        Args:
            image: The image.

        Raises:
            ItemError: The file cannot be read, or it is not the one that was scored (`source_changed`).
            StorageFault: The archive cannot be reached.
            RunFault: The plan cannot be read.
        """
        planned = self._planned_of(image.run_id, image.shard).get(image.image_id)
        if planned is None:
            raise RunFault(f"image {image.image_id} is not in the plan of run {image.run_id}; run the command `verify`")
        archive, limits = self._archive_of(image.run_id)
        data, found = archive.read_versioned(planned.uri, max_bytes=limits.max_file_bytes)
        unchanged = self._has_scored_bytes(image, planned, data)
        if unchanged is None:
            unchanged = found == ObjectInfo(planned.uri, planned.size_bytes, planned.etag, planned.modified_ns)
        if not unchanged:
            raise ItemError(FailureCode.SOURCE_CHANGED, f"{planned.uri} is not the file that was scored")
        return data, limits

    def _read_planned(self, run_id: str, shard: int) -> dict[str, PlannedImage]:
        plan = open_plan(self._output.private, run_id)
        reference = next((reference for reference in plan.shards() if reference.shard == shard), None)
        return {} if reference is None else {image.image_id: image for image in plan.read_shard(reference)}
