"""Reads an output: its runs, predictions, scores and masks. Imports neither Keras nor Ray."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.results import layout
from diagchd_batch.results.mask_codec import decode_mask
from diagchd_batch.results.run_record import RunRecord, read_run_record
from diagchd_batch.results.schema import PREDICTIONS, SCORES
from diagchd_batch.storage import Storage, join_uri, open_storage

# Exact names, so that no temporary file of a writer and no copy of a table is ever taken for a table.
_SHARD_FILE = re.compile(rf"scores/run_id=([^/]+)/shard-({layout.NUMBER})\.parquet")
_PREDICTIONS_FILE = re.compile(rf"predictions/run_id=([^/]+)/part-({layout.NUMBER})\.parquet")
_RUN_RECORD = re.compile(r"runs/run_id=([^/]+)/run\.json")

RUN_ID = pa.field("run_id", pa.string())
"""The column that a dataset has besides its table's own: which run a row is of, from the directory's name."""


def committed_shards(storage: Storage, run_id: str) -> set[int]:
    """Numbers of the shards of a run that are committed."""
    return {shard for shard, _ in _numbered(storage, layout.scores_prefix(run_id), _SHARD_FILE)}


def read_scores(storage: Storage, run_id: str | None = None) -> ds.Dataset:
    """Committed score files, masks included, of a run or (None) of all, with a column `run_id`; ordered by shard."""
    return _dataset(storage, "scores/" if run_id is None else layout.scores_prefix(run_id), _SHARD_FILE, SCORES)


def read_predictions(storage: Storage, run_id: str | None = None) -> ds.Dataset:
    """Predictions of a run or (None) of all that have them, with a column `run_id`; in the order of the scores."""
    prefix = "predictions/" if run_id is None else layout.predictions_prefix(run_id)
    return _dataset(storage, prefix, _PREDICTIONS_FILE, PREDICTIONS)


@contextmanager
def damage_as_fault(run_id: str) -> Iterator[None]:
    """What pyarrow raises at a score file of the run that cannot be read, as a RunFault."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise RunFault(f"a score file of run {run_id} cannot be read ({error}); run verify on this output") from error


def predictions_keys(storage: Storage, run_id: str) -> list[str]:
    """Keys of a run's predictions, in their order."""
    return [key for _, key in _numbered(storage, layout.predictions_prefix(run_id), _PREDICTIONS_FILE)]


def foreign_tables(storage: Storage, run_id: str) -> list[str]:
    """Keys of Parquet files beside a run's scores and predictions that are none of its own. Readers here pass them
    over, but whoever reads the archive by a glob takes them for results."""
    places = ((layout.scores_prefix(run_id), _SHARD_FILE), (layout.predictions_prefix(run_id), _PREDICTIONS_FILE))
    keys = ((info.key, pattern) for prefix, pattern in places for info in storage.list(prefix))
    return sorted(key for key, pattern in keys if key.endswith(".parquet") and not pattern.fullmatch(key))


def shard_of(path: str) -> int:
    """The shard whose score file has this path or key. Raises ValueError for anything else."""
    match = _SHARD_FILE.search(path)
    if match is None:
        raise ValueError(f"{path} is not a score file")
    return int(match[2])


class Output:
    """An output directory or prefix: what `open_output` gives."""

    def __init__(self, storage: Storage, private: Storage) -> None:
        self.storage = storage
        self.private = private

    def run_ids(self) -> list[str]:
        """All runs that the output holds anything of, in order; one whose record is lost is among them."""
        keys = (info.key for prefix in (layout.RUNS_PREFIX, "scores/") for info in self.storage.list(prefix))
        found = (_RUN_RECORD.fullmatch(key) or _SHARD_FILE.fullmatch(key) for key in keys)
        return sorted({match[1] for match in found if match})

    def runs(self) -> list[RunRecord]:
        """The records of all runs that have one, by run id."""
        records = [read_run_record(self.storage, run_id) for run_id in self.run_ids()]
        return [record for record in records if record is not None]

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
        from diagchd_batch.results.query.database import open_query  # which needs what is defined here

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
        key = layout.shard_file(row["run_id"], row["shard"])
        stored = (
            parquet_files(self.storage, [key], SCORES)
            .to_table(columns=["mask_png"], filter=wanted)["mask_png"]
            .to_pylist()
        )
        if len(stored) != 1 or stored[0] is None:
            reason = row["error_code"] or "run verify on this output"
            raise UsageError(f"frame {frame} of image {image_id} has no mask in run {row['run_id']}: {reason}")
        return decode_mask(stored[0])


def holds_no_run(uri: str) -> UsageError:
    """To be raised where an output has nothing of any run, mostly because it was misnamed."""
    return UsageError(f"{uri} holds no run; name the directory or prefix that is output.uri in the job file")


def open_output(uri: str, private_uri: str | None = None) -> Output:
    """Opens an output for reading: a path or ``s3://bucket/prefix``.

    `private_uri` is needed only for what reads the private tree, and only where it lies elsewhere than under `uri`.
    """
    return Output(open_storage(uri), open_storage(private_uri or join_uri(uri, layout.PRIVATE), owner_only=True))


def _numbered(storage: Storage, prefix: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    def matches() -> Iterator[tuple[str, int, str]]:
        for info in storage.list(prefix):
            if match := pattern.fullmatch(info.key):
                yield match[1], int(match[2]), info.key

    return [(number, key) for _, number, key in sorted(matches())]


def _dataset(storage: Storage, prefix: str, pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
    return parquet_files(storage, [key for _, key in _numbered(storage, prefix, pattern)], schema)


def parquet_files(storage: Storage, keys: list[str], schema: pa.Schema) -> ds.Dataset:
    """Files below ``run_id=…`` directories as one dataset of these columns and `run_id`; a file may have more."""
    filesystem, root = storage.arrow()
    return ds.dataset(
        [f"{root}/{key}" for key in keys],
        schema=schema.append(RUN_ID),
        format="parquet",
        filesystem=filesystem,
        partitioning=ds.partitioning(pa.schema([RUN_ID]), flavor="hive"),
        partition_base_dir=root,
    )
