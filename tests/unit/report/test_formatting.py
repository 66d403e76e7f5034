"""Gestational age is shown in weeks and days wherever a report has it."""

import pytest

from diagchd_batch.report.formatting import covariate_name, level_name, weeks_and_days


@pytest.mark.parametrize(("days", "shown"), [(140, "20+0"), (149, "21+2"), (146.6, "21+0"), (0, "0+0"), (None, "–")])
def test_days_are_weeks_and_days(days: float | None, shown: str) -> None:
    assert weeks_and_days(days) == shown


@pytest.mark.parametrize(
    ("covariate", "level", "shown"),
    [
        ("gestational_age_days", "< 147", "< 21+0"),
        ("gestational_age_days", "147 to < 161.5", "21+0 to < 23+1"),
        ("gestational_age_days", "≥ 161", "≥ 23+0"),
        ("gestational_age_days", "missing", "missing"),
        ("maternal_age", "< 35", "< 35"),
    ],
)
def test_levels_of_gestational_age_are_weeks_and_days(covariate: str, level: str, shown: str) -> None:
    assert level_name({"covariate": covariate, "level": level}) == shown


def test_the_name_says_the_unit() -> None:
    assert covariate_name("gestational_age_days") == "gestational age (weeks+days)"
    assert covariate_name("maternal_age") == "maternal age"
