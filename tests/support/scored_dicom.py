"""An archive of DICOM objects on disk, and an output with the results of a run over it, without a model."""

import csv
import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import DicomwebConfig, InputConfig, ShardsConfig
from diagchd_batch.images.limits import DecodeLimits
from diagchd_batch.images.quality import quality_flags
from diagchd_batch.results.columns import MASK_COLUMNS, PREDICTIONS, SCORES, SOURCES, table_metadata
from diagchd_batch.results.commit import SCORES_DIGEST_KEY
from diagchd_batch.results.mask_codec import encode_mask
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.runs.rescore import digest_as_recorded
from diagchd_batch.sources import open_source
from diagchd_batch.storage import Store, open_store
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.plan.make_plan import freeze_plan
from tests.support.evaluated_runs import FINGERPRINT, KEY, RUN_ID, run_record

GRID = (96, 128)
CLIP, STILL = "examples_ybr_color.dcm", "examples_rgb_color.dcm"
"""Ultrasound of pydicom's own test files: 30 frames of JPEG, and one frame of RGB. Both have 240 x 320 pixels."""


def example(name: str, **values: object) -> bytes:
    """Return one of pydicom's files with other values in its header."""
    path = get_testdata_file(name)
    assert path is not None
    dataset = pydicom.dcmread(path)
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    if "SOPInstanceUID" in values:
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return file_bytes(dataset)


def file_bytes(dataset: Dataset) -> bytes:
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def drawn_mask(seed: int, grid: tuple[int, int] = GRID) -> np.ndarray:
    """Return a label map on the grid: an ellipse, with a slanting septum in it."""
    height, width = grid
    y, x = np.mgrid[:height, :width] / np.array([[[height]], [[width]]]) - 0.5
    shift = 0.1 * np.sin(seed)
    labels = np.where((y / 0.28) ** 2 + ((x - shift) / 0.3) ** 2 < 1, 2, 0).astype(np.uint8)
    labels[(np.abs(x - shift - 0.3 * y) < 0.02) & (np.abs(y) < 0.2)] = 1
    return labels


@dataclass(frozen=True)
class ScoredDicom:
    """The archive, and the output with the run's plan, scores, predictions and record."""

    archive: Path
    output: Store
    private: Store
    tokens: Pseudonymizer

    def scores(self, run_id: str = RUN_ID) -> list[dict[str, Any]]:
        """Return the rows of the score files, masks included."""
        prefix = Path(self.output.uri) / output_layout.scores_prefix(run_id)
        return [row for path in sorted(prefix.glob("*.parquet")) for row in _read(path)]


def _read(path: Path) -> list[dict[str, Any]]:
    return pq.read_table(path, partitioning=None).to_pylist()


