"""Keeps what the files of a shard say about patients, in the private tree, so that `privacy check` can look for it."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from diagchd_batch.images.identifying import CollectedValues
from diagchd_batch.output_layout import identifying_values_file
from diagchd_batch.results.columns.declaration import parquet_options
from diagchd_batch.results.columns.identifying_values import IDENTIFYING_COLUMNS, IDENTIFYING_VALUES
from diagchd_batch.storage import Store

INCOMPLETE_KEY = b"diagchd_batch.incomplete_files"
"""Metadata key of a file of identifying values: the number of image and mask files of which not all values are kept."""

MAX_VALUES = 500_000
"""The largest number of values that are kept of one shard, in memory and in its file."""


class ShardValues:
    """The identifying values of one shard, without repetition within a study."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, str, str], None] = {}
        self.n_incomplete = 0

    def add(self, study_id: str, collected: CollectedValues) -> None:
        """Add the values of one file.

        Args:
            study_id: The token of the file's study.
            collected: The values.
        """
        complete = collected.complete
        for kind, value in collected.values:
            row = (study_id, kind, value)
            if row not in self._rows and len(self._rows) >= MAX_VALUES:
                complete = False
                break
            self._rows[row] = None
        self.n_incomplete += not complete

    def record(self, private: Store, run_id: str, shard: int, attempt: str, metadata: Mapping[bytes, bytes]) -> None:
        """Write the values of an attempt. Call it before `commit_shard`, so that no committed shard lacks them.

        Args:
            private: The private tree.
            run_id: The run.
            shard: The shard's number.
            attempt: The attempt's name.
            metadata: The metadata of the run's tables (`columns.table_metadata`).
        """
        stamped = {**metadata, INCOMPLETE_KEY: str(self.n_incomplete).encode()}
        columns = [
            pa.array(column, pa.string()) for column in (zip(*self._rows, strict=True) if self._rows else [()] * 3)
        ]
        table = pa.table(columns, IDENTIFYING_VALUES.with_metadata(stamped))
        # In memory, because a worker that is killed would leave a temporary file with names of patients behind.
        file = pa.BufferOutputStream()
        pq.write_table(table, file, **parquet_options(IDENTIFYING_COLUMNS, max(1, table.num_rows)))
        private.create(identifying_values_file(run_id, shard, attempt), file.getvalue().to_pybytes())
