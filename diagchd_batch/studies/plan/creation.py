"""Making a run's plan: drafted in a temporary directory, then frozen in the private storage, or only looked at."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.config.models import InputConfig, ShardsConfig
from diagchd_batch.errors import RunFault
from diagchd_batch.sources import Source
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.inventory import Progress, open_inventory
from diagchd_batch.studies.plan.draft import STUDIES_FILE, part_file, write_draft
from diagchd_batch.studies.plan.frozen import Plan, PlanHead, open_plan
from diagchd_batch.studies.plan.selection import Select, new_since

DEFAULT_MEMORY_BYTES = 512 * 1024 * 1024
"""What the scratch database may take before it spills to disk."""


@dataclass(frozen=True)
class PlanPreview:
    """What `freeze_plan` would freeze. Identified: `studies` holds source ids; show the head's numbers only."""

    head: PlanHead
    studies: pa.Table  # schema PLAN_STUDIES


@dataclass(frozen=True)
class PlanDraft:
    """A plan that is not frozen yet: its head, and its files in a temporary directory of the owner's own."""

    head: PlanHead
    directory: Path

    def holds_corrections(self) -> bool:
        """Return whether the plan says something of a study, such as another label than before, or an exclusion.

        A run that builds on others may plan no image and still hold corrections.
        """
        return pq.read_metadata(self.directory / STUDIES_FILE).num_rows > 0

    def freeze(self, private: Store, run_id: str) -> Plan:
        """Of two drivers that freeze a plan of one run at once, both get the first one's."""
        for part in range(self.head.n_parts):
            private.create(output_layout.plan_part(run_id, self.head.digest, part), part_file(self.directory, part))
        private.create(output_layout.plan_studies(run_id, self.head.digest), self.directory / STUDIES_FILE)
        private.create(output_layout.plan_head(run_id), self.head.to_json())
        return open_plan(private, run_id)


def freeze_plan(
    config: InputConfig,
    shards: ShardsConfig,
    input_storage: Source,
    private: Store,
    run_id: str,
    pseudonymizer: Pseudonymizer,
    *,
    select: Select | None = None,
    progress: Progress | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Plan:
    """The run's plan, made unless it exists already. Of two drivers that make it at once, both get the first one's.

    The head is written last, so a plan is whole or is not there; parts of a plan that lost, or whose driver died, lie
    unused under their own digest. `select` leaves of the inventory what shall be planned. `progress` gets the number of
    objects listed so far. Raises InputError (exit 2) for an inventory that cannot be used, StorageFault and RunFault
    for faults of storage, disk and memory.
    """
    if private.stat(output_layout.plan_head(run_id)) is None:
        with draft_plan(
            config,
            shards,
            input_storage,
            pseudonymizer,
            select=select,
            progress=progress,
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
    select: Select | None = None,
    progress: Progress | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> PlanPreview:
    """As `freeze_plan`, but nothing is written to the output. With another key the shards are cut elsewhere."""
    with draft_plan(
        config,
        shards,
        input_storage,
        pseudonymizer,
        select=select,
        progress=progress,
        max_memory_bytes=max_memory_bytes,
    ) as draft:
        return PlanPreview(draft.head, pq.read_table(draft.directory / STUDIES_FILE))


def count_new_images(
    config: InputConfig,
    input_storage: Source,
    plans: Sequence[Plan],
    pseudonymizer: Pseudonymizer,
    *,
    progress: Progress | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> int:
    """Return how many image files are new or changed since `plans`: what `--select new` would plan."""
    with open_inventory(
        config,
        input_storage,
        pseudonymizer,
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
    select: Select | None = None,
    progress: Progress | None = None,
    max_memory_bytes: int = DEFAULT_MEMORY_BYTES,
) -> Iterator[PlanDraft]:
    """What `freeze_plan` would freeze; it may plan nothing where there is a `select`."""
    with (
        tempfile.TemporaryDirectory(prefix="diagchd-batch-plan-") as directory,  # the owner's alone: it names patients
        open_inventory(
            config,
            input_storage,
            pseudonymizer,
            progress=progress,
            max_memory_bytes=max_memory_bytes,
            may_exclude_all=select is not None,
        ) as database,
    ):
        if select:
            select(database)
        try:
            head = write_draft(database, config.frames, shards.images_per_shard, Path(directory))
        except OSError as error:
            raise RunFault(
                f"the plan's draft cannot be written to a temporary directory ({os.strerror(error.errno or 0)}); "
                "free disk space, or point TMPDIR at a larger disk"
            ) from error
        yield PlanDraft(head, Path(directory))
