from collections.abc import Callable

import pytest

from diagchd_batch.studies.tables.gestational_age import from_completed_weeks, from_days, from_weeks


@pytest.mark.parametrize("cell", ["20+3", "20 + 3", "20w3d", "20w3"])
def test_completed_weeks_and_days(cell: str) -> None:
    assert from_completed_weeks(cell) == 143


def test_decimal_weeks_are_not_weeks_and_days() -> None:
    assert from_weeks("20.3") == pytest.approx(142.1)
    assert from_weeks("20,3") == pytest.approx(142.1)
    assert from_weeks("20+3") == 143


def test_days() -> None:
    assert from_days("143") == 143


@pytest.mark.parametrize("parse", [from_completed_weeks, from_weeks, from_days])
def test_empty_is_unknown(parse: Callable[[str], float | None]) -> None:
    assert parse("") is None


@pytest.mark.parametrize(
    ("parse", "cell", "expected"),
    [
        (from_completed_weeks, "20.3", "name the column"),
        (from_completed_weeks, "20", "name the column"),
        (from_completed_weeks, "20+7", "more than 6 days"),
        (from_weeks, "143", "unit"),
        (from_days, "20.3", "unit"),
        (from_weeks, "abc", "not a number"),
    ],
)
def test_a_wrong_or_missing_unit_is_seen(parse: Callable[[str], float | None], cell: str, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        parse(cell)