def scored_dicom(
    root: Path,
    studies: Mapping[str, Mapping[str, bytes]],
    *,
    frames: Sequence[int] | None = None,
    weights_digest: str = "e" * 64,
    simulated: bool = True,
    run_id: str = RUN_ID,
    values: Mapping[str, object] | None = None,
    digest_of: str | None = None,
    dicomweb: Mapping[str, object] | None = None,
) -> ScoredDicom:
    """Write an archive, and an output that scored it.

    Args:
        root: A directory for both.
        studies: The files of each study, by own id and name.
        frames: The frames of multi-frame files that are scored; the middle one by default.
        weights_digest: Digest of the weights in the run's record.
        simulated: Whether the run says that its input is simulated.
        run_id: The run.
        values: Values of columns of the scores, for all rows.
        digest_of: What the recorded digests of the files are of: ``file`` or ``frames``. By default none are recorded.
        dicomweb: The block `input.dicomweb` of the run's job.
    """
    archive = root / "archive"
    rows = [(study, f"{study}/{name}", data) for study, files in studies.items() for name, data in files.items()]
    for _, key, data in rows:
        (archive / key).parent.mkdir(parents=True, exist_ok=True)
        (archive / key).write_bytes(data)
    manifest = root / "studies.csv"
    with manifest.open("w", newline="") as file:
        csv.writer(file).writerows([("study_id", "uri"), *((study, key) for study, key, _ in rows)])
    output = open_store(str(root / "output"))
    private = open_store(str(root / "output" / output_layout.PRIVATE), owner_only=True)
    tokens = Pseudonymizer(KEY)
    gentle = DicomwebConfig.model_validate(dicomweb or {})
    source = InputConfig(uri=str(archive), layout="manifest", manifest=str(manifest), dicomweb=gentle)
    plan = freeze_plan(source, ShardsConfig(images_per_shard=2), open_source(str(archive)), private, run_id, tokens)
    metadata = table_metadata(run_id=run_id, fingerprint=FINGERPRINT, simulated=simulated)
    predictions: list[dict[str, Any]] = []
    limits = DecodeLimits(max_pixels=1 << 26, max_file_bytes=1 << 30)
    for reference in plan.shards():
        scores = [
            {**row, **(values or {})}
            for image in plan.read_shard(reference)
            for row in _image_rows(image, (archive / image.uri).read_bytes(), frames)
        ]
        _put(output, output_layout.shard_file(run_id, reference.shard), scores, SCORES.with_metadata(metadata))
        if digest_of is not None:
            scored = Path(output.uri) / output_layout.shard_file(run_id, reference.shard)
            images = plan.read_shard(reference)
            _put_sources(private, run_id, reference.shard, scored, [
                {
                    "image_id": image.image_id,
                    "uri": image.uri,
                    "sha256": digest_as_recorded(
                        (archive / image.uri).read_bytes(), {"digest_of": digest_of}, image, source.frame_rule, limits
                    ),
                    "digest_of": digest_of,
                }
                for image in images
            ])  # fmt: skip
        predictions += [
            {name: value for name, value in row.items() if name not in MASK_COLUMNS} | {"shard": reference.shard}
            for row in scores
        ]
    _put(output, output_layout.predictions_file(run_id, 0), predictions, PREDICTIONS.with_metadata(metadata))
    record = run_record(plan.head, run_id, None, simulated)
    job = {
        "version": 1,
        "input": source.model_dump(mode="json"),
        "model": {"name": "diagchd-compact"},
        "output": {"uri": output.uri},
    }
    model = record.model.model_copy(update={"weights_digest": weights_digest})
    ended = {"ended_at": record.started_at + timedelta(hours=1)}
    write_run_record(output, private, record.model_copy(update={"full_config": job, "model": model, **ended}))
    return ScoredDicom(archive, output, private, tokens)


def _image_rows(image: Any, data: bytes, frames: Sequence[int] | None) -> list[dict[str, Any]]:
    identity = {"subject_id": image.subject_id, "study_id": image.study_id, "image_id": image.image_id}
    try:
        header = pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True)
        height, width, n_frames = header.Rows, header.Columns, int(header.get("NumberOfFrames", 1))
    except pydicom.errors.InvalidDicomError:
        height, width, n_frames = 48, 64, 1
    chosen = [0] if n_frames == 1 else frames or [n_frames // 2]
    return [_frame_row(identity, frame, n_frames, (height, width)) for frame in chosen]


def _frame_row(identity: dict[str, str], frame: int, n_frames: int, size: tuple[int, int]) -> dict[str, Any]:
    labels = drawn_mask(int(identity["image_id"][2:6], 16) + frame)
    probability = int(identity["image_id"][2:6], 16) / 0xFFFF
    counts = np.bincount(labels.ravel(), minlength=3).tolist()
    return {
        **identity,
        "frame": frame,
        "source_frames": n_frames,
        "status": "ok",
        "chd_probability": probability,
        "chd_call": probability >= 0.5,
        **dict(zip(("background_px", "septum_px", "heart_px"), counts, strict=True)),
        "quality_flags": list(quality_flags(labels, probability)),
        "source_height": size[0],
        "source_width": size[1],
        "mask_png": encode_mask(labels),
    }


def _put_sources(private: Store, run_id: str, shard: int, scored: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    digest = hashlib.sha256(scored.read_bytes()).hexdigest().encode()
    _put(
        private,
        output_layout.sources_file(run_id, shard, "attempt"),
        rows,
        SOURCES.with_metadata({SCORES_DIGEST_KEY: digest}),
    )


def _put(store: Store, key: str, rows: Sequence[Mapping[str, Any]], schema: pa.Schema) -> None:
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows), schema), buffer)
    store.replace(key, buffer.getvalue())
