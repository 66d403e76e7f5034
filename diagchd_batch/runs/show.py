"""`show`: everything that an output knows of one image, study or subject."""

import hashlib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, RunFault, UsageError
from diagchd_batch.failure_codes import REMEDIES
from diagchd_batch.results.columns import PREDICTIONS
from diagchd_batch.results.commit import SCORES_DIGEST_KEY
from diagchd_batch.results.datasets import (
    damage_as_fault,
    holds_no_run,
    predictions_keys,
    read_predictions,
    read_scores,
    shard_of,
)
from diagchd_batch.results.deletion.records import refuse_unfinished_deletion
from diagchd_batch.results.deletion.subject_search import is_own_id
from diagchd_batch.results.lineage import latest_rows_sql, newest_lineages, without_lineages_through
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.results.output import Output
from diagchd_batch.results.run_record import RunRecord
from diagchd_batch.runs.run_lookup import OnNote, ignore_note
from diagchd_batch.storage import Store
from diagchd_batch.studies.plan.stored_plan import Plan, open_plan
from diagchd_batch.wording import shown_value

Row = dict[str, Any]

_TOKEN = re.compile(r"(?P<kind>[isp])-[0-9a-f]{16}")
_ID_COLUMNS = {"i": "image_id", "s": "study_id", "p": "subject_id"}
_SOURCE_FIELDS = ("sha256", "digest_of", "mask_uri", "mask_sha256", "error")


@dataclass(frozen=True)
class ShownRun:
    """The run that made a result: what scored, with which versions, and when."""

    run_id: str
    parent_run_id: str | None
    selection: str
    status: str
    simulated: bool
    model: str
    weights_digest: str
    precision: str
    package_version: str
    versions: dict[str, str]
    devices: list[str]
    started_at: datetime
    ended_at: datetime | None
    fingerprint: str


