"""A small finished run, written with the package's own writers, for tests to read, break and verify."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.results.columns import SCORE_COLUMNS, SCORES, Presence, shard_metadata, table_metadata
from diagchd_batch.results.commit import commit_shard, record_sources
from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.results.run_record import ModelRecord, PlanRecord, PrivateRunRecord, write_run_record
from diagchd_batch.results.shard_writer import ShardWriter
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.plan.planned_images import PlannedImage, ShardReference
from diagchd_batch.studies.plan.sharding import ShardSize
from diagchd_batch.studies.plan.stored_plan import PlanHead
from diagchd_batch.uris import join_uri

RUN_ID = "0a1b2c3d-4e5f6071-1"
FINGERPRINT = "0a1b2c3d" * 8
HEIGHT, WIDTH = 24, 32
METADATA = table_metadata(run_id=RUN_ID, fingerprint=FINGERPRINT, simulated=True)

Row = dict[str, Any]


class MadePlan:
    """The part of a plan that `verify_run` uses."""

    def __init__(self, shards: list[list[PlannedImage]], frames: str = "all") -> None:
        self._shards = shards
        self.intact = True
        images = [image for shard in shards for image in shard]
        self.head = PlanHead(
            digest="d" * 64,
            created_by="test",
            frames=frames,
            images_per_shard=4,
            n_studies=len({image.study_id for image in images}),
            n_subjects=len({image.subject_id for image in images}),
            n_images=len(images),
            n_masks=sum(image.mask_uri is not None for image in images),
            size_bytes=0,
            n_excluded=0,
            n_excluded_studies=0,
            n_studies_without_subject=0,
            n_missing=0,
            n_missing_masks=0,
            n_unlisted=0,
            shards=tuple(ShardSize(len(shard), len({i.study_id for i in shard}), 0) for shard in shards),
        )

    def is_intact(self) -> bool:
        return self.intact

    def shards(self) -> Iterator[ShardReference]:
        for shard, size in enumerate(self.head.shards):
            yield ShardReference(shard, 0, shard, size.n_images, size.n_studies, 0)

    def read_shard(self, reference: ShardReference) -> list[PlannedImage]:
        return self._shards[reference.shard]


@dataclass
class MadeRun:
    storage: Store
    private: Store
    plan: MadePlan
    rows: list[list[Row]]

    def path(self, key: str) -> Path:
        return Path(self.storage.uri) / key

    def shard_path(self, shard: int) -> Path:
        return self.path(output_layout.shard_file(RUN_ID, shard))

    def write_shard(
        self, shard: int, rows: list[Row], attempt: str = "first", metadata: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Write and commit a shard as a worker does: a local file, then its sources, then the commit."""
        sources = [
            {"image_id": image.image_id, "uri": image.uri, "sha256": "5" * 64} for image in self.plan._shards[shard]
        ]
        with tempfile.TemporaryFile() as local:
            with ShardWriter(local, shard_metadata(METADATA, shard) if metadata is None else metadata) as writer:
                writer.write(rows)
            record_sources(self.private, RUN_ID, shard, attempt, local, sources, METADATA)
            assert commit_shard(self.storage, RUN_ID, shard, local)

    def rewrite_shard(
        self, shard: int, rows: list[Row], attempt: str = "again", metadata: Mapping[bytes, bytes] | None = None
    ) -> None:
        """Replace a shard as a faulty worker would: the file is well formed and recorded, but its rows can be wrong."""
        self.shard_path(shard).unlink()
        self.write_shard(shard, rows, attempt, metadata)

    def finish(self) -> None:
        counts = compact_predictions(self.storage, RUN_ID, METADATA)
        write_run_record(self.storage, self.private, run_record(self.plan, counts=counts))
        self.storage.create(output_layout.success_marker(RUN_ID), b"")


def label_map(seed: int) -> np.ndarray:
    """Return the label map of a heart with a septum at a random place."""
    generator = np.random.default_rng(seed)
    row, column = generator.integers(2, 8, 2)
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[row : row + 12, column : column + 16] = 2
    labels[row : row + 12, column + 7 : column + 9] = 1
    return labels


def scored_row(image: PlannedImage, frame: int, n_frames: int, seed: int) -> Row:
    mask = label_map(seed)
    probability = float(np.float32(np.random.default_rng(seed).random()))
    row: Row = {
        "subject_id": image.subject_id,
        "study_id": image.study_id,
        "image_id": image.image_id,
        "frame": frame,
        "source_frames": n_frames,
        "status": "ok",
        "chd_probability": probability,
        "chd_call": probability >= 0.5,
        "background_px": int((mask == 0).sum()),
        "septum_px": int((mask == 1).sum()),
        "heart_px": int((mask == 2).sum()),
        "quality_flags": ["unsure"] if 0.4 < probability < 0.6 else [],
        "source_height": 300,
        "source_width": 400,
        "spacing_status": "not_in_format",
        "mask_png": encode_mask(mask),
    }
    if image.mask_uri is not None:
        reference = label_map(seed + 1)
        row |= {"reference_status": "ok", "reference_png": encode_mask(reference), "seg_loss": 0.5, "soft_dice": 0.75}
        for label, name in enumerate(("background", "septum", "heart")):
            row[f"reference_px_{name}"] = int((reference == label).sum())
            row[f"intersection_px_{name}"] = int(((reference == label) & (mask == label)).sum())
        row["intersection_px_whole_heart"] = int(((reference > 0) & (mask > 0)).sum())
        for name in ("septum", "heart", "whole_heart"):
            row[f"hd95_source_px_{name}"] = 12.5
            row[f"assd_source_px_{name}"] = float("nan")  # An undefined distance must not be reported as a difference.
    return _made_up_values() | row


