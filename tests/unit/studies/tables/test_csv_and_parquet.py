import csv
import hashlib
from pathlib import Path
from typing import Any, Never

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diagchd_batch.errors import InputError, ItemError
from diagchd_batch.failure_codes import FailureCode
from diagchd_batch.sources.local.source import LocalSource
from diagchd_batch.storage import Store
from diagchd_batch.studies.tables.cell_parsing import binary, identifier
from diagchd_batch.studies.tables.csv_and_parquet import BATCH_ROWS, TableColumns, read_table, table_digest
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates
from tests.unit.studies.archives import Archive

COLUMNS = TableColumns(("study_id", "label"), ("note",))
trimmed_text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=12).map(str.strip)


def read(path: Path | str) -> list[tuple[int, dict[str, Any]]]:
    """Return all rows as pairs of line or row number and cells by column."""
    return [
        (row, {name: cells[i] for name, cells in batch.cells.items()})
        for batch in read_table(str(path), "input.manifest", COLUMNS)
        for i, row in enumerate(batch.rows)
    ]


def refused(path: Path | str) -> str:
    with pytest.raises(InputError) as error:
        read(path)
    assert error.value.exit_code == 2
    assert "input.manifest" in str(error.value)
    return str(error.value)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.tuples(trimmed_text.filter(bool), trimmed_text), min_size=1, max_size=20),
    delimiter=st.sampled_from(",;\t"),
    line_end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig"]),
)
def test_any_text_comes_back_whatever_the_dialect(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str, line_end: str, encoding: str
) -> None:
    path = tmp_path / "table.csv"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=line_end, quoting=csv.QUOTE_ALL)
        writer.writerows([("study_id", "label"), *rows])
    assert [(cells["study_id"], cells["label"]) for _, cells in read(path)] == rows


def test_numbers_are_not_guessed_and_cells_are_trimmed(archive: Archive) -> None:
    path = archive.write_table("Study_ID ; LABEL\n 00123 ;\u00a01\n1e5;\n")
    assert read(path) == [(2, {"study_id": "00123", "label": "1"}), (3, {"study_id": "1e5", "label": ""})]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_line_ends_of_every_system(archive: Archive, line_end: str) -> None:
    path = archive.directory / "table.csv"
    path.write_bytes(f"study_id,label{line_end}a,1{line_end}b,0".encode())
    assert [(row, cells["study_id"]) for row, cells in read(path)] == [(2, "a"), (3, "b")]


def test_rows_are_named_by_their_line_in_the_file(archive: Archive) -> None:
    path = archive.write_table('study_id,label\n\n"two\nlines",0\n , \nx,1\n')
    assert [row for row, _ in read(path)] == [4, 6]


def test_a_table_of_many_batches(archive: Archive) -> None:
    n_rows = BATCH_ROWS * 2 + 5
    path = archive.write_rows([("study_id", "label"), *((f"s{i}", "0") for i in range(n_rows))])
    assert [cells["study_id"] for _, cells in read(path)] == [f"s{i}" for i in range(n_rows)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no column study_id"),
        ("label\n1\n", "no column study_id"),
        ("study_id,label,label\n1,2,3\n", "columns 2 and 3 are called label; keep one"),
        ("study_id,label,Müller,x,Müller\n1,2,3,4,5\n", "columns 3 and 5 have the same name; keep one"),
        ("study_id,label,Notes\n1,2,3\n", "column Notes is not known; is note meant"),
        ("study_id,label\na,1\nb,1,2\n", "line 3: 3 cells"),
        ("study_id,label\na\n", "line 2: 1 cell, but"),
        ('study_id,label\na,1\n"b,1\n', "line 3: unexpected end of data"),
        ('study_id,label\n"a"b,1\n', "line 2: "),
        ("study_id,label\n" + "a" * 200_000 + ",1\n", "line 2: field larger"),
    ],
)
def test_what_cannot_be_parsed_is_refused_naming_the_line(archive: Archive, text: str, expected: str) -> None:
    assert expected in refused(archive.write_table(text))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes("study_id,label\nMüller,1\n".encode(encoding))
    assert "not UTF-8" in refused(path)


def test_an_absent_table_is_refused_without_naming_its_path(tmp_path: Path) -> None:
    assert "patients" not in refused(tmp_path / "patients.csv")


def test_a_bad_cell_is_named_by_line_and_column_but_not_shown(archive: Archive) -> None:
    path = archive.write_table("study_id,label\na,1\nb,Jane Doe\n")
    (batch,) = read_table(path, "input.manifest", COLUMNS)
    with pytest.raises(InputError) as error:
        batch.parse("label", binary)
    assert str(error.value) == (
        "input.manifest, line 3: label is not 0, 1 or empty; "
        "write 0 for normal, 1 for CHD, and nothing if it is not known"
    )


def test_a_table_without_header_shows_nothing_of_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("MILLER-1980,1,MILLER-1980\nMAIER-1981,0,MAIER-1981\n")
    assert "no column study_id" in (message := refused(path))
    assert "MILLER" not in message


def test_columns_of_ones_own_are_let_be(archive: Archive) -> None:
    path = archive.write_table("study_id,label,study_date,note,notes\na,1,2019,x,y\n")
    assert read(path) == [(2, {"study_id": "a", "label": "1", "study_date": "2019", "note": "x", "notes": "y"})]


