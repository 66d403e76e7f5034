"""Formats numbers of things for people."""

NONE = "–"

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
