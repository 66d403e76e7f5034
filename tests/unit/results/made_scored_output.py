"""An output with real plans, score files, sources and predictions, written with the package's own writers."""

import csv
import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.images.identifying import CollectedValues, IdentifyingValue
from diagchd_batch.results.columns import CLASSES, shard_metadata, table_metadata
from diagchd_batch.results.commit import commit_shard, record_sources
from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.derived_tables import write_lineage_tables
from diagchd_batch.results.identifying_values import ShardValues
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.results.run_record import PlanRecord, write_run_record
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.selection import new_since
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from tests.unit.results.made_run import FINGERPRINT, HEIGHT, WIDTH, MadePlan, failed_row, run_record, scored_row

Study = tuple[str, str, int]
"""A study's own id, its subject's own id (or nothing), and its number of images."""


@dataclass
class MadeScoredOutput:
    """An archive with a manifest and an output below `root`. Every image has a mask of its own."""

    root: Path
    studies: list[Study] = field(default_factory=list)
    excluded: set[str] = field(default_factory=set)
    tokens: Pseudonymizer = field(default_factory=lambda: Pseudonymizer(b"k" * 32))
    broken: set[str] = field(default_factory=set)

    @property
    def uri(self) -> str:
        return str(self.root / "out")

    @property
    def output(self) -> Output:
        return open_output(self.uri)

    def file(self, study: str, number: int) -> str:
        return f"images/{study}-{number}.png"

    def run(self, run_id: str, parent: str | None = None, images_per_shard: int = 4) -> str:
        """Score the images that the parent's lineage does not have. A file in `broken` fails."""
        output, archive = self.output, open_store(str(self.root / "archive"))
        config = InputConfig(uri=archive.uri, layout="manifest", manifest=str(self._manifest()))
        select = new_since([open_plan(output.private, name) for name in self._lineage(parent)]) if parent else None
        shards = ShardsConfig(images_per_shard=images_per_shard)
        plan = freeze_plan(config, shards, archive, output.private, run_id, self.tokens, select=select)
        metadata = table_metadata(run_id=run_id, fingerprint=FINGERPRINT, simulated=True)
        for reference in plan.shards():
            self._write_shard(output, plan, reference.shard, plan.read_shard(reference), metadata)
        counts = compact_predictions(output.storage, run_id, metadata)
        numbers = {name: getattr(plan.head, name) for name in PlanRecord.model_fields}
        record = run_record(
            MadePlan([]),  # its numbers are replaced
            run_id=run_id,
            parent_run_id=parent,
            selection="new" if parent else "all",
            plan_digest=plan.head.digest,
            counts=counts,
        )
        record = record.model_copy(update={"plan": PlanRecord(**numbers)})
        write_run_record(output.storage, output.private, record)
        write_lineage_tables(output.storage, run_id)
        output.storage.create(output_layout.success_marker(run_id), b"")
        return run_id

    def row(self, image: PlannedImage) -> dict[str, Any]:
        if image.uri in self.broken:
            return failed_row(image)
        seed = int.from_bytes(hashlib.sha256(image.uri.encode()).digest()[:4], "big")
        mask = np.random.default_rng(seed).integers(0, 3, (HEIGHT, WIDTH), np.uint8)
        pixels = {f"{name}_px": int((mask == value).sum()) for value, name in enumerate(CLASSES)}
        return scored_row(image, 0, 1, seed) | pixels | {"mask_png": encode_mask(mask)}

    def _lineage(self, run_id: str | None) -> list[str]:
        if run_id is None:
            return []
        (record,) = [record for record in self.output.runs() if record.run_id == run_id]
        return [*self._lineage(record.parent_run_id), run_id]

    def _manifest(self) -> Path:
        path = self.root / "manifest.csv"
        rows = [["study_id", "subject_id", "uri", "label", "include", "exclude_reason"]]
        for study, subject, n_images in self.studies:
            for number in range(n_images):
                file = self.root / "archive" / self.file(study, number)
                file.parent.mkdir(parents=True, exist_ok=True)
                if not file.exists():  # a file with another date would be new to the next run
                    file.write_text(file.name)
                is_excluded = study in self.excluded
                end = ["0", "no consent"] if is_excluded else ["1", ""]
                rows.append([study, subject, self.file(study, number), str(len(study) % 2), *end])
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    def _write_shard(
        self, output: Output, plan: Plan, shard: int, images: list[PlannedImage], metadata: dict[bytes, bytes]
    ) -> None:
        sources = [
            {
                "image_id": image.image_id,
                "uri": image.uri,
                "sha256": hashlib.sha256(image.uri.encode()).hexdigest(),
                "error": f"{image.uri}: truncated" if image.uri in self.broken else None,
            }
            for image in images
        ]
        values = ShardValues()
        for image in images:
            author = IdentifyingValue("PNG Author", f"author of {image.uri}")
            values.add(image.study_id, CollectedValues((author,), complete=image.uri not in self.broken))
        for attempt in ("first", "late"):
            values.record(output.private, plan.run_id, shard, attempt, metadata)
        with tempfile.TemporaryFile() as local:
            with ShardWriter(local, shard_metadata(metadata, shard)) as writer:
                writer.write(self.row(image) for image in images)
            record_sources(output.private, plan.run_id, shard, "first", local, sources, metadata)
            assert commit_shard(output.storage, plan.run_id, shard, local)
            local.seek(0)
            # An attempt that lost the race recorded the same bytes.
            record_sources(output.private, plan.run_id, shard, "late", local, sources, metadata)


def files(*roots: str) -> dict[str, bytes]:
    """Return the contents of every file below the roots by its path."""
    paths = [path for root in roots for path in sorted(Path(root).rglob("*")) if path.is_file()]
    return {str(path): path.read_bytes() for path in paths}
