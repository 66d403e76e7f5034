"""Makes the plan that remains of a run when a subject is removed: new files under the digest of the rows that stay."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch import output_layout
from diagchd_batch.process.scratch_files import scratch_file
from diagchd_batch.results.deletion.records import Tree
from diagchd_batch.results.deletion.row_removal import opened_table, write_without
from diagchd_batch.results.deletion.subject_search import Subject
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.digest import TableDigest
from diagchd_batch.studies.plan.sharding import ShardSize
from diagchd_batch.studies.plan.stored_plan import Plan, PlanHead

Add = Callable[[Tree, str, bytes | BinaryIO], None]
"""Receives a new file: its tree, key and contents."""


@dataclass(frozen=True)
class RemainingPlan:
    """The head of the plan that remains, and the number of shards that have lost all images."""

    head: PlanHead
    emptied_shards: int


def plan_without(private: Store, plan: Plan, subject: Subject, add: Add) -> RemainingPlan | None:
    """Write a plan again without a subject. Shards keep their numbers, also those that have no image left.

    Args:
        private: The private tree.
        plan: The plan.
        subject: The subject.
        add: Receives the files of the new plan.

    Returns:
        The new plan, or None if the plan does not have the subject.
    """
    change = _Change(subject)
    old = plan.head
    with ExitStack() as files:
        parts = []
        for part in range(old.n_parts):
            out = files.enter_context(scratch_file())
            change.write_part(private, output_layout.plan_part(plan.run_id, old.digest, part, old.table_suffix), out)
            parts.append(out)
        studies = files.enter_context(scratch_file())
        change.write_studies(private, output_layout.plan_studies(plan.run_id, old.digest, old.table_suffix), studies)
        if not change.images and not change.studies:
            return None
        head = change.head(old)
        for part, out in enumerate(parts):
            add("private", output_layout.plan_part(plan.run_id, head.digest, part, head.table_suffix), out)
        add("private", output_layout.plan_studies(plan.run_id, head.digest, head.table_suffix), studies)
    add("private", output_layout.plan_head(plan.run_id), head.to_json())
    emptied = sum(
        bool(before.n_images) and not after.n_images for before, after in zip(old.shards, head.shards, strict=True)
    )
    return RemainingPlan(head, emptied)


@dataclass
class _Change:
    """Writes the tables of a plan without a subject, and collects what they lose."""

    subject: Subject
    images: list[pa.Table] = field(default_factory=list)
    studies: list[pa.Table] = field(default_factory=list)
    _shards: list[ShardSize] = field(default_factory=list)
    _remaining_subjects: set[str] = field(default_factory=set)
    _digest: TableDigest = field(default_factory=TableDigest)

    def write_part(self, private: Store, key: str, out: BinaryIO) -> None:
        with opened_table(private, key) as file:
            for lost in write_without(file, self.subject.rows, out, change=self._shard, keep_empty_groups=True):
                self.images += [lost] if lost.num_rows else []

    def write_studies(self, private: Store, key: str, out: BinaryIO) -> None:
        with opened_table(private, key) as file:
            for lost in write_without(file, self.subject.rows, out, change=self._add_to_digest, keep_empty_groups=True):
                self.studies += [lost] if lost.num_rows else []

    def _shard(self, kept: pa.Table) -> pa.Table:
        place = kept.schema.get_field_index("position")
        kept = kept.set_column(place, kept.schema.field(place), pa.array(range(kept.num_rows), pa.int32()))
        n_studies = len(kept["study_id"].unique())
        self._shards.append(ShardSize(kept.num_rows, n_studies, pc.sum(kept["size_bytes"]).as_py() or 0))
        self._remaining_subjects |= set(kept["subject_id"].unique().to_pylist())
        return self._add_to_digest(kept)

    def _add_to_digest(self, kept: pa.Table) -> pa.Table:
        self._digest.update(kept)
        return kept

    def head(self, old: PlanHead) -> PlanHead:
        """Return the head of the plan that remains."""
        images = [row for table in self.images for row in table.to_pylist()]
        studies = [row for table in self.studies for row in table.to_pylist()]
        planned = {row["study_id"] for row in images}
        lost = {
            "n_studies": len(planned),
            "n_subjects": len({row["subject_id"] for row in images} - self._remaining_subjects),
            "n_images": len(images),
            "n_masks": sum(row["mask_uri"] is not None for row in images),
            "size_bytes": sum(row["size_bytes"] or 0 for row in images),
            "n_excluded": sum(len(row["exclude_reasons"]) for row in studies),
            "n_excluded_studies": sum(not row["n_images"] for row in studies),
            "n_studies_without_subject": sum(
                row["source_subject_id"] is None and row["study_id"] in planned for row in studies
            ),
            "n_studies_by_mother": sum(
                row.get("subject_from") == "mother" and row["study_id"] in planned for row in studies
            ),
            "n_missing": sum(row["size_bytes"] is None for row in images),
            "n_missing_masks": sum(row["mask_uri"] is not None and row["mask_size_bytes"] is None for row in images),
        }
        numbers = {name: max(0, getattr(old, name) - n) for name, n in lost.items()}
        return old.model_copy(update={"digest": self._digest.hexdigest(), "shards": tuple(self._shards), **numbers})
