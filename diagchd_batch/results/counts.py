"""Counts over a run's rows."""

from collections import Counter

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from diagchd_batch.results.columns import STATUS_FAILED, STATUS_OK


class RunCounts(BaseModel):
    """Counts over a run's rows. `n_images` counts image files, `n_rows` frames and files that failed as a whole."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    n_shards: int
    n_images: int
    n_rows: int
    n_ok: int
    n_failed: int
    n_chd_calls: int
    failures: dict[str, int]
    reference_status: dict[str, int]
    quality_flags: dict[str, int]


class RowCounter:
    """Counts batches of rows in the order of the plan, in which all rows of an image follow one another."""

    def __init__(self) -> None:
        self._shards: set[int] = set()
        self._last_image: str | None = None
        self._n_images = 0
        self._n_rows = 0
        self._n_chd_calls = 0
        self._status: Counter[str] = Counter()
        self._failures: Counter[str] = Counter()
        self._references: Counter[str] = Counter()
        self._flags: Counter[str] = Counter()

    def add(self, rows: pa.RecordBatch | pa.Table, shard: int) -> None:
        """Add rows of one shard, in schema SCORES or PREDICTIONS.

        Args:
            rows: The rows of one shard, in the order of the plan.
            shard: The shard's number, from 0.
        """
        if rows.num_rows:  # a deletion may leave a shard without rows
            self._shards.add(shard)
        self._n_rows += rows.num_rows
        for image_id in rows["image_id"].to_pylist():
            self._n_images += image_id != self._last_image
            self._last_image = image_id
        self._n_chd_calls += pc.sum(rows["chd_call"]).as_py() or 0
        for counter, column in (
            (self._status, rows["status"]),
            (self._failures, rows["error_code"]),
            (self._references, rows["reference_status"]),
            (self._flags, pc.list_flatten(rows["quality_flags"])),
        ):
            counter.update(value for value in column.to_pylist() if value is not None)

    def result(self) -> RunCounts:
        """Return the counts so far."""
        return RunCounts(
            n_shards=len(self._shards),
            n_images=self._n_images,
            n_rows=self._n_rows,
            n_ok=self._status[STATUS_OK],
            n_failed=self._status[STATUS_FAILED],
            n_chd_calls=self._n_chd_calls,
            failures=dict(sorted(self._failures.items())),
            reference_status=dict(sorted(self._references.items())),
            quality_flags=dict(sorted(self._flags.items())),
        )
