"""`open_output`, and the `Output` that it returns."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import UsageError
from diagchd_batch.results import open_output
from diagchd_batch.results.columns import MASK_COLUMNS, SCORES
from diagchd_batch.results.columns.evaluation_tables import TABLES
from diagchd_batch.results.datasets import predictions_keys
from diagchd_batch.results.output import Output
from diagchd_batch.results.query.database import open_query
from tests.support import evaluated_runs as made_runs
from tests.support.evaluated_runs import MadeOutput, MadeStudy
from tests.unit.results.made_run import RUN_ID, MadeRun, label_map, make_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def output(run: MadeRun) -> Output:
    return open_output(run.storage.uri)


def test_scores_and_predictions_hold_the_same_rows(run: MadeRun, output: Output) -> None:
    scores = output.scores(RUN_ID).to_table()
    assert scores["image_id"].to_pylist() == [row["image_id"] for shard in run.rows for row in shard]
    predictions = output.predictions(RUN_ID).to_table()
    assert set(predictions["run_id"].to_pylist()) == {RUN_ID}
    assert predictions["shard"].to_pylist() == [shard for shard, rows in enumerate(run.rows) for _ in rows]
    kept = [name for name in SCORES.names if name not in MASK_COLUMNS]
    assert str(predictions.select(kept).to_pylist()) == str(scores.select(kept).to_pylist())


def test_one_glob_is_the_whole_archive(run: MadeRun) -> None:
    """A user who has only DuckDB would read it in this way."""
    glob = f"{run.storage.uri}/predictions/*/*.parquet"
    counted = duckdb.sql(f"SELECT run_id, status, count(*) FROM '{glob}' GROUP BY ALL ORDER BY ALL").fetchall()
    assert counted == [(RUN_ID, "failed", 6), (RUN_ID, "ok", 15)]


def test_every_file_names_its_run_and_engines_read_whole_directories(run: MadeRun) -> None:
    for tree, n_rows in (("scores", 21), ("predictions", 21)):
        directory = Path(run.storage.uri) / tree
        for file in directory.rglob("*.parquet"):
            with pq.ParquetFile(file) as copied:  # nothing but the file, as if it were copied elsewhere
                assert set(copied.read(columns=["run"])["run"].to_pylist()) == {RUN_ID}
        sql = f"SELECT run_id, run FROM read_parquet('{directory}/*/*.parquet', hive_partitioning = true)"
        readings = {
            "pyarrow.parquet": pq.read_table(directory),
            "pyarrow.dataset": ds.dataset(directory, partitioning="hive").to_table(),
            "pandas": pa.Table.from_pandas(pd.read_parquet(directory)),
            "duckdb": duckdb.connect().execute(sql).to_arrow_table(),
        }
        for engine, rows in readings.items():
            for name in ("run_id", "run"):
                assert [str(value) for value in rows[name].to_pylist()] == [RUN_ID] * n_rows, engine


def test_masks(run: MadeRun, output: Output) -> None:
    for shard in range(3):
        for frame in range(3):
            mask = output.mask(f"i-{shard:04d}000000000000", frame)
            assert mask.dtype == np.uint8
            np.testing.assert_array_equal(mask, label_map(100 * shard + frame))
    np.testing.assert_array_equal(output.mask("i-0001000000000003", 1, RUN_ID), label_map(120))


@pytest.mark.parametrize(
    "image_id, frame, reason",
    [("i-0001000000000003", 9, "frame_not_found"), ("i-0001000000000003", 2, "in no"), ("i-unknown", 0, "in no")],
)
def test_masks_that_are_not_there(output: Output, image_id: str, frame: int, reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        output.mask(image_id, frame)


def test_mask_of_an_image_in_two_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path, n_shards=1)
    for prefix in ("scores", "predictions"):
        directory = Path(run.storage.uri) / prefix
        (directory / f"run_id={RUN_ID}").rename(directory / "run_id=another")
    run.write_shard(0, run.rows[0], attempt="second")
    run.path(output_layout.success_marker(RUN_ID)).unlink()
    run.finish()
    output = open_output(run.storage.uri)
    assert output.predictions().count_rows() == 14
    with pytest.raises(UsageError, match=f"{RUN_ID}, another"):
        output.mask("i-0000000000000000")
    np.testing.assert_array_equal(output.mask("i-0000000000000000", run_id="another"), label_map(0))


@pytest.mark.parametrize("run_id", ["007", "1e5", "2026-11-27", "null", "true"])
def test_ids_that_do_not_read_as_text_are_text_in_an_earlier_output(tmp_path: Path, run_id: str) -> None:
    run = make_run(tmp_path, n_shards=1)
    for prefix in ("scores", "predictions", "runs"):
        directory = Path(run.storage.uri) / prefix
        (directory / f"run_id={RUN_ID}").rename(directory / f"run_id={run_id}")
    output = open_output(run.storage.uri)
    assert output.run_ids() == [run_id]
    for rows in (output.predictions(run_id).to_table(), output.scores().to_table()):
        assert rows["run_id"].to_pylist() == [run_id] * 7
    queried = open_query(output, {}).table("SELECT DISTINCT run_id FROM scores JOIN predictions USING (run_id)")
    assert queried["run_id"].to_pylist() == [run_id]


def test_runs(output: Output) -> None:
    (record,) = output.runs()
    assert (record.run_id, record.status, record.counts.n_rows) == (RUN_ID, "finished", 21)


def test_a_run_whose_record_is_lost_is_not_forgotten(tmp_path: Path) -> None:
    run = make_run(tmp_path, n_shards=1)
    run.path(output_layout.run_record(RUN_ID)).unlink()
    output = open_output(run.storage.uri)
    assert output.run_ids() == [RUN_ID]
    assert output.runs() == []


def test_an_empty_output_and_an_unknown_run(tmp_path: Path, output: Output) -> None:
    (tmp_path / "empty").mkdir()
    empty = open_output(str(tmp_path / "empty"))
    assert empty.runs() == []
    assert empty.run_ids() == []
    with pytest.raises(UsageError, match="no-such-run"):
        output.predictions("no-such-run")
    with pytest.raises(UsageError, match="holds no run no-such-run"):
        output.scores("no-such-run")


READINGS: dict[str, Callable[[Output], object]] = {
    "predictions": lambda output: output.predictions(),
    "current_predictions": lambda output: output.current_predictions(),
    "scores": lambda output: output.scores(),
    "scores of a run": lambda output: output.scores(RUN_ID),
    "mask": lambda output: output.mask("i-0000000000000000"),
}


@pytest.mark.parametrize("reading", READINGS)
@pytest.mark.parametrize("exists", [True, False])
def test_a_place_without_a_run_has_no_rows_to_read(tmp_path: Path, exists: bool, reading: str) -> None:
    place = tmp_path / "smaple"
    if exists:
        place.mkdir()
    with pytest.raises(UsageError, match="smaple holds no run; name the directory or prefix"):
        READINGS[reading](open_output(str(place)))


def test_a_run_that_has_committed_nothing_has_no_rows_yet(tmp_path: Path) -> None:
    run = make_run(tmp_path, n_shards=1)
    for key in (output_layout.shard_file(RUN_ID, 0), *predictions_keys(run.storage, RUN_ID)):
        run.storage.delete(key)
    output = open_output(run.storage.uri)
    assert output.scores().count_rows() == output.scores(RUN_ID).count_rows() == 0
    for run_id in (None, RUN_ID):
        with pytest.raises(UsageError, match="they are derived when a run ends"):
            output.predictions(run_id)


def test_private_tree_elsewhere(run: MadeRun, tmp_path: Path) -> None:
    assert open_output(run.storage.uri).private.uri == f"{run.storage.uri}/_private"
    assert open_output(run.storage.uri, str(tmp_path)).private.uri == str(tmp_path)


def test_reading_an_output_loads_neither_keras_nor_ray() -> None:
    code = (
        "import sys; from diagchd_batch.results import open_output; "
        "print([m for m in ('keras', 'tensorflow', 'ray', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_queries_and_failures_are_methods(run: MadeRun, output: Output) -> None:
    assert output.query("SELECT count(*) AS n FROM predictions").to_pylist() == [{"n": 21}]
    failures = output.failures(RUN_ID)
    failed = sorted(row["image_id"] for shard in run.rows for row in shard if row["status"] == "failed")
    assert sorted(failures["image_id"].to_pylist()) == failed
    assert failures["remedy"].null_count == 0
    with pytest.raises(UsageError, match="only reads"):
        output.query("CREATE TABLE t (a INT)")


@pytest.mark.parametrize("table", list(TABLES))
def test_a_metrics_table_has_its_declared_columns_or_says_how_to_make_it(tmp_path: Path, table: str) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.2]], label=0)])
    output = open_output(made.output.uri)
    with pytest.raises(UsageError, match=f"no table {table}; the command `evaluate`"):
        output.metrics(table)
    older = pa.table({TABLES[table].names[0]: pa.nulls(1, TABLES[table].field(0).type)})
    pq.write_table(older, buffer := io.BytesIO())
    made.output.replace(output_layout.metrics_file(made_runs.RUN_ID, table), buffer.getvalue())
    found = output.metrics(table)
    assert found.schema.equals(TABLES[table]) and found.num_rows == 1
    if table == "study_results":
        assert output.study_results().equals(found)


def test_a_metrics_table_of_an_unknown_name_or_run_is_refused(output: Output) -> None:
    with pytest.raises(UsageError, match="no metrics table 'estimate'; the tables are: estimates, "):
        output.metrics("estimate")
    with pytest.raises(UsageError, match="the output holds no run other"):
        output.metrics(run_id="other")


def test_an_output_shows_itself_without_addresses_of_memory(output: Output, tmp_path: Path) -> None:
    for text in (repr(output), output._repr_html_()):
        assert "1 run" in text and RUN_ID in text and "15" in text and "study_results()" in text
        assert " at 0x" not in text
    assert "check the name" in repr(open_output(str(tmp_path / "misnamed")))


def test_the_html_of_an_output_escapes_what_comes_from_outside(tmp_path: Path) -> None:
    assert "<b>" not in open_output(str(tmp_path / "<b>"))._repr_html_()
