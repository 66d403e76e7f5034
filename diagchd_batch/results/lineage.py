"""Lineages: a run, its parent, its parent's parent. Later results replace earlier ones.

Everything that follows a lineage is here: which runs it has, and which row of a frame counts.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

import pyarrow as pa

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.results.columns.lineages import LINEAGES
from diagchd_batch.results.run_record import OnDamaged, RunRecord, read_run_record, read_run_records
from diagchd_batch.storage import Store


@dataclass(frozen=True, slots=True)
class Generation:
    """A run's place in a lineage. `lineage` is the id of its newest run. The oldest run has generation 0."""

    lineage: str
    run_id: str
    generation: int
    n_generations: int


def newest_lineages(parents: Mapping[str, str | None]) -> list[Generation]:
    """Return the lineage of every run that no other run continues.

    Args:
        parents: Run id → its parent's run id, or None where it has no parent.
    """
    continued = set(parents.values())
    return [place for run_id in parents if run_id not in continued for place in lineage_of(run_id, parents)]


def every_lineage(parents: Mapping[str, str | None]) -> list[Generation]:
    """Return the lineage that ends with each run, also of runs that another run continues.

    Args:
        parents: Run id → its parent's run id, or None where it has no parent.
    """
    return [place for run_id in parents for place in lineage_of(run_id, parents)]


def lineage_of(run_id: str, parents: Mapping[str, str | None]) -> list[Generation]:
    """Return the lineage that ends with a run, oldest run first. A parent that `parents` lacks is its oldest run.

    Args:
        run_id: The newest run of the lineage.
        parents: Run id → the id of the run that it continues, or None.
    """
    run_ids = _walk(run_id, parents.get)
    return [Generation(run_id, name, place, len(run_ids)) for place, name in enumerate(run_ids)]


def lineage_rows(places: Iterable[Generation]) -> pa.Table:
    """Return one row for each run of each lineage, in schema LINEAGES."""
    rows = [{name: getattr(place, name) for name in LINEAGES.names} for place in places]
    return pa.Table.from_pylist(rows, LINEAGES)


def recorded_lineage(output: Store, run_id: str) -> list[RunRecord]:
    """Return the records of the lineage that ends with a run, oldest run first, up to the first that is missing.

    Args:
        output: The output.
        run_id: The newest run of the lineage.

    Raises:
        DamagedRecordError: A record of the lineage cannot be read.
    """
    records: dict[str, RunRecord] = {}

    def parent_of(name: str) -> str | None:
        record = read_run_record(output, name)
        if record is None:
            return None
        records[name] = record
        return record.parent_run_id

    return [records[name] for name in _walk(run_id, parent_of) if name in records]


def resolve_lineage(output: Store, run_id: str) -> list[RunRecord]:
    """Return the records of the whole lineage that ends with a run, oldest run first.

    Args:
        output: The output.
        run_id: The newest run of the lineage.

    Raises:
        UsageError: A run of the lineage has no record.
        DamagedRecordError: A record of the lineage cannot be read.
    """
    records = recorded_lineage(output, run_id)
    known = {record.run_id for record in records}
    missing = run_id if not records else records[0].parent_run_id
    if missing is not None and missing not in known:
        whose = f"run {run_id}" if not records else f"run {missing}, a parent of {run_id},"
        raise UsageError(f"{whose} has no record in this output; the command `list` shows those that have")
    return records


def recorded_runs(output: Store, on_damaged: OnDamaged | None = None) -> list[RunRecord]:
    """Return the records of all runs that have one.

    Args:
        output: The output.
        on_damaged: As in `read_run_records`.

    Raises:
        DamagedRecordError: A record cannot be read, and `on_damaged` is None.
    """
    keys = (info.key for info in output.list(output_layout.RUNS_PREFIX))
    run_ids = [match["run_id"] for key in keys if (match := output_layout.RUN_RECORD.fullmatch(key))]
    return read_run_records(output, run_ids, on_damaged)


def newest_runs(output: Store, on_damaged: OnDamaged | None = None) -> list[RunRecord]:
    """Return the recorded runs that no other run continues, the one that started last first.

    Args:
        output: The output.
        on_damaged: As in `read_run_records`.

    Raises:
        DamagedRecordError: A record cannot be read, and `on_damaged` is None.
    """
    records = recorded_runs(output, on_damaged)
    continued = {record.parent_run_id for record in records}
    newest = [record for record in records if record.run_id not in continued]
    return sorted(newest, key=lambda record: (record.started_at, record.run_id), reverse=True)


def without_lineages_through(damaged: Collection[str], parents: Mapping[str, str | None]) -> dict[str, str | None]:
    """Return `parents` without the runs in `damaged`, whose parents are unknown, and the runs that continue them.

    Args:
        damaged: Ids of the runs whose records cannot be read.
        parents: Run id → the id of the run that it continues, or None.
    """
    return {
        run_id: parent
        for run_id, parent in parents.items()
        if not any(place.run_id in damaged for place in lineage_of(run_id, parents))
    }


def latest_rows_sql(rows: str, within: str = "") -> str:
    """Return SQL for the rows that count among those of a lineage.

    Of each frame it is the latest row with status `ok`, by generation, else the latest failure. A file that failed as a
    whole (null frame) does not count if any of its frames was scored in another run.

    Args:
        rows: A table or a query in parentheses with the columns `image_id`, `frame`, `status` and `generation`; the
            result has the others. `generation` orders the runs of a lineage.
        within: A column that tells lineages apart, where `rows` has several.
    """
    group = f"{within}, image_id" if within else "image_id"
    return f"""
    SELECT * EXCLUDE (generation, image_ok) FROM (
        SELECT *, bool_or(status = 'ok') OVER (PARTITION BY {group}) AS image_ok FROM {rows}
        QUALIFY row_number() OVER (PARTITION BY {group}, frame ORDER BY status = 'ok' DESC, generation DESC) = 1
    ) WHERE NOT (image_ok AND frame IS NULL)
    """


def _walk(run_id: str, parent_of: Callable[[str], str | None]) -> list[str]:
    """Return the run and its ancestors, oldest first. A circle ends where it closes."""
    run_ids: list[str] = []
    current: str | None = run_id
    while current is not None and current not in run_ids:
        run_ids.append(current)
        current = parent_of(current)
    return run_ids[::-1]
