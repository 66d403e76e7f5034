"""The runs of an output, and where the files of their tables are."""

import re
from collections.abc import Iterable, Iterator
from functools import cached_property

import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import StorageFault, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.datasets import COMPARE_TO, RUN_ID, OutputTrees, holds_no_run, parquet_files
from diagchd_batch.results.lineage import (
    Generation,
    every_lineage,
    lineage_of,
    recorded_lineage,
    without_lineages_through,
)
from diagchd_batch.results.metrics_tables import REFERENCE_CALL, comparison_keys, derived_dataset, metrics_keys
from diagchd_batch.results.run_record import OnDamaged, RunRecord, read_run_records
from diagchd_batch.storage import Store
from diagchd_batch.studies.header_index.stored_index import newest_head, stored_headers
from diagchd_batch.studies.plan.stored_plan import open_plan


class TableFiles:
    """All runs of an output, or those of one lineage.

    Scores are listed only where they are asked for, because an archive of many runs has very many score files.

    With all runs, a record that cannot be read does not stop the others. `records` does not have that run; `lineages`
    has neither it nor the runs that continue it, whose earlier results cannot be found. `on_damaged` is told once,
    when one of the two is asked for.

    Args:
        output: The output.
        run_id: The newest run of the lineage; None for all runs.
        on_damaged: Receives the id of each run whose record cannot be read, and the error.

    Raises:
        UsageError: The output has no such run.
        DamagedRecordError: A record of the lineage of `run_id` cannot be read.
    """

    def __init__(self, output: OutputTrees, run_id: str | None, on_damaged: OnDamaged) -> None:
        self._storage = output.storage
        self._private = output.private
        self._on_damaged = on_damaged
        self._is_whole = run_id is None
        self._damaged: dict[str, DamagedRecordError] = {}
        held = sorted(_runs_of(output.storage, (output_layout.RUNS_PREFIX, output_layout.PREDICTIONS_PREFIX)))
        if run_id is None:
            self.run_ids = held
            self._records = read_run_records(output.storage, held, self._damaged.__setitem__)
            parents = dict.fromkeys(held) | _parents(self._records)
            self._lineages = every_lineage(without_lineages_through(self._damaged, parents))
            return
        if run_id not in held:
            raise UsageError(
                f"this output holds no run {run_id}; it has: {', '.join(held) or 'none; is this the output.uri?'}"
            )
        self._records = sorted(recorded_lineage(output.storage, run_id), key=lambda record: record.run_id)
        parents = _parents(self._records)
        in_lineage = {place.run_id for place in lineage_of(run_id, parents)}
        self._lineages = every_lineage({name: parents.get(name) for name in sorted(in_lineage)})
        self.run_ids = [name for name in held if name in in_lineage]

    @cached_property
    def records(self) -> list[RunRecord]:
        """The run records that can be read, by run id."""
        self._report_damaged()
        return self._records

    @cached_property
    def lineages(self) -> list[Generation]:
        """The runs of the lineage that ends with each run."""
        self._report_damaged()
        return self._lineages

    @property
    def has_simulated_data(self) -> bool:
        """Whether the data of any run are simulated, as far as its record can be read."""
        return any(record.simulated for record in self._records)

    def require_runs(self) -> None:
        """Refuse an output that has nothing of any run, because an empty answer would read as "no failures".

        Raises:
            UsageError: The output holds no run, no score file and no index of headers.
        """
        has_scores = next(iter(self._storage.list(output_layout.SCORES_PREFIX)), None) is not None
        if not self.run_ids and not has_scores and newest_head(self._private) is None:
            raise holds_no_run(self._storage.uri)

    def files(self, prefix: str, pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
        """Return the files of a table as a dataset with these columns and `run_id`.

        Args:
            prefix: The prefix of the table's files of all runs.
            pattern: The pattern of their keys, from `output_layout`.
            schema: The columns.
        """
        return _dataset(self._storage, self._prefixes(prefix), pattern, schema)

    def metrics_files(self, table: str, schema: pa.Schema) -> ds.Dataset:
        """Return the files of a metrics table as a dataset with these columns and `run_id`.

        Args:
            table: The table's name.
            schema: The columns.
        """
        keys = self._metrics_keys(table)
        read = derived_dataset if REFERENCE_CALL in schema.names else parquet_files
        return read(self._storage, keys, schema)

    def comparison_files(self, table: str, schema: pa.Schema) -> ds.Dataset:
        """Return the files of a table of comparisons as a dataset with these columns, `run_id` and `compare_to`.

        Comparisons of a run of the catalog with any earlier run count.

        Args:
            table: The table's name.
            schema: The columns.
        """
        keys = comparison_keys(self._derived_keys(output_layout.comparisons_table_prefix(table)), table)
        return parquet_files(self._storage, keys, schema, from_path=(RUN_ID, COMPARE_TO))

    def plan_files(self, pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
        """Return files of each run's own plan.

        Drivers that planned at the same time and lost may have left other plans, which are not read.

        Args:
            pattern: Which files of a plan, such as `output_layout.PLAN_PART`.
            schema: The schema of those files.
        """
        prefixes = [
            output_layout.plan_prefix(run_id, open_plan(self._private, run_id).head.digest)
            for run_id in self._planned_runs()
        ]
        return _dataset(self._private, prefixes, pattern, schema)

    def source_files(self, schema: pa.Schema) -> ds.Dataset:
        """Return what each attempt at a shard recorded about the files that it read."""
        prefixes = [output_layout.sources_prefix(run_id) for run_id in self._planned_runs()]
        return _dataset(self._private, prefixes, output_layout.SOURCES_FILE, schema)

    def header_rows(self) -> ds.Dataset:
        """Return the index of headers, which belongs to the archive and not to a run. It may be empty."""
        rows = stored_headers(self._private)
        if not rows.files:
            self._planned_runs()  # in another private tree the index would seem to be empty
        return rows

    def _prefixes(self, prefix: str) -> list[str]:
        """Return where to list the files of the catalog's runs below a prefix that has a directory for each run."""
        return [prefix] if self._is_whole else [output_layout.run_prefix(prefix, run_id) for run_id in self.run_ids]

    @property
    def is_whole(self) -> bool:
        """Whether all runs of the output count, and not those of one lineage."""
        return self._is_whole

    def has(self, key: str) -> bool:
        """Return whether the output has this file."""
        return self._storage.stat(key) is not None

    def keys_of(self, table: str, rows: ds.Dataset) -> list[str]:
        """Return the keys of the files that a table's rows come from.

        Args:
            table: The table's name.
            rows: Its rows, as another method returned them.
        """
        if isinstance(rows, ds.FileSystemDataset):
            _, root = self._storage.arrow()
            return [path.removeprefix(f"{root}/") for path in rows.files]
        return self._metrics_keys(table)

    def _metrics_keys(self, table: str) -> list[str]:
        return metrics_keys(self._derived_keys(output_layout.metrics_table_prefix(table)), table)

    def _derived_keys(self, prefix: str) -> Iterator[str]:
        """Return the keys below the prefix of a derived table, and below that of schema version 1's tables."""
        prefixes = [*self._prefixes(prefix), *self._prefixes(output_layout.METRICS_PREFIX)]
        if self._is_whole and prefix.startswith(output_layout.METRICS_PREFIX):
            prefixes = [output_layout.METRICS_PREFIX]  # it has both
        return _keys(self._storage, prefixes)

    def _report_damaged(self) -> None:
        damaged, self._damaged = self._damaged, {}
        for run_id, error in damaged.items():
            self._on_damaged(run_id, error)

    def _planned_runs(self) -> list[str]:
        """Return the runs that the private tree has. Raise StorageFault if it has none: another tree looks empty."""
        known = [run_id for run_id in self.run_ids if self._private.stat(output_layout.plan_head(run_id))]
        if self.run_ids and not known:
            raise StorageFault(f"{self._private.uri} is not the private tree of these runs")
        return known


def _runs_of(storage: Store, prefixes: Iterable[str]) -> set[str]:
    keys = _keys(storage, prefixes)
    return {match["run_id"] for match in map(output_layout.RUN_DIRECTORY.fullmatch, keys) if match}


def _parents(records: Iterable[RunRecord]) -> dict[str, str | None]:
    return {record.run_id: record.parent_run_id for record in records}


def _dataset(storage: Store, prefixes: Iterable[str], pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
    return parquet_files(storage, sorted(filter(pattern.fullmatch, _keys(storage, prefixes))), schema)


def _keys(storage: Store, prefixes: Iterable[str]) -> Iterator[str]:
    return (info.key for prefix in prefixes for info in storage.list(prefix))
