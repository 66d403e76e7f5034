"""Declares one more column, then reads old outputs and writes new ones. It runs in a separate process.

Usage: python with_another_column.py KEPT DIRECTORY, where KEPT is an output of schema version 1.
"""

import importlib.abc
import importlib.util
import os
import shutil
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # No module of the package may be imported before the column is declared.
    from diagchd_batch.results.verify.findings import LineageReport, VerifyReport

sys.path.insert(0, str(Path(__file__).parents[4]))

DECLARATIONS = "diagchd_batch.results.columns.scores"
MARKER = b"_MEASURES = (\n"
DECLARATION = b'    Column("added_by_a_test", _NUMBER, "a value", minimum=0, maximum=255, since=99),\n'


class _Loader(SourceFileLoader):
    def get_data(self, path: str) -> bytes:
        data = super().get_data(path)
        if path.endswith(".py"):
            assert data.count(MARKER) == 1
            return data.replace(MARKER, MARKER + DECLARATION)
        raise OSError("compiled code does not have the column")

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        pass


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != DECLARATIONS:
            return None
        file = Path(path[0]) / "scores.py"
        return importlib.util.spec_from_file_location(name, file, loader=_Loader(name, str(file)))


sys.meta_path.insert(0, _Finder())


def main(kept: Path, directory: Path) -> None:
    from diagchd_batch.results.columns import SCHEMA_VERSION
    from diagchd_batch.results.compaction import compact_predictions
    from diagchd_batch.results.output import open_output
    from diagchd_batch.results.query.database import open_query
    from diagchd_batch.results.verify.findings import ProblemKind
    from diagchd_batch.results.verify.one_run import verify_run
    from diagchd_batch.results.verify.whole_output import verify_lineages, verify_runs
    from tests.unit.results.made_run import METADATA, RUN_ID, make_run

    assert SCHEMA_VERSION == 99
    shutil.copytree(kept, directory / "kept")
    for path in (directory / "kept" / "private", *(directory / "kept" / "private").rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    old = open_output(str(directory / "kept"))
    reports: list[VerifyReport | LineageReport] = [*verify_runs(old), *verify_lineages(old)]
    for report in reports:
        assert not report.problems, report.problems
    rows = open_query(old, {}).table("SELECT added_by_a_test, chd_probability FROM current")
    assert rows["added_by_a_test"].null_count == rows.num_rows == 36
    compact_predictions(old.storage, "first", METADATA)  # A resumed run has the current columns.
    assert old.predictions("first").to_table()["added_by_a_test"].null_count == 15

    new = make_run(directory / "new")
    report = verify_run(new.storage, new.private, new.plan, RUN_ID)  # type: ignore[arg-type]
    assert not report.problems, report.problems
    rows = open_output(new.storage.uri).predictions(RUN_ID).to_table()
    assert rows["added_by_a_test"].null_count == 6  # the rows of failed files
    new.rewrite_shard(1, [{**row, "added_by_a_test": 256.0} if row["status"] == "ok" else row for row in new.rows[1]])
    problems = verify_run(new.storage, new.private, new.plan, RUN_ID).problems  # type: ignore[arg-type]
    assert any(p.kind is ProblemKind.INCONSISTENT_ROW and "added_by_a_test is 256" in p.detail for p in problems), (
        problems
    )
    print("done", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
    sys.stdout.flush()
    os._exit(0)  # This does not wait for threads of libraries.
