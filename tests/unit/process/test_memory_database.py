"""One module opens DuckDB, and its databases reach nothing of the machine."""

import ast
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import diagchd_batch
from diagchd_batch.process import memory_database as module
from diagchd_batch.process.memory_database import memory_database

PACKAGE = Path(diagchd_batch.__file__).parent
REPOSITORY = PACKAGE.parent
TYPES_AND_ERRORS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # names of DuckDB's classes begin with a capital letter


def _functions_of_duckdb(path: Path) -> set[str]:
    """Return what a module uses of duckdb besides its classes."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "duckdb":
            used.add(node.attr)
        elif isinstance(node, ast.ImportFrom) and node.module == "duckdb":
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            assert not any(alias.name == "duckdb" and alias.asname for alias in node.names), f"{path} renames duckdb"
    return {name for name in used if name[0] not in TYPES_AND_ERRORS}


def test_no_other_module_opens_duckdb() -> None:
    modules = [path for folder in (PACKAGE, REPOSITORY / "jobs", REPOSITORY / "tools") for path in folder.rglob("*.py")]
    assert {path: used for path in modules if (used := _functions_of_duckdb(path))} == {
        PACKAGE / "process" / "memory_database.py": {"connect"}
    }


@pytest.mark.parametrize("spills", [True, False])
@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "COPY (SELECT 1) TO '{file}.csv'",
        "ATTACH '{file}.duckdb'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM 'https://example.org/table.parquet'",
        "SELECT * FROM table_of_this_process",
        "SET threads = 1",
        "SET enable_external_access = true",
        "SET temp_directory = '{file}'",
    ],
)
def test_no_statement_reaches_beyond_the_database(tmp_path: Path, statement: str, spills: bool) -> None:
    file = tmp_path / "table.csv"
    file.write_text("a\n1\n")
    table_of_this_process = pa.table({"a": [1]})
    with memory_database(spills=spills) as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(file=file)).fetchall()
    assert list(tmp_path.iterdir()) == [file]
    assert table_of_this_process.num_rows == 1


def test_registered_data_is_readable_and_the_settings_hold() -> None:
    with memory_database(spills=False, max_memory_bytes=64 * 1024**2) as connection:
        connection.register("given", pa.table({"a": [1, 2]}))
        assert connection.sql("SELECT sum(a) FROM given").fetchall() == [(3,)]
        settings = "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        assert connection.sql(settings).fetchall() == [("64.0 MiB", "")]
    with pytest.raises(duckdb.ConnectionException):
        connection.sql("SELECT 1").fetchall()


def test_threads_are_the_cores_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "available_cores", lambda: 3)
    with memory_database(spills=False) as connection:
        assert connection.sql("SELECT current_setting('threads')").fetchall() == [(3,)]


def test_what_does_not_fit_goes_to_a_private_directory_or_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    large = "CREATE TABLE large AS SELECT range AS a, hash(range) AS b FROM range(4000000)"
    monkeypatch.setattr(module, "available_cores", lambda: 1)
    with memory_database(spills=True, max_memory_bytes=40_000_000) as connection:
        connection.execute(large)
        (private,) = tmp_path.iterdir()
        assert private.lstat().st_mode & 0o077 == 0
        assert any(private.rglob("duckdb_temp*"))
    limited = memory_database(spills=False, max_memory_bytes=40_000_000)
    with limited as connection, pytest.raises(duckdb.OutOfMemoryException):
        connection.execute(large)
    assert list(tmp_path.iterdir()) == []
