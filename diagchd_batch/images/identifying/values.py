"""The values that a file holds about a person, and the limits on how many of them are kept."""

from collections.abc import Iterable
from typing import NamedTuple

MIN_CHARACTERS = 4
"""Shorter values are not kept. They would be found by chance in any text."""

MAX_CHARACTERS = 500
"""A longer value is cut. Whoever copies a long text copies its beginning."""

MAX_VALUES = 2_000
"""The largest number of values that are kept of one file."""


class IdentifyingValue(NamedTuple):
    """One value of a file's header or metadata.

    Attributes:
        kind: Where it stood: a DICOM keyword such as ``PatientName``, or a name such as ``EXIF Artist``. Never a value.
        value: The text.
    """

    kind: str
    value: str


class CollectedValues(NamedTuple):
    """The values of one file.

    Attributes:
        values: The values, without repetition.
        complete: Whether these are all. False if the file holds too many, or is damaged.
    """

    values: tuple[IdentifyingValue, ...]
    complete: bool


NOTHING_COLLECTED = CollectedValues((), complete=False)
"""What is known of a file that could not be opened."""


def collect(found: Iterable[IdentifyingValue]) -> CollectedValues:
    """Return the values of a file, within the limits of this module.

    Args:
        found: The values as a reader finds them. An exception of a damaged file ends them.

    Returns:
        What was found until then.

    Raises:
        MemoryError: There is not enough memory, which says nothing about the file.
    """
    kept: dict[IdentifyingValue, None] = {}
    try:
        for item in found:
            text = item.value.replace("\0", " ").strip()[:MAX_CHARACTERS]
            if len(text) >= MIN_CHARACTERS:
                kept[item if text == item.value else IdentifyingValue(item.kind, text)] = None
            if len(kept) >= MAX_VALUES:
                return CollectedValues(tuple(kept), complete=False)
    except MemoryError:
        raise
    except Exception:  # a damaged header can raise anything, and the pixels may be sound all the same
        return CollectedValues(tuple(kept), complete=False)
    return CollectedValues(tuple(kept), complete=True)
