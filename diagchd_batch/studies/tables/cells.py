"""What a cell of a table may say. Each function takes a trimmed cell and raises ValueError with what was expected.

The messages never show the cell: it may identify a patient, and messages end up in logs.
"""

import re
from collections.abc import Callable

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://|[A-Za-z]:[\\/]")
_WHOLE_NUMBER = re.compile(r"(\d{1,9})(\.0*)?", re.ASCII)
_YES = {"1", "1.0", "true", "yes", "y"}
_NO = {"0", "0.0", "false", "no", "n"}


def text(cell: str) -> str | None:
    """Any text; empty is None."""
    if "\0" in cell:
        raise ValueError("holds a NUL character")
    return cell or None


def identifier(cell: str) -> str:
    """Any text that is not empty: letters of any script, quotes, line breaks, leading zeros."""
    value = text(cell)
    if value is None:
        raise ValueError("is empty")
    return value


def relative_key(cell: str) -> str:
    """A path below `input.uri`, as a storage key. Nothing in it is decoded; ``.`` parts are dropped."""
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
    return relative_key(cell) if cell else None


def binary(cell: str) -> int | None:
    """0 or 1; empty is None."""
    if not cell:
        return None
    if cell in ("0", "0.0"):
        return 0
    if cell in ("1", "1.0"):
        return 1
    raise ValueError("is not 0, 1 or empty")


def frame_number(cell: str) -> int | None:
    """A whole number from 0; empty is None."""
    if not cell:
        return None
    match = _WHOLE_NUMBER.fullmatch(cell)
    if match is None:
        raise ValueError("is not a frame number (0, 1, 2, …) or empty")
    return int(match[1])


def yes_or_no(cell: str) -> bool | None:
    """1/0, true/false, yes/no in any case; empty is None."""
    folded = cell.casefold()
    if not folded:
        return None
    if folded in _YES:
        return True
    if folded in _NO:
        return False
    raise ValueError("is not 1, 0, true, false, yes, no or empty")


def finite_number(cell: str) -> float | None:
    """A decimal number, with point or comma; empty is None."""
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
    def parse(cell: str) -> str:
        if cell.casefold() not in values:
            raise ValueError(f"is not one of {', '.join(values)}")
        return cell.casefold()

    return parse
