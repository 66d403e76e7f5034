"""`query` on the command line: its formats, and that SQL can read only the views."""

import base64
import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from diagchd_batch.cli.query import _print_table
from tests.support.command_line import Ended, diagchd_batch
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy

COLUMNS = "SELECT study_id, chd_probability, chd_call, quality_flags, error_code FROM predictions ORDER BY study_id"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    flagged = {"chd_probability": 0.75, "quality_flags": ["unsure", "no_septum"], "mask_png": b"\x89PNG\0picture"}
    made.write_run([MadeStudy("a", [[flagged]]), MadeStudy("b", [[FAILED]]), MadeStudy("c", [[0.25]])])
    return made


@pytest.fixture
def query(made: MadeOutput) -> Callable[..., Ended]:
    def run(sql: str, *options: str, stdin: str = "") -> Ended:
        return diagchd_batch("query", made.output.uri, sql, *options, stdin=stdin)

    return run


@pytest.fixture(scope="module")
def rows(made: MadeOutput) -> list[tuple[Any, ...]]:
    return sorted(
        [
            (made.tokens.study("a"), 0.75, True, ["unsure", "no_septum"], None),
            (made.tokens.study("b"), None, None, None, FAILED),
            (made.tokens.study("c"), 0.25, False, [], None),
        ]
    )


def test_csv(query: Callable[..., Ended], rows: list[tuple[Any, ...]]) -> None:
    ended = query(COLUMNS, "--format", "csv")
    assert ended.exit_code == 0, ended.messages
    header, *found = csv.reader(io.StringIO(ended.printed))
    assert header == ["study_id", "chd_probability", "chd_call", "quality_flags", "error_code"]
    assert [
        (study, float(p) if p else None, json.loads(call) if call else None, json.loads(f) if f else None, code or None)
        for study, p, call, f, code in found
    ] == rows


def test_json(query: Callable[..., Ended], rows: list[tuple[Any, ...]]) -> None:
    ended = query(COLUMNS, "--format", "json")
    assert ended.exit_code == 0, ended.messages
    assert [tuple(row.values()) for row in json.loads(ended.printed)] == rows


