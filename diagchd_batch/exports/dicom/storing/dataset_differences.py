"""Compares an object that was sent to a PACS with what the PACS holds."""

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset


def differences(sent: Dataset, held: Dataset) -> list[str]:
    """Return the attributes that a PACS changed or left out.

    Attributes that it added are no differences, on any level; neither is the encoding (file meta information, lengths).

    Args:
        sent: The object as it was sent.
        held: The object as it was read back.

    Returns:
        Keywords, or tags where there is no keyword, each with the path to its sequence. Values are left out.
    """
    return sorted(
        name for element in sent if element.tag.element != 0 for name in _differences_of(element, held.get(element.tag))
    )


def _differences_of(sent: DataElement, held: DataElement | None) -> list[str]:
    name = sent.keyword or f"({sent.tag.group:04x},{sent.tag.element:04x})"
    if held is None:
        return [] if sent.is_empty else [name]
    if sent.VR != "SQ":
        return [] if _values(sent) == _values(held) else [name]
    if held.VR != "SQ" or len(sent.value) != len(held.value):
        return [name]
    items = zip(sent.value, held.value, strict=True)
    return sorted({f"{name}.{below}" for one, other in items for below in differences(one, other)})


def _values(element: DataElement) -> object:
    """Return the values in a form that does not depend on padding and on how numbers are written."""
    if element.is_empty:
        return None
    if isinstance(element.value, bytes):
        return element.value.rstrip(b"\0")
    values = [element.value] if element.VM <= 1 else list(element.value)
    return [float(value) if element.VR in ("DS", "IS") else str(value).strip() for value in values]
