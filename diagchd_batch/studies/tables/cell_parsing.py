"""Converts the cells of users' tables to values.

Each function takes a trimmed cell and returns its value. It raises ValueError with the expected form if the cell is
invalid. The message never shows the cell, because it may identify a patient and messages are logged.
"""

import re
from collections.abc import Callable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/]")
_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0*)?", re.ASCII)
_ZERO_OR_ONE = re.compile(r"([01])(\.0*)?", re.ASCII)
_YES = {"1", "true", "yes", "y"}
_NO = {"0", "false", "no", "n"}


def text(cell: str) -> str | None:
    """Return the text. An empty cell is None.

    Raises:
        ValueError: The cell holds a NUL character.
    """
    if "\0" in cell:
        raise ValueError("holds a NUL character")
    return cell or None


def identifier(cell: str) -> str:
    """Return the text, which must not be empty. Any script, quotes, line breaks and leading zeros are kept.

    Raises:
        ValueError: The cell is empty or holds a NUL character.
    """
    value = text(cell)
    if value is None:
        raise ValueError("is empty")
    return value


def relative_key(cell: str) -> str:
    """Return the storage key for a path below `input.uri`. Parts ``.`` are dropped, and escapes are not decoded.

    Raises:
        ValueError: The cell is not the path of a file below `input.uri`.
    """
    value = identifier(cell)
    if value.startswith("/") or _SCHEME.match(value):
        raise ValueError("is not relative to input.uri; write it without scheme, bucket and leading slash")
    parts = [part for part in value.split("/") if part != "."]
    if ".." in parts:
        raise ValueError("has a part '..'; write it as a path below input.uri")
    if "" in parts or not parts:
        raise ValueError("names a directory or has an empty part ('//'); write the path of one file")
    return "/".join(parts)


def optional_key(cell: str) -> str | None:
    """Return the storage key as `relative_key` does. An empty cell is None."""
    return relative_key(cell) if cell else None


def binary(cell: str) -> int | None:
    """Return 0 or 1. An empty cell is None.

    Raises:
        ValueError: The cell holds anything else.
    """
    if not cell:
        return None
    match = _ZERO_OR_ONE.fullmatch(cell)
    if match is None:
        raise ValueError("is not 0, 1 or empty; write 0 for normal, 1 for CHD, and nothing if it is not known")
    return int(match[1])


def frame_number(cell: str) -> int | None:
    """Return a whole number from 0. An empty cell is None.

    Raises:
        ValueError: The cell holds anything else.
    """
    if not cell:
        return None
    match = _WHOLE_NUMBER.fullmatch(cell)
    if match is None:
        raise ValueError("is not a frame number (0, 1, 2, …) or empty")
    return int(match[1])


def yes_or_no(cell: str) -> bool | None:
    """Return the truth value of 1/0, true/false, yes/no or y/n, in any case. An empty cell is None.

    Raises:
        ValueError: The cell holds anything else.
    """
    if not cell:
        return None
    match = _ZERO_OR_ONE.fullmatch(cell)
    folded = match[1] if match else cell.casefold()
    if folded in _YES:
        return True
    if folded in _NO:
        return False
    raise ValueError("is not 1, 0, true, false, yes, no or empty")


def finite_number(cell: str) -> float | None:
    """Return a finite number, written with a decimal point or comma. An empty cell is None.

    Raises:
        ValueError: The cell is not a number, or is infinite or NaN.
    """
    if not cell:
        return None
    try:
        value = float(cell.replace(",", "."))
    except ValueError:
        raise ValueError("is not a number or empty") from None
    if abs(value) == float("inf") or value != value:
        raise ValueError("is not a finite number or empty")
    return value


def one_of(*values: str) -> Callable[[str], str]:
    """Return a function that takes one of these lower-case values, written in any case."""

    def parse(cell: str) -> str:
        if cell.casefold() not in values:
            raise ValueError(f"is not one of {', '.join(values)}")
        return cell.casefold()

    return parse
