"""The spellings under which a value is searched: whole, and the parts of a person's name or a path by themselves."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

MIN_CHARACTERS = 4
MIN_DIGITS = 8
"""A number with fewer digits is found only where it is a whole cell or string. In running text it could be a count."""

PATH, LOCATION = "path", "location"
DIRECTORY_NAME, FILE_NAME = "directory name", "file name"

WORD = re.compile(r"[^\W_]+")
_NUMBER = re.compile(r"[\d.,:+\-/ ]+")
_NAME_PARTS = re.compile(r"[\^=\s]+")
_SEPARATORS = re.compile(r"[\s]+")
_PERSON_NAMES = re.compile(r"(Name|Names|Author|Artist|Physician\w*|Operator\w*|Copyright)$")
_SCHEME = re.compile(r"^[a-z0-9+.\-]+://")


class Spelling(NamedTuple):
    """One text that is searched.

    Attributes:
        kind: What it is.
        text: The text as `normalized` returns it, from its first to its last word.
        words: Offsets in `text` at which its words end.
        is_number: Whether it has no letters.
    """

    kind: str
    text: str
    words: tuple[int, ...]
    is_number: bool

    @property
    def is_short_number(self) -> bool:
        """Whether it is found only where it is a whole cell or string."""
        return self.is_number and sum(map(str.isdigit, self.text)) < MIN_DIGITS


def normalized(text: str) -> str:
    """Return a text in the form in which texts are compared: one case, one form of each character, single spaces."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return _SEPARATORS.sub(" ", text.casefold()).strip()


def spellings_of(kind: str, value: str) -> Iterator[Spelling]:
    """Yield the spellings of a value that are long enough to be searched.

    Args:
        kind: What the value is.
        value: The value.
    """
    for part_kind, part in dict.fromkeys(_parts(kind, value)):
        text = normalized(part)
        words = list(WORD.finditer(text))
        if not words:
            continue
        start, end = words[0].start(), words[-1].end()
        if end - start >= MIN_CHARACTERS:
            ends = tuple(word.end() - start for word in words)
            yield Spelling(part_kind, text[start:end], ends, _NUMBER.fullmatch(text[start:end]) is not None)


def _parts(kind: str, value: str) -> Iterator[tuple[str, str]]:
    if kind in (PATH, LOCATION):
        yield kind, value
        *directories, name = [part for part in _SCHEME.sub("", value).split("/") if part] or [""]
        yield from ((DIRECTORY_NAME, part) for part in directories)
        yield FILE_NAME, name
        yield FILE_NAME, name.rpartition(".")[0]
        return
    yield kind, value
    if "^" in value or _PERSON_NAMES.search(kind):
        names = [part for part in _NAME_PARTS.split(value) if part]
        if len(names) > 1:
            yield kind, " ".join(names)
            yield kind, " ".join([*names[1:], names[0]])
            yield from ((kind, name) for name in names)
