"""Tables as many programs write them: each kind gives its rows, or is refused with the reason."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.studies.tables.test_csv_and_parquet import read, refused

A_B = [("a", "1"), ("b", "0")]
BOM = "\ufeff"

READ_CSV: dict[str, tuple[str | bytes, list[tuple[str, str]]]] = {
    "spreadsheet with semicolons": ("study_id;label\r\na;1\r\nb;0\r\n", A_B),
    "tabs": ("study_id\tlabel\na\t1\nb\t0\n", A_B),
    "byte-order mark": (f"{BOM}study_id,label\na,1\nb,0\n", A_B),
    "byte-order mark and quoted header": (f'{BOM}"study_id","label"\na,1\nb,0\n', A_B),
    "byte-order mark and semicolons": (f"{BOM}study_id;label\r\na;1\r\nb;0\r\n", A_B),
    "old line ends": ("study_id,label\ra,1\rb,0\r", A_B),
    "mixed line ends": ("study_id,label\r\na,1\nb,0\r", A_B),
    "no last line end": ("study_id,label\na,1\nb,0", A_B),
    "all quoted": ('"study_id","label"\n"a","1"\n"b","0"\n', A_B),
    "some quoted": ('study_id,label\n"a",1\nb,"0"\n', A_B),
    "spaces around cells": ("study_id , label\n a , 1\n b ,0 \n", A_B),
    "spaces inside quotes": ('study_id,label\n" a ",1\n"b"," 0"\n', A_B),
    "hard spaces": ("study_id,label\na\u00a0,1\nb,0\u00a0\n", A_B),
    "blank lines": ("study_id,label\n\na,1\n\n\nb,0\n\n", A_B),
    "header in capitals": ("STUDY_ID,Label\na,1\nb,0\n", A_B),
    "columns in another order": ("label,study_id\n1,a\n0,b\n", A_B),
    "column of ones own first": ("row,study_id,label\n1,a,1\n2,b,0\n", A_B),
    "index of pandas": (",study_id,label\n0,a,1\n1,b,0\n", A_B),
    "index of R": ('"","study_id","label"\n"1","a",1\n"2","b",0\n', A_B),
    "semicolons and commas in cells": ('study_id;label;mine\na;1;"1,5"\nb;0;"2,5"\n', A_B),
    "delimiter in a quoted cell": ('study_id,label\n"a,1",1\n', [("a,1", "1")]),
    "doubled quotes": ('study_id,label\n"a""b",1\n', [('a"b', "1")]),
    "line end in a quoted cell": ('study_id,label\n"a\nb",1\n', [("a\nb", "1")]),
    "Windows line end in a quoted cell": ('study_id,label,mine\r\na,1,"x\r\ny"\r\nb,0,\r\n', A_B),
    "leading zeros": ("study_id,label\n00123,1\n", [("00123", "1")]),
    "long numbers": ("study_id,label\n12345678901234567890,1\n", [("12345678901234567890", "1")]),
    "numbers like exponents": ("study_id,label\n1E5,1\n", [("1E5", "1")]),
    "dates": ("study_id,label\n2020-01-02,1\n", [("2020-01-02", "1")]),
    "truth words": ("study_id,label\ntrue,1\n", [("true", "1")]),
    "words for nothing": ("study_id,label\nNA,1\nnull,0\n", [("NA", "1"), ("null", "0")]),
    "empty label": ("study_id,label\na,\n", [("a", "")]),
    "quoted empty label": ('study_id,label\na,""\n', [("a", "")]),
    "umlauts": ("study_id,label\nMüller,1\n", [("Müller", "1")]),
    "decomposed umlauts": ("study_id,label\nMu\u0308ller,1\n", [("Mu\u0308ller", "1")]),
    "other scripts": ("study_id,label\n患者,1\nпациент,0\n", [("患者", "1"), ("пациент", "0")]),
    "beyond the basic plane": ("study_id,label\n\U0001f600,1\n", [("\U0001f600", "1")]),
    "formula of a spreadsheet": ("study_id,label\n=1+1,1\n", [("=1+1", "1")]),
    "apostrophes": ("study_id,label\n'a',1\n", [("'a'", "1")]),
    "backslashes": ("study_id,label\na\\b,1\n", [("a\\b", "1")]),
    "hash": ("study_id,label\n#a,1\n", [("#a", "1")]),
    "percent": ("study_id,label\na%20b,1\n", [("a%20b", "1")]),
    "only a header": ("study_id,label\n", []),
    "one column too many in all": ("study_id,label,\na,1,\nb,0,\n", A_B),
}

REFUSED_CSV: dict[str, tuple[str | bytes, str]] = {
    "nothing": ("", "study_id"),
    "only line ends": ("\n\n\n", "study_id"),
    "Windows code page": ("study_id,label\nMüller,1\n".encode("cp1252"), "not UTF-8"),
    "UTF-16": ("study_id,label\na,1\n".encode("utf-16-le"), ""),
    "UTF-32": ("study_id,label\na,1\n".encode("utf-32"), "not UTF-8"),
    "compressed": (b"\x1f\x8b\x08\0\0\0\0\0", "not UTF-8"),
    "spreadsheet file": (b"PK\x03\x04\x14\0\x06\0\x08\0\xff\xff", "Excel workbook"),
    "header of other names": ("id,outcome\na,1\n", "study_id"),
    "header given twice": ("study_id,study_id,label\na,b,1\n", "study_id"),
    "a short row": ("study_id,label\na\n", "line 2"),
    "a long row": ("study_id,label\na,1,2\n", "line 2"),
    "an open quote": ('study_id,label\n"a,1\n', "line 2"),
    "text behind a quote": ('study_id,label\n"a"x,1\n', "line 2"),
    "pipes": ("study_id|label\na|1\n", "study_id"),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "table.csv"


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def ids_and_labels(path: Path) -> list[tuple[str, str]]:
    return [(cells["study_id"], cells["label"]) for _, cells in read(path)]


@pytest.mark.parametrize("kind", READ_CSV)
def test_csv_that_is_read(path: Path, kind: str) -> None:
    content, expected = READ_CSV[kind]
    assert ids_and_labels(write(path, content)) == expected


@pytest.mark.parametrize("kind", REFUSED_CSV)
def test_csv_that_is_refused(path: Path, kind: str) -> None:
    content, reason = REFUSED_CSV[kind]
    assert reason in refused(write(path, content))


def table(**columns: Any) -> pa.Table:
    return pa.table({"study_id": ["a", "b"], "label": ["1", "0"]} | columns)


def stored(columns: pa.Table, **options: Any) -> Callable[[Path], None]:
    return lambda path: pq.write_table(columns, path, **options)


def of_pandas(frame: pd.DataFrame, **options: Any) -> Callable[[Path], None]:
    return lambda path: frame.to_parquet(path, **options)


FRAME = pd.DataFrame({"study_id": ["a", "b"], "label": ["1", "0"]})
READ_PARQUET: dict[str, Callable[[Path], None]] = {
    **{
        f"compressed by {name}": stored(table(), compression=name)
        for name in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
    },
    "format 1.0": stored(table(), version="1.0"),
    "format 2.6, pages of version 2": stored(table(), version="2.6", data_page_version="2.0"),
    "row groups of one row": stored(table(), row_group_size=1),
    "without dictionaries": stored(table(), use_dictionary=False),
    "without statistics": stored(table(), write_statistics=False),
    "with checksums": stored(table(), write_page_checksum=True),
    "delta encodings": stored(table(), use_dictionary=False, column_encoding="DELTA_BYTE_ARRAY"),
    "long strings": stored(table(study_id=pa.array(["a", "b"], pa.large_string()))),
    "string views": stored(table(study_id=pa.array(["a", "b"], pa.string_view()))),
    "dictionaries": stored(table(study_id=pa.array(["a", "b"]).dictionary_encode())),
    "labels of 8 bits": stored(table(label=pa.array([1, 0], pa.int8()))),
    "labels of 64 bits": stored(table(label=pa.array([1, 0], pa.int64()))),
    "labels without sign": stored(table(label=pa.array([1, 0], pa.uint16()))),
    "dictionary of labels": stored(table(label=pa.array([1, 0]).dictionary_encode())),
    "columns in another order": stored(table().select(["label", "study_id"])),
    "names in capitals": stored(table().rename_columns(["STUDY_ID", "Label"])),
    "metadata of ones own": stored(table().replace_schema_metadata({"key": "value"})),
    "a column of pictures": stored(table(picture=pa.array([b"\x89PNG", b""]))),
    "a column of vectors": stored(table(vector=pa.array([np.zeros(3).tolist()] * 2))),
    "pandas": of_pandas(FRAME),
    "pandas with an index": of_pandas(FRAME.set_index(pd.Index([7, 9], name="row"))),
    "pandas with the study as index": of_pandas(FRAME.set_index("study_id")),
    "pandas with categories": of_pandas(FRAME.astype("category")),
    "pandas with strings of its own": of_pandas(FRAME.astype("string")),
    "pandas with attributes": of_pandas(FRAME.assign(date=pd.Timestamp("2020-01-01", tz="UTC"))),
}


def damaged(place: int) -> Callable[[Path], None]:
    def write_damaged(path: Path) -> None:
        pq.write_table(table(), path)
        data = path.read_bytes()
        path.write_bytes(data[:place] if place > 0 else data[:place] + bytes(-place))

    return write_damaged


REFUSED_PARQUET: dict[str, Callable[[Path], None]] = {
    "no study": stored(pa.table({"label": ["1"]})),
    "study as floating point": stored(table(study_id=pa.array([1.0, 2.0]))),
    "study as a list": stored(table(study_id=pa.array([["a"], ["b"]]))),
    "cut in half": damaged(200),
    "only the signature": damaged(4),
    "without an end": damaged(-8),
}


@pytest.mark.parametrize("kind", READ_PARQUET)
def test_parquet_that_is_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.parquet"
    READ_PARQUET[kind](path)
    assert ids_and_labels(path) == A_B


@pytest.mark.parametrize("kind", REFUSED_PARQUET)
def test_parquet_that_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "table.parquet"
    REFUSED_PARQUET[kind](path)
    refused(path)


def test_there_are_many_kinds() -> None:
    assert len(READ_CSV) + len(REFUSED_CSV) >= 40
    assert len(READ_PARQUET) + len(REFUSED_PARQUET) >= 25