def test_json_lines(query: Callable[..., Ended], rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    ended = query(COLUMNS, "--format", "jsonl")
    assert ended.exit_code == 0, ended.messages
    assert [tuple(json.loads(line).values()) for line in ended.printed.splitlines()] == rows
    query(COLUMNS, "--out", str(tmp_path / "rows.jsonl"))
    assert (tmp_path / "rows.jsonl").read_bytes() == ended.written
    assert query(COLUMNS.replace("ORDER", "WHERE false ORDER"), "--format", "jsonl").written == b""


def test_parquet_to_stdout_and_to_a_file(
    query: Callable[..., Ended], rows: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    ended = query(COLUMNS, "--format", "parquet")
    assert ended.exit_code == 0, ended.messages
    query(COLUMNS, "--out", str(tmp_path / "result.parquet"))
    for source in (io.BytesIO(ended.written), tmp_path / "result.parquet"):
        assert [tuple(row.values()) for row in pq.read_table(source).to_pylist()] == rows


def test_table_is_for_reading(query: Callable[..., Ended], rows: list[tuple[Any, ...]], tmp_path: Path) -> None:
    ended = query(COLUMNS)
    lines = ended.printed.splitlines()
    assert ended.exit_code == 0 and lines[1].split() == COLUMNS.partition(" FROM")[0].replace(",", "").split()[1:]
    for study, *_ in rows:
        assert any(study in line for line in lines)
    assert query(COLUMNS, "--out", str(tmp_path / "table.txt")).printed == ""
    assert (tmp_path / "table.txt").read_text().splitlines() == lines


def test_long_tables_say_that_they_are_cut(query: Callable[..., Ended]) -> None:
    ended = query("SELECT range AS n FROM range(3000)")
    assert ended.exit_code == 0 and "first 1,000 rows" in ended.messages
    numbers = [line.strip() for line in ended.printed.splitlines() if line.strip().isdigit()]
    assert numbers == [str(n) for n in range(1000)]


@pytest.mark.parametrize(("form", "empty"), [("csv", "status\n"), ("json", "[]\n")])
def test_no_rows(query: Callable[..., Ended], form: str, empty: str) -> None:
    assert query("SELECT status FROM predictions WHERE false", "--format", form).printed == empty


def test_values_that_a_format_lacks(query: Callable[..., Ended]) -> None:
    sql = "SELECT 'nan'::DOUBLE AS a, mask_png AS b, TIMESTAMP '2026-01-02 03:04:05' AS c, 10::HUGEINT ** 20 AS d, "
    sql += "MAP {'x': 1} AS e FROM masks WHERE mask_png IS NOT NULL"
    (row,) = json.loads(query(sql, "--format", "json").printed)
    assert row == json.loads(query(sql, "--format", "jsonl").printed)
    assert row["a"] is None and base64.b64decode(row["b"]) == b"\x89PNG\0picture"
    assert (row["c"], row["d"], row["e"]) == ("2026-01-02T03:04:05", 10**20, {"x": 1})
    (cells,) = csv.DictReader(io.StringIO(query(sql, "--format", "csv").printed))
    assert cells["a"] == "" and base64.b64decode(cells["b"]) == b"\x89PNG\0picture"
    assert (cells["c"], json.loads(cells["e"])) == ("2026-01-02T03:04:05", {"x": 1})


def test_the_statement_from_standard_input(query: Callable[..., Ended]) -> None:
    ended = query("-", "--format", "csv", stdin="SELECT count(*) AS n\nFROM predictions")
    assert ended.printed.split() == ["n", "3"]


def test_control_characters_do_not_reach_the_terminal(query: Callable[..., Ended]) -> None:
    ended = query("SELECT chr(27) || '[31mred' AS text")
    assert "\x1b" not in ended.printed and "red" in ended.printed


@pytest.mark.parametrize(
    "sql",
    [
        "COPY predictions TO '{tmp}/stolen.csv'",
        "COPY (SELECT 1) TO '{tmp}/stolen.parquet' (FORMAT parquet)",
        "EXPORT DATABASE '{tmp}/stolen'",
        "ATTACH '{tmp}/other.db' AS other",
        "INSTALL httpfs",
        "LOAD httpfs",
        "CREATE TABLE stolen AS SELECT 1",
        "CREATE OR REPLACE VIEW predictions AS SELECT 1",
        "DROP VIEW predictions",
        "INSERT INTO predictions SELECT * FROM predictions",
        "UPDATE predictions SET status = 'ok'",
        "DELETE FROM predictions",
        "SET enable_external_access = true",
        "RESET enable_external_access",
        "PRAGMA database_list",
        "CALL pragma_version()",
        "SELECT 1; SELECT 2",
        "SELECT 1; COPY predictions TO '{tmp}/stolen.csv'",
        "SELECT * FROM read_csv('{tmp}/secret.csv')",
        "SELECT * FROM read_text('{tmp}/secret.csv')",
        "SELECT * FROM read_blob('{tmp}/secret.csv')",
        "SELECT * FROM '{tmp}/secret.csv'",
        "SELECT * FROM parquet_scan('{tmp}/secret.parquet')",
        "SELECT * FROM glob('{tmp}/*')",
        "SELECT * FROM sniff_csv('{tmp}/secret.csv')",
        "SELECT * FROM 'http://127.0.0.1:9/secret.csv'",
        "SELECT * FROM 's3://bucket/secret.parquet'",
        "SELECT * FROM query('COPY predictions TO ''{tmp}/stolen.csv''')",
        "SELECT * FROM query_table('{tmp}/secret.csv')",
        "SELECT getenv('HOME')",
        "SELECT * FROM rows",  # a variable of the program
        "EXPLAIN ANALYZE COPY predictions TO '{tmp}/stolen.csv'",
    ],
)
def test_sql_reads_the_views_and_nothing_else(
    query: Callable[..., Ended], made: MadeOutput, tmp_path: Path, sql: str
) -> None:
    (tmp_path / "secret.csv").write_text("secret\n1\n")
    before = _all_files(Path(made.output.uri))
    ended = query(sql.replace("{tmp}", str(tmp_path)), "--format", "csv")
    assert ended.exit_code == 2, f"{ended.printed}\n{ended.messages}"
    assert ended.messages and "Traceback" not in ended.messages
    assert ended.written == b""
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]
    assert _all_files(Path(made.output.uri)) == before


def _all_files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "sql",
    [
        "WITH c AS (SELECT 1 AS x) SELECT x FROM c",
        "FROM predictions",
        "DESCRIBE predictions",
        "SUMMARIZE SELECT chd_probability FROM predictions",
        "EXPLAIN SELECT * FROM predictions",
        "PIVOT predictions ON status USING count(*)",
    ],
)
def test_what_reads_is_allowed(query: Callable[..., Ended], sql: str) -> None:
    ended = query(sql, "--format", "json")
    assert ended.exit_code == 0, ended.messages
    assert json.loads(ended.printed)


