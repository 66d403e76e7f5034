"""`verify` finds each way in which the Parquet tables of runs and lineages can differ from the runs."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch import output_layout
from diagchd_batch.results.derived_tables import TABLES_SINCE, write_lineage_tables
from diagchd_batch.results.run_record import read_run_record
from diagchd_batch.results.verify.derived_tables import derived_tables_problems, tables_of_unknown_runs
from diagchd_batch.results.verify.findings import ProblemKind
from tests.unit.results.made_lineage import MadeLineage

TABLES = {
    "run_table": output_layout.run_table_file,
    "lineages": output_layout.lineage_file,
    "superseded": output_layout.superseded_file,
}


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    table = change(pq.read_table(path))
    pq.write_table(table, path)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "removed": Path.unlink,
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "a row less": lambda path: rewritten(path, lambda table: table.slice(1)),
    "a row twice": lambda path: rewritten(path, lambda table: pa.concat_tables([table, table.slice(0, 1)])),
    "another run": lambda path: rewritten(
        path, lambda table: table.set_column(table.column_names.index("run_id"), "run_id", [["run-9"] * len(table)])
    ),
    "a column less": lambda path: rewritten(path, lambda table: table.drop_columns(table.column_names[-1])),
}


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> MadeLineage:
    """Return two runs of the current schema version; the second scores a file that failed in the first."""
    made = MadeLineage(tmp_path_factory.mktemp("undamaged"))
    made.add_files("a/1.png", "a/2.png")
    made.run(broken=("a/1.png",), schema_version=TABLES_SINCE)
    made.add_files("a/1.png", content="sent again")
    made.run(schema_version=TABLES_SINCE)
    for run_id in ("run-1", "run-2"):
        write_lineage_tables(made.output.storage, run_id)
    return made


@pytest.fixture
def made(undamaged: MadeLineage, tmp_path: Path) -> MadeLineage:
    return undamaged.copy_to(tmp_path)


def problems(made: MadeLineage, run_id: str = "run-2") -> list[str]:
    found = list(derived_tables_problems(made.output.storage, read_run_record(made.output.storage, run_id)))
    assert {problem.kind for problem in found} <= {ProblemKind.DERIVED_TABLE_DIFFERS}
    assert all("the command `evaluate`" in problem.remedy for problem in found)
    return [problem.place for problem in found]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("table", TABLES)
def test_a_wrong_table_is_named_and_writing_it_again_mends_it(made: MadeLineage, table: str, damage: str) -> None:
    assert problems(made) == problems(made, "run-1") == []
    key = TABLES[table]("run-2")
    DAMAGE[damage](Path(made.output.storage.uri) / key)
    assert problems(made) == [key]
    assert problems(made, "run-1") == []
    write_lineage_tables(made.output.storage, "run-2")
    assert problems(made) == []


def test_predictions_that_changed_make_the_tables_wrong(made: MadeLineage) -> None:
    made.write_predictions("run-1", [{**row, "frame": 0, "status": "ok"} for row in made.predictions("run-1")])
    assert problems(made) == ["superseded/run-2.parquet"]


def test_a_run_of_an_earlier_version_needs_no_tables_until_it_has_some(tmp_path: Path) -> None:
    made = MadeLineage(tmp_path)
    made.add_files("a/1.png")
    made.run()
    assert problems(made, "run-1") == []
    write_lineage_tables(made.output.storage, "run-1")
    assert problems(made, "run-1") == []
    (tmp_path / "out" / "superseded" / "run-1.parquet").unlink()
    assert problems(made, "run-1") == ["superseded/run-1.parquet"]


def test_tables_of_a_run_that_is_gone_are_named(made: MadeLineage) -> None:
    found = list(tables_of_unknown_runs(made.output.storage, {"run-1"}))
    assert [name for name, _ in found] == ["run-2"] * 3
    assert {problem.place for _, problem in found} == {key("run-2") for key in TABLES.values()}
    assert {problem.kind for _, problem in found} == {ProblemKind.FOREIGN_FILE}
