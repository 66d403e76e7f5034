"""An output for notebooks and commands: its runs, predictions, scores and masks. Imports neither Keras nor Ray."""

from collections.abc import Callable
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import ItemError, UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.datasets import OutputTrees, holds_no_run, read_predictions, read_scores, rows_of_study
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.run_record import RunRecord, read_run_records
from diagchd_batch.storage import Store, open_store
from diagchd_batch.uris import join_uri


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
                raise UsageError(f"the output holds no run {run_id}; `diagchd-batch list` names those it holds")
        return found

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
