"""Prepares a deletion: searches every file of both trees, and writes those that change under a new name."""

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.process.scratch_files import scratch_file
from diagchd_batch.results.commit import SCORES_DIGEST_KEY, file_sha256, stored_sha256
from diagchd_batch.results.counts import RowCounter, RunCounts
from diagchd_batch.results.datasets import OutputTrees
from diagchd_batch.results.deletion.file_kinds import kind_of_output_file, kind_of_private_file
from diagchd_batch.results.deletion.indexed_headers import IndexedSubject, find_in_index
from diagchd_batch.results.deletion.records import (
    DeletionNote,
    Removal,
    Replacement,
    ShardChange,
    Tree,
    read_notes,
)
from diagchd_batch.results.deletion.remaining_plan import RemainingPlan, plan_without
from diagchd_batch.results.deletion.row_removal import opened_table, row_groups, write_without
from diagchd_batch.results.deletion.subject_search import TOKEN_COLUMNS, Subject
from diagchd_batch.results.lineage import lineage_of
from diagchd_batch.results.run_record import PlanRecord, PrivateRunRecord, RunRecord, read_private_run_record
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.stored_plan import Plan
from diagchd_batch.uris import join_uri

_REMOVED_REASON = "a deletion removed this text, because it named what was deleted"


@dataclass
class Prepared:
    """What a deletion would do, or is ready to do.

    Attributes:
        number: The number of the note.
        note: The note.
        replaced: Files that are written again, ready under their staged names if the deletion was confirmed.
        removed: Files that are removed.
        unknown: Files that are not this program's. They were searched, and the subject is not in them.
        holding: Files that name the subject and that this program cannot change.
        doubtful: Files that have an own id of the subject as a word, which may be chance.
        to_evaluate: The runs whose metrics or reports are removed because they rest on what is deleted.
        trainings: The trainings that had the subject in their plan. Their plans and checkpoints are removed.
    """

    number: int
    note: DeletionNote
    replaced: list[Replacement] = field(default_factory=list)
    removed: list[Removal] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    holding: list[str] = field(default_factory=list)
    doubtful: list[str] = field(default_factory=list)
    to_evaluate: list[str] = field(default_factory=list)
    trainings: list[str] = field(default_factory=list)


def next_number(storage: Store) -> int:
    """Return the number of the next deletion's note. Two deletions that began together have the same number.

    Args:
        storage: The output.
    """
    return sum(1 for _ in read_notes(storage))


def prepare_run_deletion(output: OutputTrees, records: Mapping[str, RunRecord], run_id: str) -> Prepared:
    """Prepare the removal of a whole run.

    Args:
        output: The output.
        records: The records of all runs by run id.
        run_id: The run.

    Returns:
        What would be done. No file has to be staged for it.

    Raises:
        UsageError: The output has no such run, or another run continues it.
    """
    if run_id not in {*output.run_ids(), *output.planned_run_ids()}:
        raise UsageError(f"this output holds no run {run_id}; the command `list` shows the runs that it holds")
    number = next_number(output.storage)
    if children := sorted(record.run_id for record in records.values() if record.parent_run_id == run_id):
        raise UsageError(
            f"run {run_id} cannot be deleted before the runs that continue it; delete {', '.join(children)} first"
        )
    removed = []
    n_rows = 0
    for tree, store, key in every_file(output):
        if run_id in output_layout.run_ids_in(key):
            removed.append(Removal(tree=tree, key=key))
            if output_layout.SHARD_FILE.fullmatch(key):
                with opened_table(store, key) as file:
                    n_rows += file.metadata.num_rows
    note = DeletionNote(deleted_on=_today(), kind="run", run_ids=(run_id,), n_rows=n_rows)
    return Prepared(number, note, removed=removed)


def prepare_subject_deletion(
    output: OutputTrees, records: Mapping[str, RunRecord], plans: Mapping[str, Plan], subject: Subject, *, stage: bool
) -> Prepared:
    """Prepare the removal of a subject from all runs.

    Args:
        output: The output.
        records: The records of all runs by run id.
        plans: The plans of all runs by run id.
        subject: The subject.
        stage: Whether the new files are written under their staged names. If not, the result only shows what would be
            done.

    Returns:
        What would be done, or is ready to be done.

    Raises:
        RunFault: A file cannot be read, so it cannot be searched.
    """
    number = next_number(output.storage)
    preparation = _SubjectPreparation(output, records, plans, subject, stage)
    preparation.run()
    shards = sorted(preparation.shards.values(), key=lambda change: (change.run_id, change.shard))
    note = DeletionNote(
        deleted_on=_today(),
        kind="subject",
        run_ids=tuple(sorted(preparation.affected)),
        n_rows=preparation.n_rows,
        shards=tuple(shards),
    )
    found = preparation.found
    return Prepared(
        number,
        note,
        preparation.replaced,
        preparation.removed,
        found["unknown"],
        found["holding"],
        found["doubtful"],
        sorted(preparation.to_evaluate),
        sorted(preparation.trainings),
    )


