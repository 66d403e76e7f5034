"""Text that others wrote controls neither a terminal nor a spreadsheet."""

import csv
import io
import json
import re
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import diagchd_batch as package
from diagchd_batch.cli.console import print_pairs
from diagchd_batch.cli.query import _print_table
from diagchd_batch.escaping import for_cell, for_console, for_line, is_unsafe, json_for_console
from diagchd_batch.exports.spreadsheets import to_csv
from diagchd_batch.results.query.formats import write_csv
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

HOSTILE = "x\x1b[31mRED\x1b]0;PWNED\x07\x9b31m\u202eevil\r[bold]"
START = re.compile(r"\s*[=+\-@＝＋－＠]")

texts = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\x9b\x07\r\n\t;,=+-@ '\"\u202e\u200b\u00a0＝")))


@given(texts)
def test_nothing_unsafe_is_left_and_safe_text_stays(text: str) -> None:
    assert not any(map(is_unsafe, for_console(text)))
    if not any(map(is_unsafe, text)):
        assert for_console(text) == text


@given(texts)
def test_a_value_in_a_line_stays_in_its_line(text: str) -> None:
    shown = for_line(text)
    assert shown.splitlines() == ([shown] if shown else []) and "\t" not in shown
    assert shown == for_console(text) or "\n" in text or "\t" in text


def test_pairs_and_tables_give_a_study_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    name = "x\nexcluded  no\ty"
    print_pairs([("study", name), ("excluded", "yes")])
    _print_table(pa.table({"study": [name]}).to_reader(), sys.stdout)
    printed = capsys.readouterr().out
    assert printed.count("\nexcluded") == 1 and printed.count("x\\nexcluded  no\\ty") == 2


@given(texts)
def test_json_stays_the_same_value(text: str) -> None:
    shown = json_for_console({"a": [text]})
    assert not any(map(is_unsafe, shown))
    assert json.loads(shown) == {"a": [text]}


@given(texts.map(lambda text: text.encode("utf-8", "replace").decode()))
def test_no_spreadsheet_finds_a_formula_whatever_separates(text: str) -> None:
    rows = pa.RecordBatchReader.from_batches(pa.schema([("name", pa.string())]), [pa.record_batch({"name": [text]})])
    queried = io.BytesIO()
    write_csv(rows, queried)
    for data in (to_csv([{"name": text}], ["name"]), queried.getvalue()):
        # as written, and split where a spreadsheet may split a line although the cell is quoted
        (_, *cells) = [cell for row in csv.reader(io.StringIO(data.decode(), newline="")) for cell in row]
        for cell in cells:
            assert not any(map(is_unsafe, cell))
            assert not any(START.match(part) for part in re.split(r"[;\t\n]", cell))


@pytest.mark.parametrize("text", ["=1+1", "\u00a0=1", " -2+3", "a;=1+1", "a\n@x", "＝1"])
def test_an_apostrophe_stands_before_a_formula(text: str) -> None:
    assert "'" in for_cell(text)


def test_numbers_of_a_query_stay_numbers() -> None:
    file = io.BytesIO()
    write_csv(pa.RecordBatchReader.from_batches(pa.schema([("n", pa.int64())]), [pa.record_batch({"n": [-1]})]), file)
    assert file.getvalue() == b"n\n-1\n"


def test_a_hostile_output_controls_no_command(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy(f"study-{HOSTILE}", [[0.2]], 0), MadeStudy("b", [[0.9]], 1)])
    path = Path(made.output.uri) / "runs" / f"run_id={RUN_ID}" / "run.json"
    record = json.loads(path.read_text())
    record["model"]["name"] += HOSTILE
    path.write_text(json.dumps(record))
    sql = f"SELECT chr(27) || '[31m' AS a, '{HOSTILE}' AS \"=b{HOSTILE}\""
    uri = made.output.uri
    commands = [
        *(("list", uri, *more) for more in ((), ("--json",))),
        *(("status", uri, *more) for more in ((), ("--json",))),
        *(("verify", uri, *more) for more in ((), ("--json",), ("--run-id", HOSTILE))),
        *(("query", uri, sql, "--format", kind) for kind in ("table", "csv", "json")),
        ("query", uri, f'SELECT * FROM "{HOSTILE}"'),
        ("show", uri, HOSTILE),
        *(("show", uri, "a", *more) for more in ((), ("--json",))),
        ("report", uri, "--run-id", RUN_ID + HOSTILE),
        ("evaluate", uri, "--run-id", HOSTILE),
        ("export", "shareable", uri, str(tmp_path / "x"), "--run-id", HOSTILE),
        ("compare", uri, RUN_ID, HOSTILE),
        *(("show", uri, f"study-{HOSTILE}", *more) for more in ((), ("--json",))),
        ("show", uri, HOSTILE),
        ("logs", uri, "--run-id", HOSTILE),
        ("stop", uri, "--run-id", HOSTILE),
        ("list", str(tmp_path / HOSTILE.replace("/", ""))),
    ]
    for command in commands:
        ended = diagchd_batch(*command)
        printed = ended.printed.replace("\r\n", "\n") + ended.messages
        assert printed
        assert not [character for character in printed if is_unsafe(character)], command


def test_commands_print_through_the_console_only() -> None:
    for path in (Path(package.__file__).parent / "cli").glob("*.py"):
        unescaped = [
            line
            for line in path.read_text(encoding="utf-8").splitlines()
            if re.search(r"(?<![\w.])print\(", line) and "file=" not in line
        ]
        assert path.stem == "console" or not unescaped, f"{path.name}: use print_text, say or print_json"