def test_mistakes_are_told(query: Callable[..., Ended], made: MadeOutput) -> None:
    for sql, options, says in (
        ("SELEC 1", (), "SELEC"),
        ("SELECT nothing FROM predictions", (), "nothing"),
        ("SELECT 1", ("--run-id", "no-such-run"), RUN_ID),
        ("SELECT 1", ("--format", "xml"), "xml"),
    ):
        ended = query(sql, *options)
        assert ended.exit_code == 2 and says in ended.messages and "Traceback" not in ended.messages
    assert diagchd_batch("query", made.output.uri).exit_code == 2


def test_identified_views_need_the_private_tree(query: Callable[..., Ended], made: MadeOutput, tmp_path: Path) -> None:
    ended = query("SELECT source_study_id FROM studies ORDER BY ALL", "--format", "csv")
    assert ended.printed.split() == ["source_study_id", "a", "b", "c"]
    for name in ("studies", "STUDIES"):
        elsewhere = query(f"SELECT * FROM {name}", "--private-uri", str(tmp_path / "nothing"))
        assert elsewhere.exit_code == 2 and "the view studies needs the private tree" in elsewhere.messages
    assert query("SELECT count(*) FROM predictions", "--private-uri", str(tmp_path / "nothing")).exit_code == 0


def test_an_output_without_a_run_is_refused_as_no_rows_would_read_as_no_failures(tmp_path: Path) -> None:
    ended = diagchd_batch("query", str(tmp_path / "mistyped"), "SELECT count(*) FROM failures")
    assert (ended.exit_code, ended.printed) == (2, "")
    assert "mistyped holds no run" in ended.messages
    assert not (tmp_path / "mistyped").exists()


def test_a_table_that_is_not_there_is_told_with_the_views_that_are(query: Callable[..., Ended]) -> None:
    ended = query("SELECT * FROM prediction")
    assert ended.exit_code == 2
    assert "prediction does not exist; the views are: predictions, current, " in ended.messages
    assert "pg_" not in ended.messages


@pytest.mark.parametrize("sql", ["SHOW TABLES", " show all tables;"])
def test_show_tables_points_to_the_list_instead_of_answering_with_nothing(
    query: Callable[..., Ended], sql: str
) -> None:
    ended = query(sql)
    assert (ended.exit_code, ended.printed) == (2, "")
    assert "query --list" in ended.messages


def test_a_file_that_cannot_be_written_is_named(query: Callable[..., Ended], tmp_path: Path) -> None:
    ended = query("SELECT 1", "--out", str(tmp_path / "absent" / "rows.csv"))
    assert ended.exit_code == 2
    assert "rows.csv cannot be written: No such file or directory" in ended.messages


def test_a_result_replaces_no_file_and_appears_only_when_complete(query: Callable[..., Ended], tmp_path: Path) -> None:
    file, link = tmp_path / "rows.csv", tmp_path / "link.csv"
    file.write_text("mine")
    link.symlink_to(file)
    for place in (file, link):
        ended = query("SELECT 1", "--out", str(place))
        assert ended.exit_code == 2
        assert "exists already" in ended.messages
    assert query("SELECT nothing", "--out", str(tmp_path / "new.csv")).exit_code == 2
    assert query("SELECT error('no') FROM predictions", "--out", str(tmp_path / "new.csv")).exit_code != 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.csv", "rows.csv"]
    assert file.read_text() == "mine"
    assert query("SELECT 1", "--out", "/dev/null", "--format", "csv").exit_code == 0


def test_an_ending_of_no_known_format_is_refused(query: Callable[..., Ended], tmp_path: Path) -> None:
    file = tmp_path / "rows.xlsx"
    ended = query("SELECT 1", "--out", str(file))
    assert ended.exit_code == 2
    assert ".csv, .json, .jsonl, .parquet" in ended.messages
    assert not file.exists()
    assert query("SELECT 1", "--out", str(file), "--format", "csv").exit_code == 0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("n_columns", "as_records"), [(4, False), (30, True)])
def test_a_terminal_too_narrow_for_a_tables_columns_gets_rows_as_blocks(
    monkeypatch: pytest.MonkeyPatch, n_columns: int, as_records: bool
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")  # no bold face
    table = pa.table({f"column_{n}": [f"a{n}", f"b{n}"] for n in range(n_columns)})
    terminal = Terminal()
    _print_table(table.to_reader(), terminal)
    lines = terminal.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert ("row 2" in lines) is as_records
    for n in range(n_columns):  # Every name and value is printed in full.
        assert all(any(text in line.split() for line in lines) for text in (f"column_{n}", f"a{n}", f"b{n}"))
