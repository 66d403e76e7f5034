"""Formats numbers of things, and values of any size, for people."""

import reprlib
from typing import Any

NONE = "–"

_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring, _SHOWN.maxother, _SHOWN.maxlong = 3, 60, 60, 60

_PLURALS = {"study": "studies"}


def count(value: float | None) -> str:
    """Return a whole number without decimals, another one with one decimal, and a dash for None."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plural(noun: str, n: float | None) -> str:
    """Return the noun in the form that follows the number: study or studies, image or images.

    Args:
        noun: The noun in the singular.
        n: The number; None for an unknown one.
    """
    return noun if n == 1 else _PLURALS.get(noun, noun + "s")


def counted(n: float | None, noun: str, adjective: str = "") -> str:
    """Return a number with its noun, such as ``1 study``, ``2 studies`` or ``2 healthy studies``.

    Args:
        n: The number; None for an unknown one, which is written as a dash.
        noun: The noun in the singular.
        adjective: An adjective that stands before the noun.
    """
    return " ".join(word for word in (count(n), adjective, plural(noun, n)) if word)


def shortened(text: str, limit: int) -> str:
    """Return a text of at most `limit` characters; an ellipsis stands for what is cut off.

    Args:
        text: The text.
        limit: The largest number of characters.
    """
    return text if len(text) <= limit else text[: limit - 1] + "…"


def shown_value(value: Any, limit: int = 80) -> str:
    """Return what a message shows of a value from outside: its `repr`, shortened.

    Unlike `repr` it costs no more for a value of a million elements than for a small one.

    Args:
        value: The value.
        limit: The largest number of characters.
    """
    try:
        return shortened(_SHOWN.repr(value), limit)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return f"a {type(value).__name__} too long to show"
