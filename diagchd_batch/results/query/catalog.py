"""An output's runs, and where the files of their tables lie."""

import re
from collections.abc import Iterable

import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import StorageFault, UsageError
from diagchd_batch.results.datasets import OutputTrees, holds_no_run, parquet_files
from diagchd_batch.results.query.lineages import Generation, all_lineages, lineage_of
from diagchd_batch.results.run_record import DamagedRecordError, RunRecord, read_run_record, read_run_records
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan import open_plan

_RUN_OF_KEY = re.compile(r"[^/]+/run_id=([^/]+)/")


class Catalog:
    """All runs of an output, or with `run_id` those of the lineage that ends with it.

    Scores are listed only where they are asked for: an archive of many runs has very many score files. Raises
    UsageError where the output lacks the run.

    Of all runs, one whose record cannot be read is no obstacle to most tables, which are whole without it; `records`
    and `lineages` would be wrong, and raise DamagedRecordError.
    """

    def __init__(self, output: OutputTrees, run_id: str | None = None) -> None:
        self._storage = output.storage
        self._private = output.private
        held = sorted(_runs_of(output.storage, (output_layout.RUNS_PREFIX, "predictions/")))
        if run_id is not None and run_id not in held:
            raise UsageError(
                f"this output holds no run {run_id}; it has: {', '.join(held) or 'none; is this the output.uri?'}"
            )
        self._is_whole = run_id is None
        self._damage: DamagedRecordError | None = None
        self._records = self._all_records(held) if run_id is None else _lineage_records(output.storage, held, run_id)
        parents = {record.run_id: record.parent_run_id for record in self._records}
        if run_id is None:
            parents = dict.fromkeys(held) | parents
        self._lineages = all_lineages(parents) if run_id is None else lineage_of(run_id, parents)
        in_lineages = {place.run_id for place in self._lineages}
        self.run_ids = [name for name in held if name in in_lineages]

    @property
    def records(self) -> list[RunRecord]:
        self._refuse_damage()
        return self._records

    @property
    def lineages(self) -> list[Generation]:
        self._refuse_damage()
        return self._lineages

    def require_runs(self) -> None:
        """Raises UsageError where the output holds nothing of any run: no rows would read as no failures."""
        if not self.run_ids and next(iter(self._storage.list("scores/")), None) is None:
            raise holds_no_run(self._storage.uri)

    def files(self, prefix: str, file_name: str, schema: pa.Schema) -> ds.Dataset:
        """The files ``<prefix>run_id=R/<file_name>``, a regular expression, with these columns and `run_id`."""
        directories = [prefix] if self._is_whole else [f"{prefix}run_id={run_id}/" for run_id in self.run_ids]
        return _dataset(self._storage, directories, rf"{prefix}run_id=[^/]+/{file_name}", schema)

    def plan_files(self, file_name: str, schema: pa.Schema) -> ds.Dataset:
        """Files of each run's own plan: drivers that planned at the same time and lost may have left others."""
        directories = [
            output_layout.plan_studies(run_id, open_plan(self._private, run_id).head.digest).rpartition("/")[0] + "/"
            for run_id in self._planned_runs()
        ]
        return _dataset(self._private, directories, f"[^\0]+/{file_name}", schema)

    def source_files(self, schema: pa.Schema) -> ds.Dataset:
        """What attempts at shards wrote down of what they read."""
        directories = [output_layout.sources_prefix(run_id) for run_id in self._planned_runs()]
        return _dataset(self._private, directories, r"[^\0]+/shard-[^/]+\.parquet", schema)

    def _all_records(self, held: list[str]) -> list[RunRecord]:
        def keep_first(_: str, error: DamagedRecordError) -> None:
            self._damage = self._damage or error

        return read_run_records(self._storage, held, keep_first)

    def _refuse_damage(self) -> None:
        if self._damage:
            raise DamagedRecordError(
                f"{self._damage}. Until then --run-id asks another run with those that it continues; predictions and "
                "the other views that need no lineages can be asked of all runs"
            ) from self._damage

    def _planned_runs(self) -> list[str]:
        """Runs that the private tree knows. Raises StorageFault if it knows none: another tree would look empty."""
        known = [run_id for run_id in self.run_ids if self._private.stat(output_layout.plan_head(run_id))]
        if self.run_ids and not known:
            raise StorageFault(f"{self._private.uri} is not the private tree of these runs")
        return known


def _runs_of(storage: Store, prefixes: Iterable[str]) -> set[str]:
    keys = (info.key for prefix in prefixes for info in storage.list(prefix))
    return {match[1] for match in map(_RUN_OF_KEY.match, keys) if match}


def _lineage_records(storage: Store, held: list[str], run_id: str) -> list[RunRecord]:
    """A damaged record elsewhere does not concern it."""
    records: dict[str, RunRecord] = {}
    wanted: str | None = run_id
    while wanted in held and wanted not in records and (record := read_run_record(storage, wanted)):
        records[wanted] = record
        wanted = record.parent_run_id
    return [records[name] for name in sorted(records)]


def _dataset(storage: Store, directories: Iterable[str], pattern: str, schema: pa.Schema) -> ds.Dataset:
    """Exact names, so that no temporary file of a writer is ever taken for a table."""
    matches = re.compile(pattern).fullmatch
    keys = [info.key for directory in directories for info in storage.list(directory) if matches(info.key)]
    return parquet_files(storage, sorted(keys), schema)
