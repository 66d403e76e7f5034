import posixpath
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from diagchd_batch.studies.tables import cell_parsing
from diagchd_batch.uris import is_key

path_parts = st.one_of(st.sampled_from([".", "..", "", "a", "%2e%2e", "C:", "s3:"]), st.text(max_size=5))
paths = st.lists(path_parts, min_size=1, max_size=6).map("/".join)


@given(paths)
@example("a/../../b.png")
@example("./a.png")
@example("%2e%2e/a.png")
def test_a_key_stays_below_the_root_or_is_refused(cell: str) -> None:
    try:
        key = cell_parsing.relative_key(cell)
    except ValueError:
        return
    assert is_key(key)
    assert posixpath.normpath(posixpath.join("/root", key)) == f"/root/{key}"


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("/etc/passwd", "not relative"),
        ("s3://bucket/a.png", "not relative"),
        ("file:///a.png", "not relative"),
        ("C:\\scans\\a.png", "not relative"),
        ("../a.png", r"'\.\.'"),
        ("a/../a.png", r"'\.\.'"),
        ("a//b.png", "empty part"),
        ("a/", "directory"),
        (".", "directory"),
        ("", "is empty"),
        ("a\0.png", "NUL"),
    ],
)
def test_keys_that_leave_the_root_or_name_no_file_are_refused(cell: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        cell_parsing.relative_key(cell)


@pytest.mark.parametrize("cell", ["a b/%41.png", "ä/ö.png", 'a"b.png', "a:b.png", "..a/b..png", "a\nb.png"])
def test_other_characters_are_taken_as_they_are(cell: str) -> None:
    assert cell_parsing.relative_key(cell) == cell


@pytest.mark.parametrize(
    ("parse", "taken", "refused"),
    [
        (cell_parsing.binary, {"0": 0, "1": 1, "": None, "1.0": 1}, ["2", "CHD", "-1", "0.5", "true"]),
        (cell_parsing.binary, {"1.00": 1, "0.000": 0, "1.": 1}, ["1.01", "01", "1,0", "١", "1.0\n"]),
        (cell_parsing.yes_or_no, {"1.00": True, "0.0000": False, "1.0": True}, ["1.01", "10", "0.0.0"]),
        (cell_parsing.frame_number, {"0": 0, "007": 7, "12.0": 12, "": None}, ["-1", "1.5", "a", "1e3", "٣", "9" * 10]),
        (cell_parsing.yes_or_no, {"No": False, "FALSE": False, "0": False, "yes": True, "": None}, ["maybe", "2"]),
        (cell_parsing.finite_number, {"1.5": 1.5, "1,5": 1.5, "-2": -2.0, "": None}, ["nan", "inf", "1,000.5", "x"]),
        (cell_parsing.one_of("read", "not_read"), {"Read": "read"}, ["", "unread"]),
    ],
)
def test_values(parse: Callable[[str], Any], taken: dict[str, Any], refused: list[str]) -> None:
    assert {cell: parse(cell) for cell in taken} == taken
    for cell in refused:
        with pytest.raises(ValueError, match=r"^is not"):
            parse(cell)
