"""Makes the plan of a run: drafts it in a temporary directory, then freezes it in the private storage or shows it."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.process.scratch_files import scratch_directory
from diagchd_batch.sources import ListingGaps, Source
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.inventory import Headers, Progress, open_inventory
from diagchd_batch.studies.layouts.dicom import count_objects, with_frame_counts
from diagchd_batch.studies.plan.draft_files import part_file, write_draft
from diagchd_batch.studies.plan.missing_images import refuse_missing_images
from diagchd_batch.studies.plan.selection import Select, new_since
from diagchd_batch.studies.plan.stored_plan import Plan, PlanHead, open_plan
from diagchd_batch.studies.scratch_database import ScratchDatabase

DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024
"""The memory that the scratch database may use before it spills to disk."""

Inspect = Callable[[ScratchDatabase], object]


@dataclass(frozen=True)
class PlanPreview:
    """The plan that `freeze_plan` would freeze. `studies` is identified data, so show only the numbers of `head`."""

    head: PlanHead
    studies: pa.Table  # with the schema PLAN_STUDIES


@dataclass(frozen=True)
class PlanDraft:
    """A plan that is not frozen yet: its head, and its files in a temporary directory that only the owner can read."""

    head: PlanHead
    directory: Path

    def holds_corrections(self) -> bool:
        """Return whether the plan has rows of studies, such as a changed label or a new exclusion.

        A run that builds on earlier runs may plan no image and still hold corrections.
        """
        return pq.read_metadata(self.directory / output_layout.PLAN_STUDIES_NAME).num_rows > 0

    def studies(self) -> pa.Table:
        """Return the studies, with the schema `PLAN_STUDIES`. They are identified data."""
        return pq.read_table(self.directory / output_layout.PLAN_STUDIES_NAME)

    def images(self, columns: Sequence[str]) -> pa.Table:
        """Return the planned images, which are identified data.

        Args:
            columns: Names of columns of `PLAN_IMAGES`.
        """
        parts = [
            pq.read_table(part_file(self.directory, part), columns=list(columns)) for part in range(self.head.n_parts)
        ]
        return pa.concat_tables(parts)

    def freeze(self, private: Store, run_id: str) -> Plan:
        """Write the plan to the private tree and return it.

        If two drivers freeze a plan of the same run at once, both get the plan of the first one.

        Args:
            private: The private tree.
            run_id: The run's id.
        """
        for part in range(self.head.n_parts):
            private.create(output_layout.plan_part(run_id, self.head.digest, part), part_file(self.directory, part))
        private.create(
            output_layout.plan_studies(run_id, self.head.digest), self.directory / output_layout.PLAN_STUDIES_NAME
        )
        self.head.create(private, output_layout.plan_head(run_id))
        return open_plan(private, run_id)


def freeze_plan(
    config: InputConfig,
    shards: ShardsConfig,
    input_storage: Source,
    private: Store,
    run_id: str,
    pseudonymizer: Pseudonymizer,
    *,
    headers: Headers | None = None,
    select: Select | None = None,
    progress: Progress | None = None,
    max_missing_fraction: float = 1.0,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Plan:
    """Return the plan of a run, and make it first if it does not exist.

    If two drivers do so at once, both get the plan of the first one. The head is written last, so a plan is either
    complete or absent. Parts of a plan that was not used, or whose driver died, remain unused under their own digest.

    Args:
        config: The input block of the job file.
        shards: The shards block of the job file.
        input_storage: The source at `input.uri`.
        private: The private tree of the output.
        run_id: The run.
        pseudonymizer: Makes the tokens.
        headers: The index of headers, for layout `dicom`.
        select: Reduces the inventory to the images to plan; without it, all images are planned.
        progress: Is called with the number of objects listed so far.
        max_missing_fraction: A plan of which more images are missing is refused, in [0, 1].
        max_memory_bytes: The memory that the inventory may use before it spills to disk.

    Raises:
        InputError: The inventory cannot be used (exit code 2).
        StorageFault: The storage fails.
        RunFault: Disk space or memory runs out, or an existing plan is damaged.
    """
    if private.stat(output_layout.plan_head(run_id)) is None:
        with draft_plan(
            config,
            shards,
            input_storage,
            pseudonymizer,
            headers=headers,
            select=select,
            progress=progress,
            max_missing_fraction=max_missing_fraction,
            max_memory_bytes=max_memory_bytes,
        ) as draft:
            return draft.freeze(private, run_id)
    return open_plan(private, run_id)


def preview_plan(
    config: InputConfig,
    shards: ShardsConfig,
    input_storage: Source,
    pseudonymizer: Pseudonymizer,
    *,
    headers: Headers | None = None,
    select: Select | None = None,
    progress: Progress | None = None,
    max_missing_fraction: float = 1.0,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
    inspect: Inspect | None = None,
) -> PlanPreview:
    """Return the plan that `freeze_plan` would make, without writing to the output.

    The order of studies depends on the key, so another key gives other shards. Arguments and exceptions are those of
    `draft_plan`.
    """
    with draft_plan(
        config,
        shards,
        input_storage,
        pseudonymizer,
        headers=headers,
        select=select,
        progress=progress,
        max_missing_fraction=max_missing_fraction,
        max_memory_bytes=max_memory_bytes,
        inspect=inspect,
    ) as draft:
        return PlanPreview(draft.head, draft.studies())


def count_new_images(
    config: InputConfig,
    input_storage: Source,
    plans: Sequence[Plan],
    pseudonymizer: Pseudonymizer,
    *,
    headers: Headers | None = None,
    progress: Progress | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> int:
    """Return the number of image files that are new or changed since `plans`, which ``--select new`` would plan.

    Args:
        config: The input block of the job file.
        input_storage: The source at `input.uri`.
        plans: The plans of a lineage, the oldest first.
        pseudonymizer: Makes the tokens, with the key that the plans were made with.
        headers: The index of headers, for layout `dicom`.
        progress: Is called with the number of objects listed so far.
        max_memory_bytes: The memory that the inventory may use before it spills to disk.

    Raises:
        InputError: The inventory cannot be used.
        RunFault: Disk space or memory runs out, or one of `plans` is damaged.
    """
    with open_inventory(
        config,
        input_storage,
        pseudonymizer,
        headers=headers,
        progress=progress,
        max_memory_bytes=max_memory_bytes,
        may_exclude_all=True,
    ) as database:
        new_since(plans)(database)
        row = database.row("SELECT count(*) FROM images")
        return row[0] if row else 0


@contextmanager
def draft_plan(
    config: InputConfig,
    shards: ShardsConfig,
    input_storage: Source,
    pseudonymizer: Pseudonymizer,
    *,
    headers: Headers | None = None,
    select: Select | None = None,
    progress: Progress | None = None,
    max_missing_fraction: float = 1.0,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
    inspect: Inspect | None = None,
) -> Iterator[PlanDraft]:
    """Draft the plan that `freeze_plan` would freeze. Its files are deleted at the end of the context.

    With `select` a draft may plan no image. `inspect` gets the database that the plan is made from, also if the plan is
    refused because too many images are missing. Other arguments and exceptions are those of `freeze_plan`.
    """
    with (
        scratch_directory() as directory,  # readable by the owner only, because it names patients
        open_inventory(
            config,
            input_storage,
            pseudonymizer,
            headers=headers,
            progress=progress,
            max_memory_bytes=max_memory_bytes,
            may_exclude_all=select is not None,
        ) as database,
    ):
        if select:
            select(database)
        try:
            objects = None
            if config.layout == "dicom":
                objects = with_frame_counts(count_objects(database, config), database, config)
            gaps = input_storage.listing_gaps() if isinstance(input_storage, ListingGaps) else {}
            head = write_draft(database, config.frame_rule, shards.images_per_shard, directory, objects, gaps)
        except OSError as error:
            raise RunFault(
                f"the plan's draft cannot be written to a temporary directory ({os.strerror(error.errno or 0)}); "
                "free disk space, or point TMPDIR at a larger disk"
            ) from error
        if inspect:
            inspect(database)
        refuse_missing_images(database, head, max_missing_fraction)
        yield PlanDraft(head, directory)