OWN_COLUMNS = {
    "list": pa.array([[1.0, 2.0], None]),
    "fixed_size_list": pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)),
    "struct": pa.array([{"study_id": 1}, {"study_id": 2}]),
    "list_of_structs": pa.array([[{"label": "x"}], []]),
    "map": pa.array([[("a", 1)], []], pa.map_(pa.string(), pa.int8())),
    "bytes": pa.array([b"\xff\xd8", b""]),
    "fixed_size_bytes": pa.array([b"\xff\xd8", b"\xff\xff"], pa.binary(2)),
    "duration": pa.array([1, None], pa.duration("s")),
    "null": pa.nulls(2),
    "decimal": pa.array([1, 2]).cast(pa.decimal128(24, 2)),
    "time": pa.array([1, 2], pa.time64("us")),
    "timestamp": pa.array([1, 2], pa.timestamp("us", "Nowhere/Land")),
    "dictionary_of_bytes": pa.array([b"\xff", b"\xfe"]).dictionary_encode(),
    "half": pa.array([1.5, 2.5], pa.float16()),
}


@pytest.mark.parametrize("kind", OWN_COLUMNS)
def test_columns_of_ones_own_may_have_any_type_in_parquet(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"Label": ["1", "0"], "mine": OWN_COLUMNS[kind], "study_id": ["a", "b"]}), path)
    assert read(path) == [(1, {"study_id": "a", "label": "1"}), (2, {"study_id": "b", "label": "0"})]


@pytest.mark.parametrize("kind", ["list", "fixed_size_list", "struct", "map"])
def test_columns_that_are_read_may_not_be_nested(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"study_id": ["a", "b"], "label": OWN_COLUMNS[kind]}), path)
    assert "column 2 holds lists, maps or records" in refused(path)
    pq.write_table(pa.table({"study_id": ["a", "b"], "site": OWN_COLUMNS[kind]}), path)
    with pytest.raises(InputError, match=r"evaluation\.covariates: column 2 holds lists, maps or records"):
        read_covariates(str(path))


@pytest.mark.parametrize("n_characters", [131_073, 3_000_000])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_long_cell_of_ones_own_is_let_be(archive: Archive, n_characters: int, quote: str) -> None:
    long = quote + "x" * n_characters + quote
    path = archive.write_table(f"study_id,mine,label\na,{long},1\nb,y,0\n")
    assert [(cells["study_id"], cells["label"]) for _, cells in read(path)] == [("a", "1"), ("b", "0")]
    with pytest.raises(InputError, match=r"evaluation\.covariates, line 2: field larger than 131,072 characters in"):
        read_covariates(path)


def test_an_absent_optional_column_is_empty_cells(archive: Archive) -> None:
    (batch,) = read_table(archive.write_table("study_id,label\na,1\n"), "input.manifest", COLUMNS)
    assert batch.parse("note", str) == [""]


def test_parquet_of_pandas(tmp_path: Path) -> None:
    table = pd.DataFrame({"study_id": ["00123", " é "], "label": [1.0, None], "note": pd.Categorical(["x", None])})
    table.to_parquet(tmp_path / "table")
    rows = read(tmp_path / "table")
    assert [(row, cells["study_id"], cells["note"]) for row, cells in rows] == [(1, "00123", "x"), (2, "é", "")]
    (batch,) = read_table(str(tmp_path / "table"), "input.manifest", COLUMNS)
    assert batch.parse("label", binary) == [1, None]


def test_parquet_integers_are_ids_but_floating_point_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"study_id": pa.array([12, None]), "label": pa.array([0, 1], pa.int8())}), path)
    assert [cells["study_id"] for _, cells in read(path)] == ["12", ""]
    (batch,) = read_table(str(path), "input.manifest", COLUMNS)
    with pytest.raises(InputError, match="row 2: study_id is empty"):
        batch.parse("study_id", identifier)
    pq.write_table(pa.table({"study_id": [12.0], "label": ["0"]}), path)
    assert "floating-point" in refused(path)


def test_damaged_parquet_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"study_id": ["a"] * 1000, "label": ["0"] * 1000}), path)
    path.write_bytes(path.read_bytes()[:-20])
    assert "Parquet" in refused(path)


def test_digest_is_that_of_the_bytes(archive: Archive) -> None:
    path = archive.write_table("study_id,label\na,1\n" * 100_000)
    assert table_digest(path, "input.manifest") == hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_a_file_that_may_not_be_read_is_an_input_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(storage: Store, key: str, start: int, length: int) -> Never:
        raise ItemError(FailureCode.ACCESS_DENIED, f"{key}: Permission denied")

    (tmp_path / "secret-name.csv").write_text("study_id,label\n1,0\n")
    monkeypatch.setattr(LocalSource, "read_range", refuse)
    for call in (read, lambda path: table_digest(str(path), "input.manifest")):
        with pytest.raises(InputError, match=r"input\.manifest: the file cannot be read \(access_denied\)") as error:
            call(tmp_path / "secret-name.csv")
        assert "secret-name" not in str(error.value)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_an_excel_workbook_is_called_one(tmp_path: Path, start: bytes) -> None:
    (tmp_path / "studies.xlsx").write_bytes(start + bytes(range(256)))
    with pytest.raises(InputError, match=r"input.manifest: .* Excel workbook.* leading zeros .*CSV UTF-8"):
        read_table(str(tmp_path / "studies.xlsx"), "input.manifest", TableColumns(("study_id", "uri")))