@dataclass
class ShownResult:
    """One row of a frame, or of a file that failed as a whole.

    Attributes:
        run_id: The run.
        shard: The number of the shard.
        values: The columns of `predictions` that have a value, without the shard.
        remedy: What can be done about a failure; None for a scored row.
        current_in: The lineages, by their newest run, in which the row counts.
        superseded_in: The lineages in which a later run, or a better row of the frame, replaces it.
        uri: The file, from the private tree; None where the private tree is not at hand.
        source: What the attempt that was committed recorded of the file: ``sha256`` of what ``digest_of`` names,
            ``mask_uri``, ``mask_sha256`` and ``error``, the full text of a failure. Empty if the private tree is not
            at hand.
    """

    run_id: str
    shard: int
    values: Row
    remedy: str | None = None
    current_in: list[str] = field(default_factory=list)
    superseded_in: list[str] = field(default_factory=list)
    uri: str | None = None
    source: dict[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class ShownStudy:
    """What the plan of a run says of a study: its own ids, its label, and why rows of it are excluded. Identified."""

    run_id: str
    study_id: str
    subject_id: str
    source_study_id: str
    source_subject_id: str | None
    fetus: str | None
    label: int | None
    n_images: int
    exclude_reasons: list[str]


_STUDY_FIELDS = [field.name for field in fields(ShownStudy) if field.name != "run_id"]


@dataclass(frozen=True)
class Shown:
    """The answer of `show`.

    Attributes:
        has_private: Whether a private tree was at hand. Without it `studies` is empty and no file is known.
        runs: The runs that made the results or planned the studies, the oldest first.
        studies: What the plans say of the studies.
        evaluations: The rows of `study_results` that are about the studies, each with its `run_id`.
        results: The rows of the images, in the order of the runs.
    """

    has_private: bool
    runs: list[ShownRun]
    studies: list[ShownStudy]
    evaluations: list[Row]
    results: list[ShownResult]


def show(output: Output, name: str, run_id: str | None = None, on_note: OnNote = ignore_note) -> Shown:
    """Return everything that an output knows of one image, study or subject.

    Args:
        output: The output, with its private tree if that is at hand.
        name: A token (``i-…``, ``s-…`` or ``p-…``); or the path or name of a file, or the own id of a study or
            subject, which are looked up in the private tree.
        run_id: The run to look into; all runs by default.
        on_note: Receives a sentence about each run that is left out because its record is damaged.

    Returns:
        The results in the order of the runs, with their sources, and what the plans say of their studies.

    Raises:
        UsageError: The output has no such run, or nothing of that name.
        RunFault: A table cannot be read.
    """
    refuse_unfinished_deletion(output.private)
    damaged: list[str] = []

    def leave_out(damaged_run_id: str, error: RunFault) -> None:
        damaged.append(damaged_run_id)
        on_note(f"run {damaged_run_id} is left out: {error}")

    records = output.runs(on_damaged=leave_out)
    if not records and not damaged:
        raise holds_no_run(output.storage.uri)
    if run_id is not None and run_id not in {record.run_id for record in records}:
        raise UsageError(f"this output holds no run {run_id}; the command `list` shows the runs that it holds")
    planned = output.planned_run_ids()
    plans = {record.run_id: open_plan(output.private, record.run_id) for record in records if record.run_id in planned}
    column, tokens = _tokens(name, plans.values(), has_private=bool(planned))
    rows = {record.run_id: _rows(output.storage, record.run_id, ds.field(column).isin(tokens)) for record in records}
    results = _results(rows, records, damaged)
    if column == "image_id":
        column, tokens = "study_id", sorted({result.values["study_id"] for result in results})
    shown_studies = [study for plan in plans.values() for study in _studies(plan, column, tokens)]
    evaluations = [row for record in records for row in _evaluations(output.storage, record.run_id, column, tokens)]
    if run_id is not None:
        results = [result for result in results if result.run_id == run_id]
        shown_studies = [study for study in shown_studies if study.run_id == run_id]
        evaluations = [row for row in evaluations if row["run_id"] == run_id]
    if not results and not shown_studies:
        where = "this output" if run_id is None else f"run {run_id}"
        raise UsageError(f"{shown_value(name)} is in no results and no plan of {where}; check the token or the name")
    for result in results:
        if result.run_id in plans:
            _add_source(output, plans[result.run_id], result)
    named = {result.run_id for result in results} | {study.run_id for study in shown_studies}
    shown_runs = [_run(record) for record in records if record.run_id in named]
    shown_runs.sort(key=lambda run: run.started_at)
    return Shown(bool(planned), shown_runs, shown_studies, evaluations, results)


def _tokens(name: str, plans: Iterable[Plan], *, has_private: bool) -> tuple[str, list[str]]:
    """Return the column that tells the rows that are meant, and its values."""
    if match := _TOKEN.fullmatch(name):
        return _ID_COLUMNS[match["kind"]], [name]
    if not has_private:
        raise UsageError(
            f"{shown_value(name)} is no token (i-…, s-… or p-…), and names of files, studies and subjects are in the "
            "private tree, which is not at hand; name it with --private-uri"
        )
    found: dict[str, set[str]] = {"image_id": set(), "study_id": set(), "subject_id": set()}
    for plan in plans:
        studies = plan.studies().read_all()
        found["study_id"] |= set(studies.filter(pc.equal(studies["source_study_id"], name))["study_id"].to_pylist())
        is_subject = is_own_id(studies["source_subject_id"], name)
        found["subject_id"] |= set(studies.filter(is_subject)["subject_id"].to_pylist())
        for batch in plan.images(["image_id", "uri"]):
            is_meant = pc.or_(pc.equal(batch["uri"], name), pc.ends_with(batch["uri"], f"/{name}"))
            found["image_id"] |= set(batch.filter(is_meant)["image_id"].to_pylist())
    kinds = [column for column in ("subject_id", "study_id", "image_id") if found[column]]
    if not kinds:
        raise UsageError(
            f"no plan of this output has a file, study or subject {shown_value(name)}; give the path below input.uri, "
            "the file's name, an own id as in the manifest, or a token"
        )
    return kinds[0], sorted(found[kinds[0]])


def _rows(storage: Store, run_id: str, condition: ds.Expression) -> list[Row]:
    """Return the rows of a run that meet the condition: its predictions, or its shards where it has none yet."""
    with damage_as_fault(run_id):
        if predictions_keys(storage, run_id):
            return read_predictions(storage, run_id).to_table(PREDICTIONS.names, filter=condition).to_pylist()
        columns = [column for column in PREDICTIONS.names if column != "shard"]
        batches = read_scores(storage, run_id).scanner(columns=columns, filter=condition).scan_batches()
        return [
            {**row, "shard": shard_of(batch.fragment.path)}
            for batch in batches
            for row in batch.record_batch.to_pylist()
        ]


def _results(rows: dict[str, list[Row]], records: list[RunRecord], damaged: list[str]) -> list[ShownResult]:
    """Return the results, each with the lineages in which it counts and those in which another one does."""
    order = {record.run_id: record.started_at for record in records}
    results = [
        ShownResult(
            run_id,
            row["shard"],
            {name: value for name, value in row.items() if name not in ("run_id", "shard") and value is not None},
            remedy=REMEDIES.get(row["error_code"]) if row["error_code"] else None,
        )
        for run_id in sorted(rows, key=lambda run_id: order[run_id])
        for row in rows[run_id]
    ]
    parents = without_lineages_through(damaged, {record.run_id: record.parent_run_id for record in records})
    places = [place for place in newest_lineages(parents) if place.run_id in order]
    in_lineages = [
        {
            "place": number,
            "lineage": place.lineage,
            "generation": place.generation,
            "image_id": result.values["image_id"],
            "frame": result.values.get("frame"),
            "status": result.values["status"],
        }
        for number, result in enumerate(results)
        for place in places
        if place.run_id == result.run_id
    ]
    current = _current(in_lineages)
    for row in in_lineages:
        result = results[row["place"]]
        is_current = (row["place"], row["lineage"]) in current
        (result.current_in if is_current else result.superseded_in).append(row["lineage"])
    return results


def _current(in_lineages: list[Row]) -> set[tuple[int, str]]:
    """Return which of the rows count, as (place, lineage)."""
    from diagchd_batch.process.memory_database import memory_database  # only this needs DuckDB

    if not in_lineages:
        return set()
    types = {"place": pa.int64(), "generation": pa.int64(), "frame": pa.int64()}
    schema = pa.schema([(name, types.get(name, pa.string())) for name in in_lineages[0]])
    with memory_database(spills=False) as connection:
        connection.register("of_lineages", pa.Table.from_pylist(in_lineages, schema))
        sql = f"SELECT place, lineage FROM ({latest_rows_sql('of_lineages', within='lineage')})"
        return set(connection.execute(sql).fetchall())


def _studies(plan: Plan, column: str, tokens: Sequence[str]) -> Iterator[ShownStudy]:
    studies = plan.studies().read_all()
    for row in studies.filter(pc.is_in(studies[column], pa.array(tokens, pa.string()))).to_pylist():
        yield ShownStudy(plan.run_id, **{name: row[name] for name in _STUDY_FIELDS})


def _evaluations(storage: Store, run_id: str, column: str, tokens: Sequence[str]) -> list[Row]:
    table = read_metrics(storage, run_id, "study_results")
    if table is None:
        return []
    rows = table.filter(pc.is_in(table[column], pa.array(tokens, pa.string()))).to_pylist()
    return [{"run_id": run_id} | {name: value for name, value in row.items() if value is not None} for row in rows]


def _add_source(output: Output, plan: Plan, result: ShownResult) -> None:
    """Add which file a row comes from, and what the attempt that was committed recorded of it."""
    image_id = result.values["image_id"]
    reference = next((shard for shard in plan.shards() if shard.shard == result.shard), None)
    images = [] if reference is None else plan.read_shard(reference)
    result.uri = next((image.uri for image in images if image.image_id == image_id), None)
    for recorded in recorded_sources(output, result.run_id, result.shard):
        if recorded["image_id"] == image_id:
            result.source = {name: recorded[name] for name in _SOURCE_FIELDS if recorded.get(name) is not None}


def recorded_sources(output: Output, run_id: str, shard: int) -> list[Row]:
    """Return the sources of the attempt whose score file is the committed one; none where no attempt wrote it.

    Args:
        output: The output, with its private tree.
        run_id: The run.
        shard: The shard's number, from 0.

    Raises:
        RunFault: A file cannot be read.
    """
    keys = [
        info.key
        for info in output.private.list(output_layout.sources_prefix(run_id))
        if (match := output_layout.SOURCES_FILE.fullmatch(info.key)) and int(match["shard"]) == shard
    ]
    shard_key = output_layout.shard_file(run_id, shard)
    if output.storage.stat(shard_key) is None:
        return []
    try:
        digest = hashlib.sha256(output.storage.read(shard_key)).hexdigest()
        for key in keys:
            with pq.ParquetFile(io.BytesIO(output.private.read(key)), pre_buffer=False) as file:
                if (file.schema_arrow.metadata or {}).get(SCORES_DIGEST_KEY) == digest.encode():
                    return file.read(use_threads=False).to_pylist()
    except (ItemError, pa.ArrowException) as error:
        raise RunFault(
            f"the sources of shard {shard} of run {run_id} cannot be read ({error}); run the command `verify`"
        ) from error
    return []


def _run(record: RunRecord) -> ShownRun:
    names = ("run_id", "parent_run_id", "selection", "status", "simulated", "package_version", "versions", "devices")
    return ShownRun(
        **{name: getattr(record, name) for name in (*names, "started_at", "ended_at", "fingerprint")},
        model=record.model.name,
        weights_digest=record.model.weights_digest,
        precision=record.model.precision,
    )
