"""Files of an output's tables as datasets, and which runs and shards there are. Imports neither Keras nor Ray."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.dataset as ds

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.results.columns import PREDICTIONS, SCORES
from diagchd_batch.storage import Store

# Exact names, so that no temporary file of a writer and no copy of a table is ever taken for a table.
_SHARD_FILE = re.compile(rf"scores/run_id=([^/]+)/shard-({output_layout.NUMBER})\.parquet")
_PREDICTIONS_FILE = re.compile(rf"predictions/run_id=([^/]+)/part-({output_layout.NUMBER})\.parquet")
_PLAN_HEAD = re.compile(r"runs/run_id=([^/]+)/plan\.json")
_RUN_RECORD = re.compile(r"runs/run_id=([^/]+)/run\.json")

RUN_ID = pa.field("run_id", pa.string())
"""The column that a dataset has besides its table's own: which run a row is of, from the directory's name."""


@dataclass
class OutputTrees:
    """Where an output lies: what is pseudonymised, and what is not."""

    storage: Store
    private: Store

    def run_ids(self) -> list[str]:
        """All runs that the output holds anything of, in order; one whose record is lost is among them."""
        keys = (info.key for prefix in (output_layout.RUNS_PREFIX, "scores/") for info in self.storage.list(prefix))
        found = (_RUN_RECORD.fullmatch(key) or _SHARD_FILE.fullmatch(key) for key in keys)
        return sorted({match[1] for match in found if match})

    def planned_run_ids(self) -> list[str]:
        """All runs whose frozen plan is in the private tree, in order, whatever became of their results."""
        matches = (_PLAN_HEAD.fullmatch(info.key) for info in self.private.list(output_layout.RUNS_PREFIX))
        return sorted(match[1] for match in matches if match)


def committed_shards(storage: Store, run_id: str) -> set[int]:
    """Numbers of the shards of a run that are committed."""
    return {shard for shard, _ in _numbered(storage, output_layout.scores_prefix(run_id), _SHARD_FILE)}


def read_scores(storage: Store, run_id: str | None = None) -> ds.Dataset:
    """Committed score files, masks included, of a run or (None) of all, with a column `run_id`; ordered by shard."""
    return _dataset(storage, "scores/" if run_id is None else output_layout.scores_prefix(run_id), _SHARD_FILE, SCORES)


def read_predictions(storage: Store, run_id: str | None = None) -> ds.Dataset:
    """Predictions of a run or (None) of all that have them, with a column `run_id`; in the order of the scores."""
    prefix = "predictions/" if run_id is None else output_layout.predictions_prefix(run_id)
    return _dataset(storage, prefix, _PREDICTIONS_FILE, PREDICTIONS)


@contextmanager
def damage_as_fault(runs: str) -> Iterator[None]:
    """What pyarrow raises at a table of these runs that cannot be read, as a RunFault."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise RunFault(
            f"a table of run {runs} cannot be read ({error}); run `diagchd-batch verify` on this output"
        ) from error


def predictions_keys(storage: Store, run_id: str) -> list[str]:
    """Keys of a run's predictions, in their order."""
    return [key for _, key in _numbered(storage, output_layout.predictions_prefix(run_id), _PREDICTIONS_FILE)]


def foreign_tables(storage: Store, run_id: str) -> list[str]:
    """Keys of Parquet files beside a run's scores and predictions that are none of its own. Readers here pass them
    over, but whoever reads the archive by a glob takes them for results."""
    places = (
        (output_layout.scores_prefix(run_id), _SHARD_FILE),
        (output_layout.predictions_prefix(run_id), _PREDICTIONS_FILE),
    )
    keys = ((info.key, pattern) for prefix, pattern in places for info in storage.list(prefix))
    return sorted(key for key, pattern in keys if key.endswith(".parquet") and not pattern.fullmatch(key))


def shard_of(path: str) -> int:
    """The shard whose score file has this path or key. Raises ValueError for anything else."""
    match = _SHARD_FILE.search(path)
    if match is None:
        raise ValueError(f"{path} is not a score file")
    return int(match[2])


def holds_no_run(uri: str) -> UsageError:
    """To be raised where an output has nothing of any run, mostly because it was misnamed."""
    return UsageError(f"{uri} holds no run; name the directory or prefix that is output.uri in the job file")


def parquet_files(storage: Store, keys: list[str], schema: pa.Schema) -> ds.Dataset:
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


def _numbered(storage: Store, prefix: str, pattern: re.Pattern[str]) -> list[tuple[int, str]]:
    def matches() -> Iterator[tuple[str, int, str]]:
        for info in storage.list(prefix):
            if match := pattern.fullmatch(info.key):
                yield match[1], int(match[2]), info.key

    return [(number, key) for _, number, key in sorted(matches())]


def _dataset(storage: Store, prefix: str, pattern: re.Pattern[str], schema: pa.Schema) -> ds.Dataset:
    return parquet_files(storage, [key for _, key in _numbered(storage, prefix, pattern)], schema)
