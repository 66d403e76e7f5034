"""A lineage of runs with real plans, whose predictions are written directly."""

import io
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import InputConfig, ShardsConfig
from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.storage import open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from diagchd_batch.studies.plan.planned_images import PlannedImage
from diagchd_batch.studies.plan.selection import Select, new_since
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from tests.unit.results.made_run import MadePlan, run_record


@dataclass
class MadeLineage:
    """An archive in layout `tree` and an output with runs ``run-1``, ``run-2`` and so on, both below `root`."""

    root: Path
    plans: list[Plan] = field(default_factory=list)
    tokens: Pseudonymizer = field(default_factory=lambda: Pseudonymizer(b"k" * 32))

    def __post_init__(self) -> None:
        self.output = Output(open_store(str(self.root / "out")), open_store(str(self.root / "private")))

    def copy_to(self, root: Path) -> "MadeLineage":
        """Copy the archive and the output below another root, for a test that changes them. Return the copy."""
        shutil.copytree(self.root, root, dirs_exist_ok=True)
        copied = MadeLineage(root, tokens=self.tokens)
        copied.plans = [open_plan(copied.output.private, plan.run_id) for plan in self.plans]
        return copied

    @property
    def newest(self) -> str:
        return self.plans[-1].run_id

    def add_files(self, *keys: str, content: str = "") -> None:
        for key in keys:
            path = self.root / "archive" / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(key + content)

    def run(self, broken: tuple[str, ...] = (), select: Select | None = None, **record: object) -> str:
        """Plan the new images, or those that `select` selects, and write one scored frame for each. Return the run id.

        Files in `broken` fail.
        """
        run_id = f"run-{len(self.plans) + 1}"
        archive = open_store(str(self.root / "archive"))
        config = InputConfig(uri=archive.uri, layout="tree")
        parent = self.plans[-1].run_id if self.plans else None
        select = select or (new_since(self.plans) if self.plans else None)
        plan = freeze_plan(config, ShardsConfig(), archive, self.output.private, run_id, self.tokens, select=select)
        self.plans.append(plan)
        images = [image for shard in plan.shards() for image in plan.read_shard(shard)]
        self.write_predictions(run_id, [self._row(image, image.uri in broken) for image in images])
        values = {"run_id": run_id, "parent_run_id": parent, "plan_digest": plan.head.digest, **record}
        write_run_record(self.output.storage, self.output.private, run_record(MadePlan([images]), **values))
        self.output.storage.create(output_layout.success_marker(run_id), b"")
        return run_id

    def write_predictions(self, run_id: str, rows: list[dict[str, Any]]) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(rows, PREDICTIONS), buffer)
        self.output.storage.replace(output_layout.predictions_file(run_id, 0), buffer.getvalue())

    def predictions(self, run_id: str) -> list[dict[str, Any]]:
        return self.output.predictions(run_id).to_table(columns=PREDICTIONS.names).to_pylist()

    @staticmethod
    def _row(image: PlannedImage, is_broken: bool) -> dict[str, Any]:
        row = {name: getattr(image, name) for name in ("subject_id", "study_id", "image_id", "shard")}
        if is_broken:
            return row | {"status": "failed", "error_code": "decode_error"}
        return row | {"status": "ok", "frame": 0, "source_frames": 1, "chd_probability": 0.25, "chd_call": False}
