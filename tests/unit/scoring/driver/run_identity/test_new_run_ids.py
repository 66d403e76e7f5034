"""Ids of new runs read as text in every engine."""

import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from diagchd_batch.errors import UsageError
from diagchd_batch.output_layout import check_run_id
from diagchd_batch.scoring.driver.run_identity.new_run_ids import check_new_run_id

REFUSED = {
    "a missing value": ["null", "NULL", "None", "nan", "NaN", "NA", "NaT", "nil"],
    "a boolean": ["true", "TRUE", "False", "yes", "no", "t", "y", "on"],
    "a number": ["007", "7", "1e5", "1E-5", "1.5", "1.", "1_000", "2026_11_27", "0x1F", "0b11", "0o17", "1d", "1f",
                 "20261127", "inf", "Infinity", "0x1p3"],
    "a date or a time": ["2026-11-27", "2026-1-2", "27-11-2026", "2026.11.27", "2026-11", "1-2-3",
                         "2026-11-27T10", "20261127T101500Z", "2026-W48", "2026q1", "2026-331", "epoch", "today",
                         "nov-2026", "27nov2026", "may", "5h", "3min", "10am", "12h30", "2026-11-27_10-15"],
}  # fmt: skip
ACCEPTED = ["run-007", "first", "mine", "v1", "v1.5", "rerun-2026-11-27", "2026-11-27-rerun", "4chamber", "site-a",
            "compact_2", "x1e5", "nullable", "trueish", "marching", "abcdef", "beef", "a7"]  # fmt: skip


@pytest.mark.parametrize(("kind", "run_id"), [(kind, run_id) for kind, ids in REFUSED.items() for run_id in ids])
def test_what_reads_as_something_else_is_refused_with_an_id_that_may_be_used(kind: str, run_id: str) -> None:
    check_run_id(run_id)  # its characters are those of a run id
    with pytest.raises(UsageError, match=f"reads? this id as {kind}") as caught:
        check_new_run_id(run_id)
    suggested = str(caught.value).rpartition("--run-id ")[2]
    assert check_new_run_id(check_run_id(suggested)) == f"run-{run_id}"


def test_the_suggested_id_is_not_too_long() -> None:
    with pytest.raises(UsageError) as caught:
        check_new_run_id("7" * 80)
    check_run_id(str(caught.value).rpartition("--run-id ")[2])


def _generated_ids(n: int) -> list[str]:
    """Return ids as the program makes them, of digits alone and with an e, which could read as numbers or dates."""
    generator = random.Random(7)
    ids = ["12345678-12345678-1", "20261127-10112600-1", "00000000-00000000-1", "2026e127-20261127-12"]
    for number in range(n):
        one, other = ("".join(generator.choice("0123456789e"[: 10 + number % 2]) for _ in range(8)) for _ in range(2))
        ids.append(f"{one}-{other}-{number}")
    return ids


def test_engines_read_accepted_and_generated_ids_as_text(tmp_path: Path) -> None:
    for place, run_id in enumerate([*ACCEPTED, *_generated_ids(40)]):
        assert check_new_run_id(run_id) == run_id
        directory = tmp_path / str(place)
        (directory / f"run_id={run_id}").mkdir(parents=True)
        pq.write_table(pa.table({"value": [1]}), directory / f"run_id={run_id}" / "part.parquet")
        sql = f"SELECT run_id FROM read_parquet('{directory}/*/*.parquet', hive_partitioning = true)"
        assert duckdb.connect().execute(sql).fetchall() == [(run_id,)]
        assert ds.dataset(directory, partitioning="hive").to_table()["run_id"].to_pylist() == [run_id]
        assert pq.read_table(directory)["run_id"].to_pylist() == [run_id]
