"""Numbers and words as a report shows them."""

from typing import Any

NONE = "–"


def number(value: float | None, digits: int = 3) -> str:
    return NONE if value is None else f"{value:.{digits}f}"


def count(value: float | None) -> str:
    """A count without, a mean of counts with one decimal."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    return NONE if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def p_value(p: float | None) -> str:
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def words(name: Any) -> str:
    """A name of a table as words: readers_mean → readers mean."""
    return NONE if name is None else str(name).replace("_", " ")
