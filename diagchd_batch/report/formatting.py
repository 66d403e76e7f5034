"""Formats numbers, intervals and names as reports show them."""

import re
from collections.abc import Mapping
from typing import Any

from diagchd_batch.wording import NONE, count, counted

__all__ = [
    "NONE",
    "count",
    "counted",
    "covariate_name",
    "interval",
    "level_name",
    "number",
    "p_value",
    "reasons",
    "signed",
    "weeks_and_days",
    "words",
]

GESTATIONAL_AGE = "gestational_age_days"
"""The covariate whose numbers of days are shown as weeks+days."""

_MINUS = "\N{MINUS SIGN}"
_SPELLED = {
    **{word: word.upper() for word in ("npv", "ppv", "auc", "roc", "iou", "hd95", "assd", "mcc", "f1")},
    **{name.lower(): name for name in ("Wilson", "McNemar", "DeLong", "Newcombe", "Obuchowski", "Rockette", "BCa")},
}


def number(value: float | None, digits: int = 3) -> str:
    """Return a number as text, or a dash for None.

    Args:
        value: The number.
        digits: Decimals.
    """
    return NONE if value is None else f"{value:z.{digits}f}".replace("-", _MINUS)


def signed(value: float | None, digits: int = 3) -> str:
    """Return a difference with its sign, or a dash for None.

    Args:
        value: The difference.
        digits: Decimals.
    """
    if value is None:
        return NONE
    text = f"{value:+.{digits}f}"
    return (text if text.strip("+-0.") else text[1:]).replace("-", _MINUS)


def interval(low: float | None, high: float | None, digits: int = 3) -> str:
    """Return ``low to high``, or a dash if a limit is None.

    Args:
        low: The lower limit.
        high: The upper limit.
        digits: Decimals.
    """
    return NONE if low is None or high is None else f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: float | None) -> str:
    """Return p with three decimals, ``<0.001`` below that, or a dash for None."""
    if p is None:
        return NONE
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def words(name: Any) -> str:
    """Return a table's name or value in words: readers_mean → readers mean, hd95 → HD95."""
    if name is None:
        return NONE
    return " ".join(_SPELLED.get(word, word) for word in str(name).split("_"))


def reasons(text: str | None) -> str:
    """Return reasons in words: ``excluded=1; not_read=3`` → ``1 excluded, 3 not read``."""
    parts = (part.partition("=") for part in (text or "").split("; ") if part)
    return ", ".join(f"{n} {words(name)}" for name, _, n in parts)


def weeks_and_days(days: float | None) -> str:
    """Return a gestational age as obstetricians write it: 149 days → ``21+2``.

    Args:
        days: Days, which are rounded to whole ones; None for an unknown age.
    """
    return NONE if days is None else "{}+{}".format(*divmod(round(days), 7))


def covariate_name(name: Any) -> str:
    """Return the name of a covariate in words, with the unit in which its levels are shown."""
    return "gestational age (weeks+days)" if name == GESTATIONAL_AGE else words(name)


def level_name(row: Mapping[str, Any]) -> str:
    """Return the level of a subgroup: ``< 154`` days of gestational age → ``< 22+0``.

    Args:
        row: A row with the columns `covariate` and `level`.
    """
    level = str(row["level"])
    if row["covariate"] != GESTATIONAL_AGE:
        return level
    return re.sub(r"\d+(\.\d+)?", lambda match: weeks_and_days(float(match[0])), level)
