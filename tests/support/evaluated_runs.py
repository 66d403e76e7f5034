"""Writes the files of a run as `submit` would: the plan, predictions and run record of a cohort that a test defines."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.model.packages.decision_files import PackageDecisions
from diagchd_batch.results.columns import MASK_COLUMNS, PREDICTIONS, SCORES, table_metadata
from diagchd_batch.results.run_record import (
    CrossValidation,
    ModelRecord,
    PlanRecord,
    PrivateRunRecord,
    write_run_record,
)
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES, PlanHead

KEY = b"a key for tests only, 32 bytes.."
FINGERPRINT = "0a1b2c3d" * 8
RUN_ID = "0a1b2c3d-4e5f6071-1"
MODEL = "made"

STUDIES_PER_SHARD = 3

Frame = Mapping[str, Any]
FAILED = "decode_error"


@dataclass(frozen=True)
class MadeStudy:
    """A study and its scores. `images` has one sequence of frames per image.

    A frame is a probability, an error code, or a mapping of columns. Frames with the column `mask_png` are also written
    to score files.
    """

    study_id: str
    images: Sequence[Sequence[float | str | Frame]] = ()
    label: int | None = None
    subject_id: str | None = None
    exclude_reason: str | None = None
    size: tuple[int, int] = (300, 400)
    fetus: str | None = None
    fold: int | None = None


@dataclass
class MadeOutput:
    """An output directory with its private tree, and the key of its tokens."""

    root: Path
    output: Store = field(init=False)
    private: Store = field(init=False)
    tokens: Pseudonymizer = field(init=False)

    def __post_init__(self) -> None:
        self.output = open_store(str(self.root / "output"))
        self.private = open_store(str(self.root / "output" / output_layout.PRIVATE), owner_only=True)
        self.tokens = Pseudonymizer(KEY)
        # A run of many images needs the tokens of a study several times.
        self._study_token = cache(self.tokens.study)
        self._subject_token = cache(self.tokens.subject)

    def write_run(
        self,
        studies: Sequence[MadeStudy],
        run_id: str = RUN_ID,
        parent: str | None = None,
        simulated: bool = True,
        fields: Mapping[str, Any] | None = None,
        decisions: PackageDecisions | None = None,
        fold_names: Sequence[str] = (),
        fold_rule: str = "subject",
    ) -> str:
        """Write a run. It is the out-of-fold predictions of a training if the folds have names."""
        ordered = sorted(studies, key=lambda study: self._study_token(study.study_id))
        rows = [
            {"shard": place // STUDIES_PER_SHARD, **row}
            for place, study in enumerate(ordered)
            for row in self._rows(study)
        ]
        metadata = table_metadata(run_id=run_id, fingerprint=FINGERPRINT, simulated=simulated)
        unmasked = [{name: row[name] for name in row if name not in MASK_COLUMNS} for row in rows]
        self._put(self.output, output_layout.predictions_file(run_id, 0), unmasked, PREDICTIONS.with_metadata(metadata))
        for shard in sorted({row["shard"] for row in rows if "mask_png" in row}):
            scores = [{name: row[name] for name in row if name != "shard"} for row in rows if row["shard"] == shard]
            self._put(self.output, output_layout.shard_file(run_id, shard), scores, SCORES.with_metadata(metadata))
        head = plan_head(ordered)
        self._put(
            self.private,
            output_layout.plan_studies(run_id, head.digest),
            [self._planned(study) for study in ordered],
            PLAN_STUDIES,
        )
        self.private.replace(output_layout.plan_head(run_id), head.to_json())
        record = run_record(head, run_id, parent, simulated)
        if fields is not None:
            record = record.model_copy(update={"fingerprint_fields": dict(fields)})
        if decisions is not None:
            record = record.model_copy(update={"model": record.model.model_copy(update={"decisions": decisions})})
        if fold_names:
            folds = CrossValidation(rule=fold_rule, n_folds=len(fold_names))
            record = record.model_copy(update={"cross_validation": folds, "fold_names": list(fold_names)})
        write_run_record(self.output, self.private, record)
        return run_id

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> str:
        """Write a CSV file beside the output and return its path."""
        path = self.root / f"{name}.csv"
        text = io.StringIO()
        columns = list(dict.fromkeys(column for row in rows for column in row))
        writer = csv.DictWriter(text, columns)
        writer.writeheader()
        writer.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
        return str(path)

    def metrics(self, name: str, run_id: str = RUN_ID) -> list[dict[str, Any]]:
        return pq.read_table(
            Path(self.output.uri) / output_layout.metrics_file(run_id, name), partitioning=None
        ).to_pylist()

    def _subject(self, study: MadeStudy) -> str:
        if study.subject_id is None:
            return self.tokens.subject_of_study(study.study_id)
        return self._subject_token(study.subject_id)

    def _planned(self, study: MadeStudy) -> dict[str, Any]:
        excluded = study.exclude_reason is not None
        return {
            "subject_id": self._subject(study),
            "study_id": self._study_token(study.study_id),
            "source_subject_id": study.subject_id,
            "source_study_id": study.study_id,
            "fetus": study.fetus,
            "label": study.label,
            "n_images": 0 if excluded else max(1, len(study.images)),
            "exclude_reasons": [study.exclude_reason] if excluded else [],
        }

    def _rows(self, study: MadeStudy) -> list[dict[str, Any]]:
        height, width = study.size
        rows = []
        for place, image in enumerate(study.images):
            identity: dict[str, Any] = {
                "subject_id": self._subject(study),
                "study_id": self._study_token(study.study_id),
                "image_id": self.tokens.image(f"{study.study_id}/{place}.png"),
                "fold": study.fold,
            }
            for frame, value in enumerate(image):
                if isinstance(value, str):
                    rows.append({**identity, "status": "failed", "error_code": value})
                    continue
                given = value if isinstance(value, Mapping) else {"chd_probability": value}
                rows.append(
                    {
                        **identity,
                        "frame": frame,
                        "source_frames": len(image),
                        "status": "ok",
                        "chd_call": given["chd_probability"] >= 0.5,
                        "quality_flags": [],
                        "source_height": height,
                        "source_width": width,
                        **given,
                    }
                )
        return rows

    def _put(self, storage: Store, key: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer)
        storage.replace(key, buffer.getvalue())


def plan_head(studies: Sequence[MadeStudy]) -> PlanHead:
    planned = [study for study in studies if study.exclude_reason is None]
    return PlanHead(
        digest="d" * 64,
        created_by="test",
        frames="all",
        images_per_shard=256,
        n_studies=len(planned),
        n_subjects=len({study.subject_id or study.study_id for study in planned}),
        n_images=sum(len(study.images) for study in planned),
        n_masks=0,
        size_bytes=0,
        n_excluded=len(studies) - len(planned),
        n_excluded_studies=len(studies) - len(planned),
        n_studies_without_subject=sum(study.subject_id is None for study in planned),
        n_missing=0,
        n_missing_masks=0,
        n_unlisted=0,
        shards=(),
    )


def run_record(head: PlanHead, run_id: str, parent: str | None, simulated: bool) -> PrivateRunRecord:
    return PrivateRunRecord(
        run_id=run_id,
        parent_run_id=parent,
        fingerprint=FINGERPRINT,
        fingerprint_fields={"precision": "float32"},
        package_version="0.1.0",
        status="finished",
        exit_code=0,
        simulated=simulated,
        config={},
        model=ModelRecord(
            name=MODEL,
            weights_digest="e" * 64,
            architecture="made-1",
            preprocessing="made-1",
            precision="float32",
            height=24,
            width=32,
            chd_threshold=0.5,
            batch_size=2,
            card={},
        ),
        plan=PlanRecord(
            **{name: getattr(head, name) for name in PlanRecord.model_fields if name != "n_shards"}, n_shards=1
        ),
        versions={},
        devices=["CPU"],
        started_at=datetime(2024, 1, 2, 3, 4, tzinfo=UTC),
        submissions=1,
        full_config={},
        command=[],
        hosts=[],
        plan_digest=head.digest,
        input_digest="f" * 64,
    )
