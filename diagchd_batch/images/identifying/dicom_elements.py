"""Elements of a DICOM data set that can tell who the patient is, after PS3.15 Annex E."""

import csv
import re
from collections.abc import Iterable, Iterator
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

from pydicom import Dataset
from pydicom.charset import convert_encodings, decode_bytes, default_encoding
from pydicom.datadict import DicomDictionary  # type: ignore[attr-defined]

from diagchd_batch.images.identifying.values import IdentifyingValue

MAX_DEPTH = 16
"""Sequences that are nested deeper are not read."""

MAX_BINARY_BYTES = 1_024
"""Longer binary values are not read. They are pictures, certificates and documents."""

REGISTERED_UIDS = "1.2.840.10008."
"""UIDs of the standard itself, such as those of transfer syntaxes and kinds of objects, identify nobody."""

_FREE_TEXT = frozenset(("AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_DATES_AND_TIMES = frozenset(("DA", "DT", "TM"))  # the profile's options treat all of them, not only those it lists
_IN_CHARACTER_SET = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT", "UN"))
_ONE_VALUE = frozenset(("LT", "ST", "UR", "UT"))
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW"))
_NUMBERS = frozenset(("AT", "FD", "FL", "SL", "SS", "SV", "UL", "US", "UV"))
_DEFAULT_ENCODINGS = (default_encoding,)
_MAX_REMEMBERED_BYTES = 128
_DELIMITERS = {0x5C, 0x0A, 0x0C, 0x0D, 0x09, 0x3D, 0x5E}
_PIXEL_GROUP = 0x7FE0
_CHARACTER_SET = 0x0008_0005
_PRINTED = re.compile(rb"[\x20-\x7e]{6,}")  # shorter runs are everywhere in binary data


@cache
def confidential_elements() -> dict[int, str]:
    """Return the elements that table E.1-1 of PS3.15 lists singly: keyword by tag.

    The rows of the table that stand for many elements are in `is_confidential`.
    """
    text = files("diagchd_batch.images.identifying").joinpath("confidential_elements.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {int(row["tag"], 16): row["keyword"] for row in rows}


def is_confidential(tag: int) -> bool:
    """Return whether table E.1-1 has an element: by itself, or as private element, curve data or overlay."""
    group, element = tag >> 16, tag & 0xFFFF
    in_overlay = group & 0xFF00 == 0x6000 and element in (0x3000, 0x4000)
    return group % 2 == 1 or group & 0xFF00 == 0x5000 or in_overlay or tag in confidential_elements()


def identifying_elements(dataset: Dataset) -> Iterator[IdentifyingValue]:
    """Yield the values of a data set that `privacy check` looks for.

    These are the elements of table E.1-1, private elements, all UIDs but those of the standard, all dates and times,
    and all free text, in sequences too. Pixel data and long binary values are not read.

    Args:
        dataset: The data set. Its file meta information, if it has any, is read, too.

    Yields:
        Values with the keyword of their element, or with its tag if it is private.
    """
    meta = getattr(dataset, "file_meta", None)
    if meta is not None:
        yield from _elements(meta, _DEFAULT_ENCODINGS, 0)
    yield from _elements(dataset, _DEFAULT_ENCODINGS, 0)


def _elements(dataset: Dataset, inherited: tuple[str, ...], depth: int) -> Iterator[IdentifyingValue]:
    encodings = _encodings(dataset, inherited)
    for tag, element in list(dataset.items()):  # as they stand in the file
        vr, kind = _meaning(int(tag), element.VR)
        if vr == "SQ":
            if depth < MAX_DEPTH:
                for item in dataset[tag].value or ():
                    yield from _elements(item, encodings, depth + 1)
        elif kind:
            value = element.value
            if isinstance(value, bytes):  # as it stands in the file: decoding by pydicom takes many times longer
                read = _remembered_values if len(value) <= _MAX_REMEMBERED_BYTES else _values
                yield from read(kind, vr, value, encodings)
            elif value is not None:
                items = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else (value,)
                for item in items:
                    yield from _named(kind, vr, _separated(str(item), vr))


@lru_cache(maxsize=16_384)
def _meaning(tag: int, stated_vr: str | None) -> tuple[str, str]:
    """Return the value representation of an element and what its values are called; empty if they are not wanted."""
    known: Any = DicomDictionary.get(tag)
    vr = (stated_vr or (known[0] if known else "UN")).split(" ")[0]
    group, element = tag >> 16, tag & 0xFFFF
    if group == _PIXEL_GROUP:
        return "", ""
    if not (vr in ("SQ", "UI") or vr in _FREE_TEXT or vr in _DATES_AND_TIMES or is_confidential(tag)):
        return vr, ""
    if group % 2 == 0:
        return vr, known[4] if known else f"element ({group:04X},{element:04X})"
    is_creator = 0x10 <= element <= 0xFF
    return vr, "PrivateCreator" if is_creator else f"private element ({group:04X},{element:04X})"


def _encodings(dataset: Dataset, inherited: tuple[str, ...]) -> tuple[str, ...]:
    if _CHARACTER_SET not in dataset:
        return inherited
    stated = dataset.get_item(_CHARACTER_SET).value  # as it stands in the file, unless it was read before
    text = stated.decode("latin-1") if isinstance(stated, bytes) else "\\".join(_as_list(stated))
    return _encodings_named(text.rstrip(" \0")) or inherited


def _as_list(stated: Any) -> list[str]:
    return [stated] if isinstance(stated, str) else list(stated or ())


@lru_cache(maxsize=64)
def _encodings_named(text: str) -> tuple[str, ...]:
    """Return the encodings of a Specific Character Set; none if there are no such."""
    if not text:
        return ()
    try:
        return tuple(convert_encodings([name.strip(" ") for name in text.split("\\")]))
    except (LookupError, ValueError):
        return ()


def _values(kind: str, vr: str, value: bytes, encodings: tuple[str, ...]) -> tuple[IdentifyingValue, ...]:
    """Return the values of an element as it stands in the file."""
    if vr in _NUMBERS:
        return ()
    if vr not in _BINARY and vr != "UN":
        text = _text(value, encodings if vr in _IN_CHARACTER_SET else _DEFAULT_ENCODINGS)
        return _named(kind, vr, _separated(text, vr))
    return _named(kind, vr, _texts_in_binary(value, encodings)) if len(value) <= MAX_BINARY_BYTES else ()


# The files of a study and of a scanner have most of their values in common.
_remembered_values = lru_cache(maxsize=4_096)(_values)


def _named(kind: str, vr: str, texts: Iterable[str]) -> tuple[IdentifyingValue, ...]:
    return tuple(
        IdentifyingValue(kind, text) for text in texts if not (vr == "UI" and text.startswith(REGISTERED_UIDS))
    )


def _texts_in_binary(value: bytes, encodings: tuple[str, ...]) -> Iterator[str]:
    """Yield a binary value that is a text as a whole, or else the runs of printable characters in it."""
    text = _text(value, encodings).strip(" \0")
    if text.isprintable():
        yield from text.split("\\")
    else:
        yield from (run.decode("ascii") for run in _PRINTED.findall(value))


def _separated(text: str, vr: str) -> Iterator[str]:
    values = text.splitlines() if vr in _ONE_VALUE else text.split("\\")
    for value in values:
        yield value.strip(" \0")


def _text(value: bytes, encodings: tuple[str, ...]) -> str:
    try:
        if len(encodings) == 1:
            return value.decode(encodings[0])  # pydicom would warn about bytes that are not text
        return decode_bytes(value, list(encodings), _DELIMITERS)
    except (LookupError, UnicodeError):
        return value.decode("latin-1")
