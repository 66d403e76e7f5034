"""Reading single elements of a parsed header. A damaged element counts as absent, whatever pydicom raises for it."""

from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue


def value_of(dataset: Dataset, keyword: str) -> Any:
    """Return the value of an element, or None if it is absent, empty or damaged.

    Args:
        dataset: The elements.
        keyword: Keyword of the element, such as ``Rows``.
    """
    try:
        value = dataset.get(keyword)
        return None if value is None or value == "" else value
    except MemoryError:
        raise
    except Exception:  # values are converted when they are first read, and pydicom raises almost anything
        return None


def number_of(dataset: Dataset, keyword: str) -> int | None:
    """Return an element as a whole number, or None if it is absent or not one. Of several values the first counts.

    Args:
        dataset: The elements.
        keyword: Keyword of the element.
    """
    value = value_of(dataset, keyword)
    try:
        if isinstance(value, MultiValue | list):
            value = value[0]
        return None if value is None else int(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def text_of(dataset: Dataset, keyword: str) -> str:
    """Return an element as text without spaces around it; empty if it is absent.

    Args:
        dataset: The elements.
        keyword: Keyword of the element.
    """
    value = value_of(dataset, keyword)
    return "" if value is None else str(value).strip(" \0")
