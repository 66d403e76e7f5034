"""Converts the usual notations of gestational age to days."""

import re

from diagchd_batch.studies.tables.cell_parsing import finite_number

PLAUSIBLE_DAYS = (28.0, 322.0)
"""4 to 46 weeks. A number outside this range has the wrong unit or is not a gestational age."""

_COMPLETED_WEEKS = re.compile(r"(\d{1,2})\s*(?:\+\s*(\d)|w(?:eeks)?\s*(\d)\s*d?(?:ays)?)", re.ASCII)


def from_completed_weeks(cell: str) -> float | None:
    """Return the days for completed weeks and days, written as ``20+3`` or ``20w3d``. An empty cell is None.

    Raises:
        ValueError: The cell has another form, such as a number without a unit, or is not plausible.
    """
    if not cell:
        return None
    match = _COMPLETED_WEEKS.fullmatch(cell)
    if match is None:
        raise ValueError(
            "is not written as 20+3 (weeks+days); for plain numbers name the column gestational_age_weeks or "
            "gestational_age_days"
        )
    days = int(match[2] or match[3])
    if days > 6:
        raise ValueError("has more than 6 days beside its completed weeks")
    return _plausible(int(match[1]) * 7.0 + days)


def from_weeks(cell: str) -> float | None:
    """Return the days for decimal weeks (20.4 is 20 weeks and 2.8 days) or for ``20+3``. An empty cell is None.

    Raises:
        ValueError: The cell is not a number, or is not plausible.
    """
    if _COMPLETED_WEEKS.fullmatch(cell):
        return from_completed_weeks(cell)
    weeks = finite_number(cell)
    return None if weeks is None else _plausible(weeks * 7.0)


def from_days(cell: str) -> float | None:
    """Return the number of days. An empty cell is None.

    Raises:
        ValueError: The cell is not a number, or is not plausible.
    """
    days = finite_number(cell)
    return None if days is None else _plausible(days)


def _plausible(days: float) -> float:
    low, high = PLAUSIBLE_DAYS
    if not low <= days <= high:
        raise ValueError(f"is not between {low / 7:.0f} and {high / 7:.0f} weeks; is its unit right?")
    return days
