"""An output for notebooks and commands: its runs, predictions, scores and masks. Imports neither Keras nor Ray."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.json_records import DamagedRecordError
from diagchd_batch.results.columns import SCORES
from diagchd_batch.results.datasets import OutputTrees, parquet_files, predictions_keys, read_predictions, read_scores
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.run_record import RunRecord, read_run_records
from diagchd_batch.storage import open_store
from diagchd_batch.uris import join_uri


class Output(OutputTrees):
    """An output directory or prefix: what `open_output` gives."""

    def runs(self, on_damaged: Callable[[str, DamagedRecordError], object] | None = None) -> list[RunRecord]:
        """The records of all runs that have one, by run id. One that cannot be read raises DamagedRecordError, or is
        left out once `on_damaged` was told of it.
        """
        return read_run_records(self.storage, self.run_ids(), on_damaged)

    def predictions(self, run_id: str | None = None) -> ds.Dataset:
        """Schema PREDICTIONS and `run_id`: one row a frame. Raises UsageError where the run has none (yet)."""
        if run_id is not None and not predictions_keys(self.storage, run_id):
            raise UsageError(
                f"run {run_id} has no predictions in this output; they are derived when a run ends: "
                "resume it with the command that began it, or read what is committed with scores()"
            )
        return read_predictions(self.storage, run_id)

    def current_predictions(self, run_id: str | None = None) -> pa.Table:
        """Of a run and those that it builds on: per frame the latest row that is ok, else the latest failure.

        Schema PREDICTIONS, `run_id` and `lineage`, the id of the newest run; without a run id, of all lineages. It is
        the view `current` of `diagchd-batch query`, which streams. Raises UsageError where the output lacks the run.
        """
        from diagchd_batch.results.query.database import open_query  # DuckDB is not needed for the rest

        return open_query(self, {}, run_id).table("FROM current")

    def scores(self, run_id: str | None = None) -> ds.Dataset:
        """Schema SCORES and `run_id`: as `predictions`, masks included, of all shards committed so far."""
        return read_scores(self.storage, run_id)

    def mask(self, image_id: str, frame: int = 0, run_id: str | None = None) -> np.ndarray:
        """The predicted label map of a frame: uint8 [height, width] of the model's grid, classes 0, 1, 2.

        Without a run id the image must be scored in one run only. Raises UsageError where there is no such mask.
        """
        wanted = (ds.field("image_id") == image_id) & (ds.field("frame") == frame)
        rows = self.predictions(run_id).to_table(columns=["run_id", "shard", "error_code"], filter=wanted).to_pylist()
        if not rows:
            raise UsageError(f"frame {frame} of image {image_id} is in no predictions of this output")
        if len(rows) > 1:
            runs = ", ".join(sorted(row["run_id"] for row in rows))
            raise UsageError(f"image {image_id} is scored in several runs; name one of them: {runs}")
        row = rows[0]
        key = output_layout.shard_file(row["run_id"], row["shard"])
        stored = (
            parquet_files(self.storage, [key], SCORES)
            .to_table(columns=["mask_png"], filter=wanted)["mask_png"]
            .to_pylist()
        )
        if len(stored) != 1 or stored[0] is None:
            reason = row["error_code"] or "run verify on this output"
            raise UsageError(f"frame {frame} of image {image_id} has no mask in run {row['run_id']}: {reason}")
        return decode_mask(stored[0])


def open_output(uri: str, private_uri: str | None = None, *, object_timeout_s: float = 300.0) -> Output:
    """Open an output for reading.

    Args:
        uri: A path or ``s3://bucket/prefix``.
        private_uri: Where the private tree lies, if not in ``private/`` of the output. Only what reads the private
            tree needs it.
        object_timeout_s: Seconds after which retries of one object end.
    """
    private_uri = private_uri or join_uri(uri, output_layout.PRIVATE)
    return Output(
        open_store(uri, object_timeout_s=object_timeout_s),
        open_store(private_uri, object_timeout_s=object_timeout_s, owner_only=True),
    )
