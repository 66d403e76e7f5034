"""Finds the files that a finished run has lost, so that the same command makes them again.

Score files and predictions are checked to be there and to have a readable end, which a file that was cut off lacks.
`verify` checks every byte.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import ClassVar

import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.json_records import DamagedRecordError, JsonRecord
from diagchd_batch.results.columns import SCHEMA_VERSION
from diagchd_batch.results.commit import recorded_digests, stored_sha256
from diagchd_batch.results.datasets import predictions_keys, read_footer
from diagchd_batch.results.derived_tables import TABLES_SINCE
from diagchd_batch.results.run_record import ChangedShard, RunRecord, read_private_run_record, read_run_record
from diagchd_batch.sources.source import ObjectInfo
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.wording import counted

_READS_AT_ONCE = 16
_SHARDS_NAMED = 5


class KeptDigests(JsonRecord):
    """The digests of the score files that a finished run has lost. It lies in the private tree until they are back.

    Attributes:
        shards: Shard → the SHA-256 of each file that an attempt at the shard had made, as 64 hex digits.
        schema_version: The version that these files were written with.
    """

    remedy: ClassVar[str] = "delete it; the shards that were lost are then accepted as they are scored again"

    shards: Mapping[int, Sequence[str]]
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True)
class LostFiles:
    """What a finished run has lost.

    Attributes:
        missing_shards: The shards whose score files are gone.
        damaged_shards: The shards whose score files cannot be read.
        derived: The names of the derived files that are missing or cannot be read.
    """

    missing_shards: Sequence[int] = ()
    damaged_shards: Sequence[int] = ()
    derived: Sequence[str] = ()

    def __bool__(self) -> bool:
        """Whether anything is lost."""
        return bool(self.missing_shards or self.damaged_shards or self.derived)

    def __str__(self) -> str:
        """Name what is lost, for a message."""
        parts = []
        for shards, how in ((self.missing_shards, "missing"), (self.damaged_shards, "damaged")):
            parts += [f"{how}: {_named(shards)}"] if shards else []
        parts += [f"missing or damaged: {', '.join(self.derived)}"] if self.derived else []
        return "; ".join(parts)


def find_lost_files(
    output: Store, private: Store, plan: Plan, run_id: str, missing_tables: Callable[[str], Sequence[str]]
) -> LostFiles:
    """Return what a run that was finished has lost.

    Args:
        output: The output.
        private: The private tree.
        plan: The run's plan.
        run_id: The run.
        missing_tables: Gets the run id, and returns the names of missing files that the evaluation and the report made.

    Raises:
        StorageFault: The storage does not answer.
    """
    infos = {}
    for info in output.list(output_layout.scores_prefix(run_id)):
        if match := output_layout.SHARD_FILE.fullmatch(info.key):
            infos[int(match["shard"])] = info
    planned = [reference.shard for reference in plan.shards()]
    there = [shard for shard in planned if shard in infos]
    footers = _footers(output, [infos[shard] for shard in there])
    return LostFiles(
        [shard for shard in planned if shard not in infos],
        [shard for shard, footer in zip(there, footers, strict=True) if footer is None],
        [*_lost_records(output, private, plan, run_id), *missing_tables(run_id)],
    )


def reopen(output: Store, private: Store, run_id: str, lost: LostFiles) -> None:
    """Make a finished run one that can be resumed. Damaged score files are removed.

    The digests that were recorded for lost score files are kept first, so that a call that is killed loses nothing.

    Args:
        output: The output.
        private: The private tree.
        run_id: The run.
        lost: What the run has lost.
    """
    shards = [*lost.missing_shards, *lost.damaged_shards]
    if shards:
        key = output_layout.kept_digests_file(run_id)
        kept = KeptDigests.read(private, key)
        before = dict(kept.shards) if kept else {}
        version = kept.schema_version if kept else _schema_version(output, run_id)
        digests = recorded_digests(private, run_id, shards) | before
        KeptDigests(shards=digests, schema_version=version).write(private, key)
    for shard in lost.damaged_shards:
        output.delete(output_layout.shard_file(run_id, shard))
    output.delete(output_layout.success_marker(run_id))


def changed_shards(output: Store, private: Store, run_id: str) -> list[ChangedShard]:
    """Return the lost shards whose score files, now that they are back, have other bytes than before.

    Args:
        output: The output.
        private: The private tree.
        run_id: The run.
    """
    kept = KeptDigests.read(private, output_layout.kept_digests_file(run_id))
    changed = []
    for shard, digests in sorted(kept.shards.items()) if kept else ():
        digest = stored_sha256(output, output_layout.shard_file(run_id, shard))
        if digests and digest not in digests:
            changed.append(ChangedShard(shard=shard, sha256_before=list(digests), sha256_after=digest))
    return changed


def _schema_version(output: Store, run_id: str) -> int:
    with suppress(DamagedRecordError):
        record = read_run_record(output, run_id)
        if record is not None:
            return record.schema_version
    return SCHEMA_VERSION


def refuse_changed_shards(private: Store, run_id: str, changed: Sequence[ChangedShard]) -> None:
    """Refuse score files that were lost and have come back with other bytes.

    Files of an earlier schema version always come back with other bytes, because they get further columns. They are
    taken, and the run record names them.

    Args:
        private: The private tree.
        run_id: The run.
        changed: What `changed_shards` returned.

    Raises:
        RunFault: There is such a file.
    """
    kept = KeptDigests.read(private, output_layout.kept_digests_file(run_id))
    if changed and kept is not None and kept.schema_version == SCHEMA_VERSION:
        raise RunFault(
            f"{_named([one.shard for one in changed])} of this finished run, scored again, differ from the digest that "
            "was kept: the versions of the packages, the processor or the GPU are others than before. Restore the "
            "files from a backup and give the same command again; or, to take the new scores, add "
            "--accept-changed-shards, which records them in run.json"
        )


def _lost_records(output: Store, private: Store, plan: Plan, run_id: str) -> list[str]:
    """Return the names of what is missing of the run's records, predictions and lineage tables."""
    lost = []
    record: RunRecord | None = None
    with suppress(DamagedRecordError):
        record = read_run_record(output, run_id)
    if record is None or record.counts is None:
        lost.append("run record")
    if read_private_run_record(private, run_id) is None:
        lost.append("private run record")
    if not _has_predictions(output, plan, record, run_id):
        lost.append("predictions")
    if record and record.schema_version >= TABLES_SINCE:
        tables = {
            "run_table": output_layout.run_table_file(run_id),
            "superseded": output_layout.superseded_file(run_id),
            "lineages": output_layout.lineage_file(run_id),
        }
        lost += [name for name, key in tables.items() if None in _footers(output, [output.stat(key)])]
    return lost


