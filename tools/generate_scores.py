"""Writes a generated finished run of any size, in the layout and with the schemas of real runs.

Use it to measure query, evaluate and report at sizes that are too large to score for a test. The run has score files,
predictions, run records, the plan's head, and studies with labels. Masks are null, because they would fill the disk.
The plan's parts, sources and attempts are missing. Every file is marked SIMULATED.

    python tools/generate_scores.py out/made --rows 10_000_000
    python tools/generate_scores.py s3://bucket/made --rows 10_000_000 --runs 2
"""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch import __version__, output_layout
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.results.columns import (
    CLASSES,
    RUN_COLUMN,
    SCORE_COLUMNS,
    SCORES,
    SURFACE_CLASSES,
    add_run,
    parquet_options,
    shard_metadata,
    table_metadata,
    with_run,
)
from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.output import open_output
from diagchd_batch.results.run_record import ModelRecord, PlanRecord, PrivateRunRecord, write_run_record
from diagchd_batch.results.shard_writer import ROWS_PER_GROUP
from diagchd_batch.storage import Store
from diagchd_batch.studies.identifier_key import load_or_create_key
from diagchd_batch.studies.plan.sharding import ShardSize
from diagchd_batch.studies.plan.stored_plan import PLAN_STUDIES, PlanHead

HEIGHT, WIDTH = 96, 128
FLAGS = ("no_septum", "fragments", "unsure")
CODES = ("decode_error", "not_found", "unsupported_format")
HEX_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)


