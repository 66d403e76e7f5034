"""An output for notebooks and commands: its runs, predictions, scores and masks. Imports neither Keras nor Ray."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from html import escape

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import DiagchdBatchError, ItemError, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.columns import comparison_tables, evaluation_tables
from diagchd_batch.results.datasets import OutputTrees, holds_no_run, read_predictions, read_scores, rows_of_study
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.results.run_record import RunRecord, read_run_records
from diagchd_batch.storage import Store, open_store
from diagchd_batch.uris import join_uri
from diagchd_batch.wording import NONE, count, counted, shown_value

_FAILURES = """
SELECT lineage, run_id, subject_id, study_id, image_id, frame, error_code, remedy, shard
FROM current LEFT JOIN failure_codes USING (error_code) WHERE status = 'failed'
ORDER BY lineage, study_id, image_id, frame
"""

_METHODS = "predictions(), study_results(), metrics(), failures(), query(sql), mask(image_id)"
_SHOWN_RUNS = 10
_HEADINGS = ("run", "state", "started (UTC)", "model", "images", "scored frames", "failed frames")


@dataclass(repr=False)
class Output(OutputTrees):
    """An output directory or prefix. `open_output` returns it."""

    def runs(self, on_damaged: Callable[[str, DamagedRecordError], object] | None = None) -> list[RunRecord]:
        """Return the records of all runs that have one, by run id.

        Args:
            on_damaged: Receives the run id and the error of each record that cannot be read, which is then left out.

        Raises:
            DamagedRecordError: A record cannot be read, and `on_damaged` is None.
        """
        return read_run_records(self.storage, self.run_ids(), on_damaged)

    def predictions(self, run_id: str | None = None) -> ds.Dataset:
        """Return predictions: one row for each frame, or for a file that failed.

        Args:
            run_id: The run; all runs by default.

        Returns:
            Schema PREDICTIONS and `run_id`.

        Raises:
            UsageError: The output holds no run, or the run has no predictions, or none yet.
        """
        found = read_predictions(self.storage, run_id)
        if not found.files:
            if run_id is None:
                self._refuse_no_run()
            which = "no run has predictions" if run_id is None else f"run {run_id} has no predictions"
            raise UsageError(
                f"{which} in this output; they are derived when a run ends: "
                "resume it with the command that started it, or read the committed shards with scores()"
            )
        return found

    def current_predictions(self, run_id: str | None = None) -> pa.Table:
        """Return the rows of a lineage that count: for each frame the latest that is ok, else the latest failure.

        It is the view `current` of `diagchd-batch query`, which streams.

        Args:
            run_id: The newest run of the lineage; all lineages by default.

        Returns:
            Schema PREDICTIONS, `run_id`, and `lineage`, the id of the newest run.

        Raises:
            UsageError: The output holds no run, or has no such run.
        """
        self._refuse_no_run()
        from diagchd_batch.results.query.database import open_query  # only this needs DuckDB

        return open_query(self, {}, run_id).table("FROM current")

    def query(self, sql: str, run_id: str | None = None) -> pa.Table:
        """Return the result of an SQL statement over the views of the output.

        The views are those of `diagchd-batch query`, which `diagchd-batch query --list` describes.

        Args:
            sql: One statement that reads.
            run_id: The newest run of a lineage, to see only that lineage; all runs by default.

        Returns:
            The whole result. `open_query` streams it.

        Raises:
            UsageError: The output holds no run or not the one that was named, or the statement is wrong or would do
                anything but read.
            RunFault: A table's file cannot be read.
        """
        self._refuse_no_run()
        from diagchd_batch.results.query.database import open_query  # only this needs DuckDB

        return open_query(self, evaluation_tables.TABLES, run_id, comparisons=comparison_tables.TABLES).table(sql)

    def metrics(self, table: str = "estimates", run_id: str | None = None) -> pa.Table:
        """Return a metrics table, with the results of a run and of the runs that it continues.

        Args:
            table: The table's name: ``estimates``, ``comparisons``, ``study_results``, ``reads``, ``flow``, and the
                others of docs/tables.md.
            run_id: The run; the finished run that ended last by default.

        Returns:
            The table's columns. A column that the version that wrote it did not have is null.

        Raises:
            UsageError: The output holds no such run, there is no such table, or the run was not evaluated.
            RunFault: The table's file is damaged.
        """
        if table not in evaluation_tables.TABLES:
            raise UsageError(
                f"there is no metrics table {shown_value(table)}; the tables are: {', '.join(evaluation_tables.TABLES)}"
            )
        run_id = self._latest_run_id() if run_id is None else run_id
        found = read_metrics(self.storage, run_id, table)
        if found is None and run_id not in self.run_ids():
            raise UsageError(f"the output holds no run {run_id}; the command `list` names those it holds")
        if found is None:
            raise UsageError(f"run {run_id} has no table {table}; the command `evaluate` writes the tables of a run")
        schema = evaluation_tables.TABLES[table]
        columns = [found[field.name] if field.name in found.schema.names else None for field in schema]
        return pa.table(
            [
                pa.nulls(found.num_rows, field.type) if column is None else column.cast(field.type)
                for field, column in zip(schema, columns, strict=True)
            ],
            schema=schema,
        )

    def study_results(self, run_id: str | None = None) -> pa.Table:
        """Return the score, the call and the label of each study, one row for each operating point.

        Args:
            run_id: The run; the finished run that ended last by default. The runs that it continues count, too.

        Raises:
            UsageError: The output holds no such run, or the run was not evaluated.
            RunFault: The table's file is damaged.
        """
        return self.metrics("study_results", run_id)

    def failures(self, run_id: str | None = None) -> pa.Table:
        """Return the frames and files that failed, and what can be done about each.

        Args:
            run_id: The newest run of a lineage; all lineages by default. A frame that a later run scored is left out.

        Returns:
            One row for each failure: lineage, run_id, subject_id, study_id, image_id, frame, error_code, remedy, shard.

        Raises:
            UsageError: The output holds no run, or has no such run.
        """
        return self.query(_FAILURES, run_id)

    def scores(self, run_id: str | None = None) -> ds.Dataset:
        """Return the rows of all shards committed so far, masks included.

        Args:
            run_id: The run; all runs by default.

        Returns:
            Schema SCORES and `run_id`. A run that has begun and committed nothing has no rows.

        Raises:
            UsageError: The output holds no run, or not the one that was named.
        """
        found = read_scores(self.storage, run_id)
        if not found.files:
            self._refuse_no_run()
            if run_id is not None and run_id not in self.run_ids():
                raise UsageError(f"the output holds no run {run_id}; the command `list` names those it holds")
        return found

    def __repr__(self) -> str:
        """Return what the output holds and what to do next, in a few lines."""
        return "\n".join(_summary_lines(self))

    def _repr_html_(self) -> str:
        """Return the same for a notebook, with a table of the runs."""
        return _summary_html(self)

    def _latest_run_id(self) -> str:
        self._refuse_no_run()
        records = self.runs(on_damaged=lambda *_: None)
        finished = [record for record in records if record.status == "finished"]
        if not finished:
            raise UsageError(
                "this output holds no finished run; name one with run_id, or read committed rows: scores()"
            )
        return max(finished, key=lambda record: (record.ended_at or record.started_at, record.run_id)).run_id

    def _refuse_no_run(self) -> None:
        if not self.run_ids():
            raise holds_no_run(self.storage.uri)

    def mask(
        self, image_id: str, frame: int = 0, run_id: str | None = None, *, study_id: str | None = None
    ) -> np.ndarray:
        """Return the predicted label map of a frame.

        Args:
            image_id: The image's token.
            frame: The number of the frame, from 0.
            run_id: The run. It may be omitted if only one run scored the image.
            study_id: The token of the image's study, if it is known. Rows are ordered by study, so a large archive is
                not searched for the image.

        Returns:
            uint8 [height, width] on the model's grid, classes 0, 1 and 2.

        Raises:
            UsageError: There is no such mask, or several runs have one.
        """
        wanted = (ds.field("image_id") == image_id) & (ds.field("frame") == frame)
        found = wanted if study_id is None else wanted & (ds.field("study_id") == study_id)
        columns = ["run_id", "shard", "study_id", "error_code"]
        rows = self.predictions(run_id).to_table(columns=columns, filter=found).to_pylist()
        if not rows:
            raise UsageError(f"frame {frame} of image {image_id} is in no predictions of this output")
        if len(rows) > 1:
            runs = ", ".join(sorted(row["run_id"] for row in rows))
            raise UsageError(f"image {image_id} is scored in several runs; name one of them: {runs}")
        row = rows[0]
        key = output_layout.shard_file(row["run_id"], row["shard"])
        stored = rows_of_study(self.storage, key, row["study_id"], ["study_id", "image_id", "frame", "mask_png"])
        pngs = [one["mask_png"] for one in stored if (one["image_id"], one["frame"]) == (image_id, frame)]
        if len(pngs) != 1 or pngs[0] is None:
            reason = row["error_code"] or "run verify on this output"
            raise UsageError(f"frame {frame} of image {image_id} has no mask in run {row['run_id']}: {reason}")
        return decode_mask(pngs[0])


def open_output(uri: str, private_uri: str | None = None, *, object_timeout_s: float = 300.0) -> Output:
    """Open an output for reading.

    Args:
        uri: A path or ``s3://bucket/prefix``.
        private_uri: Where the private tree lies, if not in ``_private/`` of the output. Only what reads the private
            tree needs it.
        object_timeout_s: Seconds after which retries of one object end.

    Returns:
        The output. Nothing is read until one of its methods is called, except that without `private_uri` it is found
        out whether the private tree has the name that it had in schema version 1.

    Raises:
        StorageFault: The storage cannot be asked for the private tree.
    """
    storage = open_store(uri, object_timeout_s=object_timeout_s)
    private_uri = private_uri or join_uri(uri, _private_name(storage))
    return Output(storage, open_store(private_uri, object_timeout_s=object_timeout_s, owner_only=True))


def _private_name(storage: Store) -> str:
    """Return the name of the private tree in an output: the one of schema version 1 if a key was made for that."""
    with suppress(ItemError):  # who may not look into the private tree needs no name of it
        if storage.stat(f"{output_layout.PRIVATE_V1}/{output_layout.ID_KEY_CHECK}") is not None:
            return output_layout.PRIVATE_V1
    return output_layout.PRIVATE


def _summary_lines(output: OutputTrees) -> list[str]:
    """Return the lines that a Python prompt shows. An output that cannot be read is described by the reason."""
    records, problem = _newest_first(output)
    lines = [f"Output {output.storage.uri}: {problem or counted(len(records), 'run')}"]
    if records:
        newest = records[0]
        counts = newest.counts
        done = f"{count(newest.plan.n_studies)} studies, {count(newest.plan.n_images)} images" + (
            f", {count(counts.n_ok)} frames scored, {count(counts.n_failed)} failed" if counts else ""
        )
        simulated = ", simulated" if newest.simulated else ""
        lines += [f"newest run {newest.run_id}: {newest.status}, {newest.model.name}, {done}{simulated}"]
    return [*lines, _next_step(records, problem)]


def _summary_html(output: OutputTrees) -> str:
    """Return the HTML that a notebook shows, in the same way."""
    records, problem = _newest_first(output)
    found = problem or counted(len(records), "run")
    head = f"<p><strong>Output</strong> {escape(output.storage.uri)}: {escape(found)}</p>"
    more = f"<p>and {counted(len(records) - _SHOWN_RUNS, 'earlier run')}</p>" if len(records) > _SHOWN_RUNS else ""
    return (
        f"{head}{_table(records[:_SHOWN_RUNS]) if records else ''}{more}<p>{escape(_next_step(records, problem))}</p>"
    )


def _newest_first(output: OutputTrees) -> tuple[list[RunRecord], str]:
    """Return the records that can be read, and why none can be read, or that some cannot."""
    damaged: list[str] = []
    try:
        run_ids = output.run_ids()
        records = read_run_records(output.storage, run_ids, lambda run_id, _: damaged.append(run_id))
    except (DiagchdBatchError, ItemError) as error:
        return [], f"it cannot be read: {error}"
    records.sort(key=lambda record: (record.started_at, record.run_id), reverse=True)
    if damaged:
        return records, f"{counted(len(records), 'run')}, and damaged records of {', '.join(damaged)}: run verify"
    if len(run_ids) > len(records):
        return records, f"{counted(len(run_ids), 'run')}, of which {len(run_ids) - len(records)} without a record"
    return records, ""


def _next_step(records: list[RunRecord], problem: str) -> str:
    if not records:
        return "It has no results yet: check the name, or start a run with the command `submit`." if not problem else ""
    if not any(record.status == "finished" for record in records):
        return "No run has finished: the same command `submit` resumes it; scores() has the committed rows."
    return f"Read it with {_METHODS}."


def _table(records: list[RunRecord]) -> str:
    head = "".join(f"<th>{name}</th>" for name in _HEADINGS)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in _cells(record)) + "</tr>" for record in records
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cells(record: RunRecord) -> tuple[str, ...]:
    counts = record.counts
    return (
        record.run_id,
        record.status,
        f"{record.started_at:%Y-%m-%d %H:%M}",
        record.model.name + (" (simulated images)" if record.simulated else ""),
        count(record.plan.n_images),
        count(counts.n_ok) if counts else NONE,
        count(counts.n_failed) if counts else NONE,
    )