def _has_predictions(output: Store, plan: Plan, record: RunRecord | None, run_id: str) -> bool:
    """Return whether all parts of the predictions are there, with as many rows as the run has."""
    keys = predictions_keys(output, run_id)
    expected = [output_layout.predictions_file(run_id, part) for part in range(len(keys))]
    if keys != expected or bool(keys) != bool(plan.head.n_images):
        return False
    footers = _footers(output, [output.stat(key) for key in keys])
    if record and record.counts and None not in footers:
        return sum(footer.num_rows for footer in footers if footer) == record.counts.n_rows
    return None not in footers


def _footers(output: Store, infos: Iterable[ObjectInfo | None]) -> list[pq.FileMetaData | None]:
    """Return the footer of each table, or None for one that is missing or has no readable end."""

    def footer(info: ObjectInfo | None) -> pq.FileMetaData | None:
        return None if info is None else read_footer(output, info.key, info.size_bytes or 0)

    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="footers") as pool:
        return list(pool.map(footer, infos))


def _named(shards: Sequence[int]) -> str:
    """Return how many score files there are, with the numbers of the first."""
    names = ", ".join(map(str, shards[:_SHARDS_NAMED])) + (", …" if len(shards) > _SHARDS_NAMED else "")
    return f"{counted(len(shards), 'score file')} (shard {names})"
