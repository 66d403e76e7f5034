"""Fetches a shard's score file and checks its bytes, metadata, rows and sources."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from diagchd_batch.errors import ItemError
from diagchd_batch.output_layout import SOURCES_FILE, identifying_values_file, shard_file
from diagchd_batch.process.scratch_files import scratch_faults, scratch_file
from diagchd_batch.results.columns import (
    MASK_COLUMNS,
    RUN_COLUMN,
    RUN_ID_KEY,
    SCHEMA_VERSION,
    SCHEMA_VERSION_KEY,
    SCORES,
    STATUS_OK,
    schema_version_of,
    score_columns_of_version,
    shard_metadata,
    with_run,
)
from diagchd_batch.results.columns.declaration import arrow_schema
from diagchd_batch.results.columns.identifying_values import IDENTIFYING_VALUES
from diagchd_batch.results.commit import IDENTIFYING_VALUES_KEY, SCORES_DIGEST_KEY
from diagchd_batch.results.shard_writer import ROWS_PER_GROUP
from diagchd_batch.results.verify.findings import REMEDIES, RESTORE, Problem, ProblemKind
from diagchd_batch.results.verify.row_checks import Expectations, RowAudit
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.planned_images import PlannedImage

_CHUNK_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class ShardFindings:
    """One shard's problems, and its rows without the masks, or None where the file cannot be read."""

    shard: int
    problems: list[Problem]
    rows: pa.Table | None


@dataclass(frozen=True, slots=True)
class ShardCheck:
    """Checks shards of one run. Threads share it. Every score file of the run must have `metadata`."""

    storage: Store
    private: Store
    run_id: str
    expected: Expectations
    metadata: Mapping[bytes, bytes]

    def check(self, shard: int, planned: Sequence[PlannedImage], source_keys: Sequence[str]) -> ShardFindings:
        """Check a shard.

        Args:
            shard: The shard's number.
            planned: The images that the plan has in the shard.
            source_keys: The keys of its files under `sources/` in the private tree, one for each attempt.

        Returns:
            The problems that were found and, if the file can be read, the shard's rows.
        """
        findings = _Findings(shard)
        with scratch_file() as local:
            try:
                digest = self._fetch(shard_file(self.run_id, shard), local)
                sources = self._winning_sources(source_keys, digest, findings)
                rows = self._check_rows(local, planned, findings)
            except (ItemError, OSError, pa.ArrowException) as error:
                findings.add_for_file(ProblemKind.UNREADABLE_SHARD, str(error))
                return ShardFindings(shard, findings.problems, None)
        if sources is not None and rows is not None:
            _check_sources(sources, planned, rows, findings)
        return ShardFindings(shard, findings.problems, rows)

    def _fetch(self, key: str, local: BinaryIO) -> str:
        """Copy the object to a local file, in pieces, and return its SHA-256."""
        info = self.storage.stat(key)
        size_bytes = (info and info.size_bytes) or 0
        digest = hashlib.sha256()
        with scratch_faults():
            for start in range(0, size_bytes, _CHUNK_BYTES):
                chunk = self.storage.read_range(key, start, _CHUNK_BYTES)
                digest.update(chunk)
                local.write(chunk)
            local.flush()
        return digest.hexdigest()

    def _check_rows(self, local: BinaryIO, planned: Sequence[PlannedImage], findings: "_Findings") -> pa.Table | None:
        """Return the rows without the masks, in today's columns; those that the file does not have are null."""
        with pq.ParquetFile(local, page_checksum_verification=True) as file:
            stored = file.schema_arrow.metadata or {}
            self._check_metadata(stored, findings)
            version = schema_version_of(stored)
            columns = score_columns_of_version(SCHEMA_VERSION if version is None else version)
            schema = arrow_schema(columns)
            if not file.schema_arrow.equals(schema if version == 1 else with_run(schema)):
                detail = f"its columns are not those of schema version {version or 'unknown'}"
                findings.add_for_file(ProblemKind.FOREIGN_SHARD, detail)
                return None
            audit = RowAudit(planned, self.expected, findings.add, columns)
            kept = [_without_masks(SCORES.empty_table())]
            for batch in file.iter_batches(batch_size=ROWS_PER_GROUP):
                audit.add(batch)
                if stored.get(RUN_ID_KEY) == self.run_id.encode():  # otherwise the metadata are reported already
                    self._check_run(batch, findings)
                kept.append(_without_masks(_with_all_columns(pa.Table.from_batches([batch]))))
        audit.finish()
        return pa.concat_tables(kept)

    def _check_metadata(self, stored: Mapping[bytes, bytes], findings: "_Findings") -> None:
        if schema_version_of(stored) is None:
            found = stored.get(SCHEMA_VERSION_KEY, b"absent").decode(errors="replace")
            detail = f"its schema version is {found}; this program knows versions 1 to {SCHEMA_VERSION}"
            findings.add_for_file(ProblemKind.FOREIGN_SHARD, detail)
        for key, value in shard_metadata(self.metadata, findings.shard).items():
            if key != SCHEMA_VERSION_KEY and stored.get(key) != value:
                found = stored.get(key, b"absent").decode(errors="replace")
                detail = f"{key.decode()} in its metadata is {found}, expected {value.decode()}"
                findings.add_for_file(ProblemKind.FOREIGN_SHARD, detail)

    def _check_run(self, batch: pa.RecordBatch, findings: "_Findings") -> None:
        if RUN_COLUMN.name in batch.schema.names:
            for other in set(batch[RUN_COLUMN.name].unique().to_pylist()) - {self.run_id}:
                findings.add_for_file(ProblemKind.FOREIGN_SHARD, f"it has rows of run {other}")

    def _winning_sources(self, keys: Sequence[str], digest: str, findings: "_Findings") -> pa.Table | None:
        """Return the sources of the attempt that wrote exactly these bytes."""
        n_read = 0
        for key in keys:
            try:
                file = pq.ParquetFile(io.BytesIO(self.private.read(key)), pre_buffer=False)  # as in `derived`
                recorded = (file.schema_arrow.metadata or {}).get(SCORES_DIGEST_KEY)
                n_read += 1
                if recorded == digest.encode():
                    self._check_identifying_values(key, file.schema_arrow.metadata, findings)
                    return file.read(columns=["image_id", "uri", "sha256"], use_threads=False)
            except (ItemError, pa.ArrowException) as error:
                findings.add_for_file(ProblemKind.MISSING_SOURCES, f"a sources file of it cannot be read: {error}")
        if n_read:
            findings.altered = True
            findings.add_for_file(ProblemKind.ALTERED_SHARD, "its bytes are not those that any attempt recorded")
        elif not keys:
            findings.add_for_file(ProblemKind.MISSING_SOURCES, "the private tree has no sources file of it")
        return None

    def _check_identifying_values(
        self, sources_key: str, metadata: Mapping[bytes, bytes], findings: "_Findings"
    ) -> None:
        """Check the file of identifying values of the attempt that won, if the attempt wrote one."""
        match = SOURCES_FILE.fullmatch(sources_key)
        if match is None or IDENTIFYING_VALUES_KEY not in metadata:
            return
        key = identifying_values_file(self.run_id, findings.shard, match["attempt"])
        try:
            schema = pq.read_schema(io.BytesIO(self.private.read(key)))
            problem = "" if schema.equals(IDENTIFYING_VALUES) else "does not have the columns of such a file"
        except (ItemError, pa.ArrowException) as error:
            problem = f"cannot be read: {error}"
        if problem:
            findings.add_for_file(ProblemKind.MISSING_SOURCES, f"{key} in the private tree {problem}")