@dataclass(frozen=True)
class Size:
    """The size of the generated run. Every study has `images_per_study` images of one frame."""

    n_rows: int
    images_per_study: int
    images_per_shard: int
    masked_fraction: float  # share of the images that have a reference mask
    failed_fraction: float
    prevalence: float

    @property
    def studies_per_shard(self) -> int:
        return max(1, self.images_per_shard // self.images_per_study)

    @property
    def n_studies(self) -> int:
        return -(-self.n_rows // self.images_per_study)

    @property
    def n_shards(self) -> int:
        return -(-self.n_studies // self.studies_per_shard)

    def shard_rows(self, shard: int) -> int:
        full = self.studies_per_shard * self.images_per_study
        return min(full, self.n_rows - shard * full)


@dataclass(frozen=True)
class Cohort:
    """The studies in the order of their tokens. Of three studies, two share a subject."""

    tokens: np.ndarray  # uint64, ascending
    subjects: np.ndarray  # uint64
    labels: np.ndarray  # bool

    @staticmethod
    def make(size: Size, seed: int) -> "Cohort":
        generator = np.random.default_rng([seed, 0])
        tokens = np.sort(generator.integers(0, 2**64, size.n_studies, np.uint64))
        subjects = generator.integers(0, 2**64, size.n_studies, np.uint64)
        subjects[2::3] = subjects[1::3][: len(subjects[2::3])]
        return Cohort(tokens, subjects, generator.random(size.n_studies) < size.prevalence)


def hex_tokens(prefix: str, numbers: np.ndarray) -> pa.Array:
    """Return a token such as ``p-0123456789abcdef`` for every uint64, without a Python object for each."""
    shifts = np.arange(60, -4, -4, dtype=np.uint64)
    digits = HEX_DIGITS[((numbers[:, None] >> shifts) & np.uint64(15)).astype(np.intp)]
    text = np.empty((len(numbers), 18), np.uint8)
    text[:, :2] = np.frombuffer(f"{prefix}-".encode(), np.uint8)
    text[:, 2:] = digits
    offsets = np.arange(0, 18 * (len(numbers) + 1), 18, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def shard_table(size: Size, cohort: Cohort, shard: int, seed: int) -> pa.Table:
    """Return the rows of a shard. The same arguments give the same rows."""
    generator = np.random.default_rng([seed, 1, shard])
    n = size.shard_rows(shard)
    study = shard * size.studies_per_shard + np.arange(n) // size.images_per_study
    failed = generator.random(n) < size.failed_fraction
    ok = ~failed
    masked = ok & (generator.random(n) < size.masked_fraction)
    logit = generator.normal(np.where(cohort.labels[study], 1.2, -1.6), 1.3)
    probability = (1 / (1 + np.exp(-logit))).astype(np.float32)
    septum = generator.integers(40, 200, n, dtype=np.int32)
    heart = generator.integers(1500, 4500, n, dtype=np.int32)
    predicted = {"background": HEIGHT * WIDTH - septum - heart, "septum": septum, "heart": heart}
    columns: dict[str, pa.Array] = {
        "subject_id": hex_tokens("p", cohort.subjects[study]),
        "study_id": hex_tokens("s", cohort.tokens[study]),
        "image_id": hex_tokens("i", generator.integers(0, 2**64, n, np.uint64)),
        "frame": _where(ok, np.zeros(n, np.int32)),
        "source_frames": _where(ok, np.ones(n, np.int32)),
        "status": _enum(failed.astype(np.int32), ("ok", "failed")),
        "error_code": _enum(generator.integers(0, len(CODES), n, dtype=np.int32), CODES, ok),
        "chd_probability": _where(ok, probability),
        "chd_call": _where(ok, probability >= np.float32(0.5)),
        "quality_flags": _flags(generator, ok),
        "source_height": _where(ok, np.full(n, 600, np.int32)),
        "source_width": _where(ok, np.full(n, 800, np.int32)),
        "reference_status": _enum(np.zeros(n, np.int32), ("ok",), ~masked),
        "seg_loss": _where(masked, generator.random(n, np.float32)),
        "soft_dice": _where(masked, generator.random(n, np.float32)),
    }
    for name in CLASSES:
        columns[f"{name}_px"] = _where(ok, predicted[name])
        overlap = (predicted[name] * generator.uniform(0.6, 1.0, n)).astype(np.int32)
        columns[f"intersection_px_{name}"] = _where(masked, overlap)
        columns[f"reference_px_{name}"] = _where(masked, predicted[name])
    whole = ((septum + heart) * generator.uniform(0.7, 1.0, n)).astype(np.int32)
    columns["intersection_px_whole_heart"] = _where(masked, whole)
    for name in SURFACE_CLASSES:
        for distance in ("hd95", "assd"):
            columns[f"{distance}_source_px_{name}"] = _where(masked, generator.gamma(4, 3, n).astype(np.float32))
    for name in ("mask_png", "reference_png"):
        columns[name] = pa.nulls(n, pa.binary())
    return pa.table([columns.get(field.name, pa.nulls(n, field.type)) for field in SCORES], schema=SCORES)


def write_run(output: Store, private: Store, size: Size, cohort: Cohort, run_id: str, seed: int) -> None:
    """Write all files of one finished run."""
    fingerprint = hashlib.sha256(run_id.encode()).hexdigest()
    metadata = table_metadata(run_id=run_id, fingerprint=fingerprint, simulated=True)

    def write_shard(shard: int) -> None:
        with tempfile.TemporaryDirectory(prefix="generate-scores-") as directory:
            path = Path(directory) / "shard.parquet"
            schema = with_run(SCORES.with_metadata(shard_metadata(metadata, shard)))
            table = add_run(shard_table(size, cohort, shard, seed), schema)
            with pq.ParquetWriter(
                path, schema, **parquet_options((RUN_COLUMN, *SCORE_COLUMNS), ROWS_PER_GROUP)
            ) as writer:
                writer.write_table(table, row_group_size=ROWS_PER_GROUP)
            output.replace(output_layout.shard_file(run_id, shard), path)

    with ThreadPoolExecutor(2) as pool:
        for _ in pool.map(write_shard, range(size.n_shards)):
            pass
    counts = compact_predictions(output, run_id, metadata)
    head = _plan_head(size, cohort)
    private.replace(output_layout.plan_head(run_id), head.to_json())
    with tempfile.TemporaryDirectory(prefix="generate-scores-") as directory:
        path = Path(directory) / "studies.parquet"
        with pq.ParquetWriter(path, PLAN_STUDIES, compression="zstd") as writer:
            for part in _studies(size, cohort):
                writer.write_table(part)
        private.replace(output_layout.plan_studies(run_id, head.digest), path)
    moment = datetime.now(UTC)
    record = PrivateRunRecord(
        run_id=run_id,
        fingerprint=fingerprint,
        fingerprint_fields={"made_up": run_id},
        package_version=__version__,
        status="finished",
        exit_code=ExitCode.FAILED_INPUTS if counts.n_failed else ExitCode.DONE,
        simulated=True,
        config={},
        model=ModelRecord(
            name=f"made-{seed}",
            weights_digest=fingerprint,
            architecture="made",
            preprocessing="made",
            precision="float32",
            height=HEIGHT,
            width=WIDTH,
            chd_threshold=0.5,
            batch_size=1,
            card={},
        ),
        plan=PlanRecord(**{name: getattr(head, name) for name in PlanRecord.model_fields}),
        counts=counts,
        versions={},
        devices=["made up"],
        started_at=moment,
        ended_at=moment,
        submissions=1,
        full_config={},
        command=[],
        hosts=[],
        plan_digest=head.digest,
        input_digest=fingerprint,
    )
    write_run_record(output, private, record)
    output.create(output_layout.success_marker(run_id), b"")


def _where(present: np.ndarray, values: np.ndarray) -> pa.Array:
    return pa.array(values, mask=~present)


def _enum(codes: np.ndarray, names: tuple[str, ...], absent: np.ndarray | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32(), mask=absent), pa.array(names))


def _flags(generator: np.random.Generator, ok: np.ndarray) -> pa.Array:
    """Return lists with one flag or none, and null where there is no result."""
    flagged = ok & (generator.random(len(ok)) < 0.08)
    values = pa.array(FLAGS).take(pa.array(generator.integers(0, len(FLAGS), int(flagged.sum()))))
    offsets = np.r_[0, np.cumsum(flagged)].astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values, mask=pa.array(~ok))


def _studies(size: Size, cohort: Cohort) -> Iterator[pa.Table]:
    """Yield the plan's studies in pieces. Their source ids follow from the order of their tokens."""
    for start in range(0, size.n_studies, 262_144):
        part = slice(start, min(start + 262_144, size.n_studies))
        numbers = np.arange(part.start, part.stop)
        n_images = np.minimum(size.images_per_study, size.n_rows - numbers * size.images_per_study)
        yield pa.table(
            [
                hex_tokens("p", cohort.subjects[part]),
                hex_tokens("s", cohort.tokens[part]),
                hex_tokens("P", cohort.subjects[part]),
                pa.array([f"STUDY-{number}" for number in numbers]),
                pa.nulls(len(numbers), pa.string()),
                pa.array(cohort.labels[part].astype(np.int8)),
                pa.array(n_images),
                pa.array([[]] * len(numbers), pa.list_(pa.string())),
            ],
            schema=PLAN_STUDIES,
        )


def _plan_head(size: Size, cohort: Cohort) -> PlanHead:
    rows = [size.shard_rows(shard) for shard in range(size.n_shards)]
    return PlanHead(
        digest=hashlib.sha256(cohort.tokens.tobytes()).hexdigest(),
        created_by=__version__,
        frames="all",
        images_per_shard=size.images_per_shard,
        n_studies=size.n_studies,
        n_subjects=len(np.unique(cohort.subjects)),
        n_images=size.n_rows,
        n_masks=0,
        size_bytes=0,
        n_excluded=0,
        n_excluded_studies=0,
        n_studies_without_subject=0,
        n_missing=0,
        n_missing_masks=0,
        n_unlisted=0,
        shards=tuple(ShardSize(n, -(-n // size.images_per_study), 0) for n in rows),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", help="a directory or s3://bucket/prefix")
    parser.add_argument("--rows", type=int, default=100_000, help="number of rows of each run")
    parser.add_argument(
        "--runs", type=int, default=1, help="number of runs over the same studies, each with another model"
    )
    parser.add_argument("--images-per-study", type=int, default=4, help="number of images of each study")
    parser.add_argument("--images-per-shard", type=int, default=2048, help="largest number of images of a shard")
    parser.add_argument("--masked-fraction", type=float, default=0.3, help="share of images with a reference mask")
    parser.add_argument("--failed-fraction", type=float, default=0.005, help="share of failed images")
    parser.add_argument("--prevalence", type=float, default=0.1, help="share of diseased studies")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first run; each further run adds 1")
    given = parser.parse_args()
    size = Size(
        given.rows,
        given.images_per_study,
        given.images_per_shard,
        given.masked_fraction,
        given.failed_fraction,
        given.prevalence,
    )
    cohort = Cohort.make(size, given.seed)
    opened = open_output(given.output)
    output, private = opened.storage, opened.private
    load_or_create_key(private, os.environ)  # `evaluate` needs a key, although no token here is made with it
    for number in range(given.runs):
        write_run(output, private, size, cohort, f"made{number:04d}-{given.rows:08x}-1", given.seed + number)


if __name__ == "__main__":
    main()