def _made_up_values() -> Row:
    """Return a value for each column that scored rows must have, so that a new column needs no change here."""
    scored = [column for column in SCORE_COLUMNS if column.presence is Presence.SCORED]
    return {column.name: column.values[0] for column in scored if column.values} | {
        column.name: pa.scalar(column.minimum or 0).cast(column.type).as_py()
        for column in scored
        if pa.types.is_primitive(column.type)
    }


def failed_row(image: PlannedImage, code: str = "decode_error", frame: int | None = None) -> Row:
    row = {"subject_id": image.subject_id, "study_id": image.study_id, "image_id": image.image_id}
    return row | {"frame": frame, "status": "failed", "error_code": code}


def planned_image(shard: int, position: int, **changes: Any) -> PlannedImage:
    study = f"s-{shard:04d}{position // 2:012d}"
    image = PlannedImage(
        shard=shard,
        position=position,
        subject_id=study.replace("s-", "p-"),
        study_id=study,
        image_id=f"i-{shard:04d}{position:012d}",
        uri=f"folder/{shard}-{position}.png",
        frames=None,
        size_bytes=10,
        etag=None,
        modified_ns=1,
        mask_uri=None,
        mask_size_bytes=None,
        mask_etag=None,
        mask_modified_ns=None,
    )
    return replace(image, **changes)


def make_run(root: Path | str, n_shards: int = 3) -> MadeRun:
    """Write a finished run.

    Each shard has a cine of three frames, a still with a mask, a file that failed, and a file of which two frames were
    requested by number.
    """
    plan, rows = [], []
    for shard in range(n_shards):
        cine = planned_image(shard, 0)
        still = planned_image(shard, 1, mask_uri=f"masks/{shard}.png")
        broken = planned_image(shard, 2)
        asked = planned_image(shard, 3, frames=(1, 9))
        plan.append([cine, still, broken, asked])
        seed = 100 * shard
        not_there = failed_row(asked, "frame_not_found", 9) | {"source_frames": 5}
        rows.append(
            [
                *[scored_row(cine, frame, 3, seed + frame) for frame in range(3)],
                scored_row(still, 0, 1, seed + 10),
                failed_row(broken),
                scored_row(asked, 1, 5, seed + 20),
                not_there,
            ]
        )
    run = MadeRun(*_storages(root), MadePlan(plan), rows)
    for shard in range(n_shards):
        run.write_shard(shard, rows[shard])
    run.finish()
    return run


def copy_run(run: MadeRun, root: Path) -> MadeRun:
    """Copy a run, so that a test can damage it. Copying is faster than new commits, which wait for the disk."""
    shutil.copytree(run.storage.uri, root / "output")
    return MadeRun(*_storages(root), MadePlan([list(shard) for shard in run.plan._shards]), run.rows)


def _storages(root: Path | str) -> tuple[Store, Store]:
    output = join_uri(str(root), "output")
    return open_store(output), open_store(join_uri(output, "_private"), owner_only=True)


def run_record(plan: MadePlan, **changes: Any) -> PrivateRunRecord:
    head = plan.head
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "fingerprint": FINGERPRINT,
        "fingerprint_fields": {"precision": "float32"},
        "package_version": "0.1.0",
        "status": "finished",
        "exit_code": 3,
        "simulated": True,
        "config": {},
        "model": ModelRecord(
            name="made",
            weights_digest="e" * 64,
            architecture="made-1",
            preprocessing="made-1",
            precision="float32",
            height=HEIGHT,
            width=WIDTH,
            chd_threshold=0.5,
            batch_size=2,
            card={},
        ),
        "plan": PlanRecord(
            **{name: getattr(head, name) for name in PlanRecord.model_fields}  # The head has all of these fields.
        ),
        "versions": {"numpy": np.__version__},
        "devices": ["CPU"],
        "started_at": datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        "ended_at": datetime(2024, 1, 2, 3, 5, tzinfo=UTC),
        "submissions": 1,
        "scoring_s": 60.0,
        "images_per_s": 0.2,
        "full_config": {"input": {"uri": "/archive/HOSPITAL"}},
        "command": ["diagchd-batch", "submit", "/home/someone/job.yaml"],
        "hosts": ["node-a"],
        "plan_digest": head.digest,
        "input_digest": "f" * 64,
    }
    return PrivateRunRecord(**{**values, **changes})


def stored_columns(rows: list[Row]) -> list[Row]:
    """Return the rows with every column of the schema, as a reader returns them."""
    return [{name: row.get(name) for name in SCORES.names} for row in rows]