def _with_all_columns(rows: pa.Table) -> pa.Table:
    """Return rows of an older schema version with today's columns and types; new columns are null."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(rows.num_rows, field.type)
        for field in SCORES
    ]
    return pa.table(columns, schema=SCORES)


def _without_masks(rows: pa.Table) -> pa.Table:
    return rows.drop_columns(MASK_COLUMNS)


class _Findings:
    """Collects one shard's problems."""

    def __init__(self, shard: int) -> None:
        self.shard = shard
        self.altered = False
        self.problems: list[Problem] = []

    def add(self, kind: ProblemKind, place: str, detail: str) -> None:
        remedy = RESTORE if self.altered else REMEDIES[kind]
        self.problems.append(Problem(kind, f"shard {self.shard}, {place}", detail, remedy))

    def add_for_file(self, kind: ProblemKind, detail: str) -> None:
        self.problems.append(Problem(kind, f"shard {self.shard}", detail, REMEDIES[kind]))


def _check_sources(sources: pa.Table, planned: Sequence[PlannedImage], rows: pa.Table, findings: _Findings) -> None:
    recorded = {row["image_id"]: row for row in sources.to_pylist()}
    scored = set(rows.filter(pc.equal(rows["status"], STATUS_OK))["image_id"].to_pylist())
    for image in planned:
        source = recorded.get(image.image_id)
        if source is None or source["uri"] != image.uri:
            detail = "its source is not recorded, or differs from the plan"
        elif image.image_id in scored and source["sha256"] is None:
            detail = "it is scored, but no digest of what was read is recorded"
        else:
            continue
        findings.add(ProblemKind.MISSING_SOURCES, f"image {image.image_id}", detail)
