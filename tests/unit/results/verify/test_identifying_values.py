"""What files say about patients is kept in the private tree, once for each study, and `verify` misses it."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.images.identifying import CollectedValues, IdentifyingValue
from diagchd_batch.results import identifying_values
from diagchd_batch.results.identifying_values import INCOMPLETE_KEY, ShardValues
from diagchd_batch.results.verify.findings import ProblemKind
from diagchd_batch.runs.verify import verify
from diagchd_batch.storage import open_store
from tests.unit.results.made_scored_output import MadeScoredOutput

ADA, MARY = IdentifyingValue("PatientName", "Ada^Lovelace"), IdentifyingValue("PatientName", "Mary^Anning")


def _recorded(root: Path, values: ShardValues) -> tuple[list[dict[str, str]], int]:
    values.record(open_store(str(root)), "a", 0, "first", {})
    file = pq.ParquetFile(root / output_layout.identifying_values_file("a", 0, "first"))
    return file.read().to_pylist(), int(file.schema_arrow.metadata[INCOMPLETE_KEY])


def test_a_value_is_kept_once_for_each_study(tmp_path: Path) -> None:
    values = ShardValues()
    for study in ("s-1", "s-1", "s-2"):
        values.add(study, CollectedValues((ADA, MARY), complete=True))
    values.add("s-3", CollectedValues((), complete=False))
    rows, n_incomplete = _recorded(tmp_path, values)
    assert [tuple(row.values()) for row in rows] == [(study, *one) for study in ("s-1", "s-2") for one in (ADA, MARY)]
    assert n_incomplete == 1


def test_a_shard_without_values_has_an_empty_file(tmp_path: Path) -> None:
    assert _recorded(tmp_path, ShardValues()) == ([], 0)


def test_the_values_of_a_shard_have_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identifying_values, "MAX_VALUES", 1)
    values = ShardValues()
    values.add("s-1", CollectedValues((ADA, MARY), complete=True))
    values.add("s-1", CollectedValues((ADA,), complete=True))
    rows, n_incomplete = _recorded(tmp_path, values)
    assert (len(rows), n_incomplete) == (1, 1)


def test_verify_misses_the_values_of_the_attempt_that_won(tmp_path: Path) -> None:
    made = MadeScoredOutput(tmp_path, [("study-a", "subject-a", 2)])
    run_id = made.run("first")
    assert verify(made.output).ok
    path = Path(made.output.private.uri) / output_layout.identifying_values_file(run_id, 0, "first")
    content = path.read_bytes()
    for damaged in (None, b"", content[: len(content) // 2]):
        path.unlink()
        if damaged is not None:
            path.write_bytes(damaged)
        (report,) = verify(made.output).runs
        assert {problem.kind for problem in report.problems} == {ProblemKind.MISSING_SOURCES}
        assert output_layout.identifying_values_file(run_id, 0, "first") in report.problems[0].detail
        path.write_bytes(content)
    assert verify(made.output).ok