def every_file(output: OutputTrees) -> Iterator[tuple[Tree, Store, str]]:
    """Yield every file of both trees with its tree and key, once, in ascending order of keys within a tree.

    Args:
        output: The output.
    """
    root = output.storage.uri.rstrip("/") + "/"
    private = output.private.uri.rstrip("/") + "/"
    inside = private.removeprefix(root) if private.startswith(root) else None
    for key in sorted(info.key for info in output.storage.list()):
        if inside is None or not key.startswith(inside):
            yield "output", output.storage, key
    for key in sorted(info.key for info in output.private.list()):
        yield "private", output.private, key


class _SubjectPreparation:
    """Goes over every file once and decides what happens to it."""

    def __init__(
        self,
        output: OutputTrees,
        records: Mapping[str, RunRecord],
        plans: Mapping[str, Plan],
        subject: Subject,
        stage: bool,
    ) -> None:
        self._output = output
        self._records = records
        self._plans = plans
        self._subject = subject
        self._stage = stage
        self._staging = secrets.token_hex(8)
        self._lost: dict[str, RowCounter] = {}
        self._new_plans: dict[str, RemainingPlan] = {}
        self.affected: set[str] = set()
        self.to_evaluate: set[str] = set()
        self.shards: dict[tuple[str, int], ShardChange] = {}
        self.n_rows = 0
        self.replaced: list[Replacement] = []
        self.removed: list[Removal] = []
        self.found: dict[str, list[str]] = {"unknown": [], "holding": [], "doubtful": []}

    def run(self) -> None:
        files = list(every_file(self._output))
        for run_id, plan in self._plans.items():
            self._change_plan(run_id, plan)
        # Score files come first: the sources record their digests, and the runs with rows decide what is derived.
        shards = {key for tree, _, key in files if tree == "output" and output_layout.SHARD_FILE.fullmatch(key)}
        for key in sorted(shards):
            self._change_rows("output", self._output.storage, key)
        parents = {run_id: record.parent_run_id for run_id, record in self._records.items()}
        self._derived_runs = {
            run_id
            for run_id in {*parents, *self.affected}
            if any(place.run_id in self.affected for place in lineage_of(run_id, parents))
        }
        for tree, store, key in files:
            if tree == "output" and key not in shards:
                self._public(store, key)
            elif tree == "private" and not key.startswith(output_layout.DELETION_PREFIX):
                self._private(store, key)  # the end of a deletion removes what any deletion has staged
        for run_id in sorted(self._records):
            self._change_record(run_id)

    def _public(self, store: Store, key: str) -> None:
        kind = kind_of_output_file(key)
        if kind == "derived":
            self._derived("output", store, key)
        elif kind == "table":
            self._change_rows("output", store, key)
        elif kind != "run_record":  # `_change_record` writes that again
            self._search("output", store, key, is_known=kind != "unknown")

    def _private(self, store: Store, key: str) -> None:
        (run_id, *_) = output_layout.run_ids_in(key) or ("",)
        kind = kind_of_private_file(key)
        if key.startswith(output_layout.TRAINING_TREE_PREFIX) and run_id in self.trainings:
            if _name_of(key) not in _names_kept_of_training(run_id):
                self.removed.append(Removal(tree="private", key=key))
        elif kind == "derived":
            self._derived("private", store, key)
        elif kind == "temporary":  # of many subjects in one file, and made again when it is needed
            self.removed.append(Removal(tree="private", key=key))
        elif kind == "plan":
            self._old_plan(store, key, run_id)
        elif kind == "table":
            self._change_rows("private", store, key)
        elif output_layout.HEADER_INDEX_PART.fullmatch(key):
            self._change_headers(store, key)
        elif kind == "text":
            self._change_text(store, key)
        elif kind == "submission":
            self._of_ended_submission(store, key)
        elif not (kind == "plan_head" and run_id in self._new_plans) and not (
            kind == "run_record" and run_id in self._records
        ):
            self._search("private", store, key, is_known=kind != "unknown")

    @cached_property
    def trainings(self) -> set[str]:
        """The run ids of the trainings whose plan has the subject."""
        found = set()
        for info in self._output.private.list(output_layout.TRAINING_TREE_PREFIX + output_layout.RUNS_PREFIX):
            if output_layout.PLAN_STUDIES.fullmatch(info.key.removeprefix(output_layout.TRAINING_TREE_PREFIX)):
                with opened_table(self._output.private, info.key) as file:
                    if self._subject.is_in_table(file, with_own_ids=True):
                        found |= output_layout.run_ids_in(info.key)
        return found

    def _derived(self, tree: Tree, store: Store, key: str) -> None:
        """Remove a derived file that rests on the subject's rows, or that names the subject for another reason."""
        run_ids = output_layout.run_ids_in(key)
        if run_ids & self._derived_runs:
            self.to_evaluate |= run_ids & self._derived_runs
        elif not self._names_subject(store, key, with_own_ids=True):
            return
        self.removed.append(Removal(tree=tree, key=key))

    def _change_headers(self, store: Store, key: str) -> None:
        """Write a table of the index of headers again without the subject's objects, planned or not."""
        with opened_table(store, key) as file, scratch_file() as out:
            if sum(lost.num_rows for lost in write_without(file, self._indexed_subject.rows, out)):
                self._add("private", key, out)

    @cached_property
    def _indexed_subject(self) -> IndexedSubject:
        return find_in_index(self._output.private, self._subject)

    def _change_plan(self, run_id: str, plan: Plan) -> None:
        new = plan_without(self._output.private, plan, self._subject, self._add)
        if new is not None:
            self._new_plans[run_id] = new
            self.affected.add(run_id)

    def _old_plan(self, store: Store, key: str, run_id: str) -> None:
        """Remove a file of a plan that is written again, or of one that was not used and names the subject."""
        if run_id in self._new_plans or self._names_subject(store, key, with_own_ids=True):
            self.removed.append(Removal(tree="private", key=key))

    def _of_ended_submission(self, store: Store, key: str) -> None:
        """Remove what a submission that was killed has left, if it names the subject. No run of the output is live."""
        if self._names_subject(store, key, with_own_ids=True):
            self.removed.append(Removal(tree="private", key=key))

    def _change_rows(self, tree: Tree, store: Store, key: str) -> None:
        shard = output_layout.SHARD_FILE.fullmatch(key)
        with opened_table(store, key) as file:
            columns = [name for name in TOKEN_COLUMNS if name in file.schema_arrow.names]
            if not any(pc.any(self._subject.rows(rows)).as_py() for rows in row_groups(file, columns)):
                self._change_digest(tree, store, key)
                return
            metadata = self._with_new_digest(key, file.schema_arrow.metadata or {})
            with scratch_file() as out:
                for lost in write_without(file, self._subject.rows, out, metadata=metadata):
                    if shard:
                        self._count(shard["run_id"], int(shard["shard"]), lost)
                self._add(tree, key, out)
                if shard:
                    self._note_shard(shard["run_id"], int(shard["shard"]), stored_sha256(store, key), out)

    def _change_digest(self, tree: Tree, store: Store, key: str) -> None:
        """Write the sources of an attempt again that have no row of the subject, if their score file has changed."""
        source = output_layout.SOURCES_FILE.fullmatch(key)
        if source is None or (source["run_id"], int(source["shard"])) not in self.shards:
            return
        with opened_table(store, key) as file, scratch_file() as out:
            old = file.schema_arrow.metadata or {}
            if (new := self._with_new_digest(key, old)) != old:
                for _ in write_without(file, self._subject.rows, out, metadata=new):
                    pass
                self._add(tree, key, out)

    def _with_new_digest(self, key: str, metadata: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
        source = output_layout.SOURCES_FILE.fullmatch(key)
        change = self.shards.get((source["run_id"], int(source["shard"]))) if source else None
        if change is None or metadata.get(SCORES_DIGEST_KEY) != change.old_sha256.encode():
            return dict(metadata)
        return {**metadata, SCORES_DIGEST_KEY: change.new_sha256.encode()}

    def _count(self, run_id: str, shard: int, lost: pa.Table) -> None:
        self.n_rows += lost.num_rows
        self._lost.setdefault(run_id, RowCounter()).add(lost, shard)

    def _note_shard(self, run_id: str, shard: int, old_sha256: str, out: BinaryIO) -> None:
        change = ShardChange(run_id=run_id, shard=shard, old_sha256=old_sha256, new_sha256=file_sha256(out))
        self.shards[run_id, shard] = change
        self.affected.add(run_id)

    def _change_text(self, store: Store, key: str) -> None:
        """Drop the lines of a log or a traceback that name the subject."""
        lines = store.read(key).splitlines(keepends=True)
        kept = [line for line in lines if not self._is_named(line)]
        if len(kept) < len(lines):
            self._add("private", key, b"".join(kept))

    def _change_record(self, run_id: str) -> None:
        """Write a run's records again, if the run has lost images or the reason of its end names the subject."""
        private = read_private_run_record(self._output.private, run_id)
        old: RunRecord = private or self._records[run_id]
        record = self._remaining_record(run_id, old)
        if isinstance(record, PrivateRunRecord):
            if record.reason and self._is_named(record.reason.encode()):
                record = record.model_copy(update={"reason": _REMOVED_REASON})
            if self._subject.is_in_text(record.to_json()):
                place = place_of(self._output, "private", output_layout.private_run_record(run_id))
                self.found["holding"].append(place)
            if record != old:
                self._add("private", output_layout.private_run_record(run_id), record.to_json())
        public = record.public() if isinstance(record, PrivateRunRecord) else record
        if public != self._records[run_id]:
            self._add("output", output_layout.run_record(run_id), public.to_json())

    def _remaining_record(self, run_id: str, record: RunRecord) -> RunRecord:
        changes: dict[str, object] = {}
        if new := self._new_plans.get(run_id):
            numbers = {name: getattr(new.head, name) for name in PlanRecord.model_fields}
            changes["plan"] = PlanRecord(**numbers)
            if isinstance(record, PrivateRunRecord):
                changes["plan_digest"] = new.head.digest
        if record.counts is not None and run_id in self._lost:
            emptied = new.emptied_shards if new else 0
            changes["counts"] = _difference(record.counts, self._lost[run_id].result(), emptied)
        return record.model_copy(update=changes)

    def _is_named(self, text: bytes) -> bool:
        return self._subject.is_in_text(text) or self._subject.may_be_in_text(text)

    def _names_subject(self, store: Store, key: str, *, with_own_ids: bool = False) -> bool:
        if key.endswith(".parquet"):
            with opened_table(store, key) as file:
                return self._subject.is_in_table(file, with_own_ids=with_own_ids)
        data = store.read(key)
        return self._subject.is_in_text(data) or (with_own_ids and self._subject.may_be_in_text(data))

    def _search(self, tree: Tree, store: Store, key: str, *, is_known: bool) -> None:
        place = place_of(self._output, tree, key)
        if self._subject.is_in_text(key.encode()) or self._names_subject(store, key):
            self.found["holding"].append(place)
        elif self._names_subject(store, key, with_own_ids=True) and not is_known:
            self.found["doubtful"].append(place)
        elif not is_known:
            self.found["unknown"].append(place)

    def _add(self, tree: Tree, key: str, data: bytes | BinaryIO) -> None:
        staged = output_layout.staged_file(self._staging, len(self.replaced))
        if self._stage:
            self._output.private.create(staged, data)
        self.replaced.append(Replacement(tree=tree, key=key, staged=staged))


def place_of(output: OutputTrees, tree: Tree, key: str) -> str:
    """Return the path of a file below the output, or its URI if its private tree lies elsewhere.

    Args:
        output: The output with its private tree.
        tree: The tree that has the file.
        key: The file's key in that tree.
    """
    place = join_uri((output.storage if tree == "output" else output.private).uri, key)
    return place.removeprefix(f"{output.storage.uri.rstrip('/')}/")


def _difference(counts: RunCounts, lost: RunCounts, n_emptied: int) -> RunCounts:
    """Return the counts over a run's rows without those that were lost."""
    values: dict[str, object] = {"n_shards": counts.n_shards - n_emptied}
    for name in ("n_images", "n_rows", "n_ok", "n_failed", "n_chd_calls"):
        values[name] = getattr(counts, name) - getattr(lost, name)
    for name in ("failures", "reference_status", "quality_flags"):
        remaining = {value: n - getattr(lost, name).get(value, 0) for value, n in getattr(counts, name).items()}
        values[name] = {value: n for value, n in remaining.items() if n}
    return counts.model_copy(update=values)


def _today() -> str:
    return datetime.now(UTC).date().isoformat()


def _names_kept_of_training(run_id: str) -> set[str]:
    """Return the files that stay of a training: that it was, with which settings, and where its package is."""
    keys = (output_layout.identity_file(run_id), output_layout.run_record(run_id), output_layout.success_marker(run_id))
    return set(map(_name_of, keys))


def _name_of(key: str) -> str:
    return key.rpartition("/")[2]
