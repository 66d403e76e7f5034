"""Every file says what its columns mean, and files without descriptions are still read together with it."""

import shutil
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.results.columns import PREDICTION_COLUMNS, SCORE_COLUMNS, Column
from tests.unit.results.made_run import RUN_ID, MadeRun, make_run

KEPT = Path(__file__).parents[3] / "data" / "output_f4f89d0" / "output"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    return make_run(tmp_path_factory.mktemp("described"))


FILES = [
    (output_layout.predictions_file(RUN_ID, 0), PREDICTION_COLUMNS),
    (output_layout.shard_file(RUN_ID, 0), SCORE_COLUMNS),
]


@pytest.mark.parametrize("key, columns", FILES, ids=["predictions", "scores"])
def test_fields_carry_the_declared_meaning(made: MadeRun, key: str, columns: tuple[Column, ...]) -> None:
    schema = pq.read_schema(Path(made.storage.uri) / key)
    for column in columns:
        metadata = schema.field(column.name).metadata
        assert metadata[b"description"].decode() == column.description
        assert metadata.get(b"unit", b"").decode() == column.unit
        assert metadata.get(b"null_when", b"").decode() == column.rows_without_value
    assert schema.field("chd_probability").metadata[b"range"] == b"0 to 1"


@pytest.fixture
def mixed(tmp_path: Path, made: MadeRun) -> tuple[Path, int]:
    """Return a directory with predictions of schema version 1 and of this version, and their number of rows."""
    files = {
        "first": KEPT / "predictions" / "run_id=first" / "part-00000.parquet",
        RUN_ID: Path(made.storage.uri) / output_layout.predictions_file(RUN_ID, 0),
    }
    for run_id, path in files.items():
        (tmp_path / f"run_id={run_id}").mkdir()
        shutil.copy(path, tmp_path / f"run_id={run_id}")
    return tmp_path, sum(pq.read_metadata(path).num_rows for path in files.values())


def test_files_with_and_without_descriptions_are_one_data_set(mixed: tuple[Path, int]) -> None:
    directory, n_rows = mixed
    for paths in (sorted(directory.rglob("*.parquet")), sorted(directory.rglob("*.parquet"), reverse=True)):
        tables = [pq.ParquetFile(path).read(["study_id", "frame", "chd_probability"]) for path in paths]
        assert pa.concat_tables(tables).num_rows == n_rows
        dataset = ds.dataset(list(map(str, paths)), format="parquet")
        assert dataset.to_table(columns=["study_id", "status", "soft_dice"]).num_rows == n_rows
    assert len(pd.read_parquet(directory)) == n_rows
    read = f"read_parquet('{directory}/**/*.parquet', hive_partitioning=true)"
    assert duckdb.sql(f"SELECT count(*) FROM {read}").fetchall() == [(n_rows,)]
    joined = f"SELECT count(*) FROM {read} AS a JOIN {read} AS b USING (run_id, image_id, frame, status)"
    assert duckdb.sql(joined).fetchall() == duckdb.sql(f"SELECT count(frame) FROM {read}").fetchall()
