"""Numbers of things as people read them."""

NONE = "–"

_PLURALS = {"study": "studies"}


def count(value: float | None) -> str:
    """A count without, a mean of counts with one decimal."""
    if value is None:
        return NONE
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.1f}"


def plural(noun: str, n: float | None) -> str:
    """The noun as it follows that number: study, studies; image, images."""
    return noun if n == 1 else _PLURALS.get(noun, noun + "s")


def counted(n: float | None, noun: str, adjective: str = "") -> str:
    """``1 study``, ``2 studies``, ``2 healthy studies``."""
    return " ".join(word for word in (count(n), adjective, plural(noun, n)) if word)
