"""Predictions have the rows of the scores in few files, with the same bytes each time."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.results import compaction
from diagchd_batch.results.columns import PREDICTIONS, with_run
from diagchd_batch.results.compaction import compact_predictions
from diagchd_batch.results.datasets import predictions_keys, read_predictions, read_scores
from tests.unit.results.made_run import METADATA, RUN_ID, MadeRun, make_run


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    return make_run(tmp_path)


def parts(run: MadeRun) -> list[bytes]:
    return [run.storage.read(key) for key in predictions_keys(run.storage, RUN_ID)]


def test_one_part_with_the_contracts_schema(run: MadeRun) -> None:
    (key,) = predictions_keys(run.storage, RUN_ID)
    assert key == output_layout.predictions_file(RUN_ID, 0)
    schema = pq.read_schema(run.path(key))
    assert schema.equals(with_run(PREDICTIONS))
    assert dict(schema.metadata) == METADATA


def test_again_gives_the_same_bytes(run: MadeRun) -> None:
    before = parts(run)
    counts = compact_predictions(run.storage, RUN_ID, METADATA)
    assert parts(run) == before
    assert compact_predictions(run.storage, RUN_ID, METADATA) == counts


def test_parts_split_between_row_groups_and_leftovers_go(run: MadeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compaction, "ROWS_PER_GROUP", 4)
    counts = compact_predictions(run.storage, RUN_ID, METADATA, rows_per_part=8)
    assert counts.n_rows == 21
    keys = predictions_keys(run.storage, RUN_ID)
    metadata = [pq.read_metadata(run.path(key)) for key in keys]
    groups = [[m.row_group(k).num_rows for k in range(m.num_row_groups)] for m in metadata]
    assert groups == [[4, 4], [4, 4], [4, 1]]
    expected = read_scores(run.storage, RUN_ID).to_table(columns=["image_id", "frame", "status", "error_code"])
    read = read_predictions(run.storage, RUN_ID).to_table(columns=expected.schema.names)
    assert read.to_pylist() == expected.to_pylist()
    compact_predictions(run.storage, RUN_ID, METADATA)
    assert len(predictions_keys(run.storage, RUN_ID)) == 1


def test_counts(run: MadeRun) -> None:
    run.shard_path(2).unlink()
    counts = compact_predictions(run.storage, RUN_ID, METADATA)
    rows = [row for shard in run.rows[:2] for row in shard]
    assert counts.n_shards == 2
    assert counts.n_images == 8
    assert counts.n_rows == len(rows) == 14
    assert counts.n_chd_calls == sum(row.get("chd_call", False) for row in rows)
    assert counts.n_ok + counts.n_failed == 14
    assert counts.failures == {"decode_error": 2, "frame_not_found": 2}
    assert counts.reference_status == {"ok": 2}
    assert counts.quality_flags.get("unsure", 0) == sum("unsure" in (row.get("quality_flags") or []) for row in rows)


def test_a_damaged_score_file_stops_it_and_leaves_what_was_there(run: MadeRun) -> None:
    before = parts(run)
    path = run.shard_path(1)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RunFault, match="verify"):
        compact_predictions(run.storage, RUN_ID, METADATA)
    assert parts(run) == before
