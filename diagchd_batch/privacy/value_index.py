"""An index of many values, and the search for all of them in a text at once.

A value is found where its words stand in a text with the same characters between them. The index keeps 64-bit hashes of
the values and of their beginnings, by words, so that 10 million values take some hundred MB. A text is cut into words.
At each word that begins a value, words are added as long as the result begins a value. The time does not depend on the
number of values. Two different texts have the same hash once in 10¹⁹ pairs.

Matchers such as Aho-Corasick hold every character of every value in memory (10 million paths take tens of GB) and know
no borders of words.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from diagchd_batch.privacy.spellings import WORD, Spelling, normalized

_SHORT_NUMBER, _NUMBER, _VOCABULARY = 1, 2, 4
_NEW_BEGINNINGS = 1 << 20
"""Beginnings that are collected before those that are there twice are dropped. Values of one archive begin alike."""

FIELD_END = "\0"


class SearchedText:
    """A text that is ready to be searched. It knows which line, or which field, a place in it belongs to.

    Attributes:
        text: The normalised lines or fields.
    """

    def __init__(self, parts: Sequence[str], *, are_fields: bool) -> None:
        """Normalise a text.

        Args:
            parts: The lines of a text, or whole values such as the cells of a column.
            are_fields: Whether they are whole values. No value then goes from one to the next.
        """
        normal = [normalized(part).replace(FIELD_END, " ") for part in parts]
        self.are_fields = are_fields
        self.text = (FIELD_END if are_fields else " ").join(normal)
        self._starts = array("q", [0] * len(normal))
        start = 0
        for number, part in enumerate(normal):
            self._starts[number] = start
            start += len(part) + 1

    @cached_property
    def words(self) -> list[tuple[int, int]]:
        """Where each word begins and ends in `text`."""
        return [match.span() for match in WORD.finditer(self.text)]

    @cached_property
    def hashes(self) -> np.ndarray:
        """The hash of each word, int64 [number of words]."""
        return np.fromiter((hash(self.text[start:end]) for start, end in self.words), np.int64, len(self.words))

    def part_at(self, place: int) -> int:
        """Return the number of the line or field, from 0, at an offset in `text`."""
        return bisect_right(self._starts, place) - 1


@dataclass(frozen=True, slots=True)
class Hit:
    """One value in a text.

    Attributes:
        kind: What the value is.
        part: The line or field, from 0.
        start: Where the value begins in `SearchedText.text`.
        end: Where it ends.
    """

    kind: str
    part: int
    start: int
    end: int


@dataclass
class IndexCounts:
    """How many spellings an index has, by what becomes of them."""

    searched: int = 0
    short_numbers: int = 0
    vocabulary: int = 0


@dataclass
class ValueIndexBuilder:
    """Collects spellings. `build` makes the index."""

    _values: "array[int]" = field(default_factory=lambda: array("q"))
    _beginnings: "array[int]" = field(default_factory=lambda: array("q"))
    _kinds: "array[int]" = field(default_factory=lambda: array("H"))
    _flags: "array[int]" = field(default_factory=lambda: array("B"))
    _numbers: dict[str, int] = field(default_factory=dict)
    _n_distinct: int = 0

    def add(self, spelling: Spelling) -> None:
        """Add a spelling."""
        text = spelling.text
        self._values.append(hash(text))
        for end in spelling.words[:-1]:
            self._beginnings.append(hash(text[:end]))
        if len(self._beginnings) > _NEW_BEGINNINGS + 2 * self._n_distinct:
            self._beginnings = _python_array(np.unique(np.asarray(self._beginnings, np.int64)))
            self._n_distinct = len(self._beginnings)
        # The kind of a private element has its tag, so a hostile archive could name more kinds than there are numbers.
        number = self._numbers.setdefault(spelling.kind, len(self._numbers)) if len(self._numbers) < 65_000 else 0
        self._kinds.append(number)
        self._flags.append(_SHORT_NUMBER * spelling.is_short_number | _NUMBER * spelling.is_number)

    def build(self) -> "ValueIndex":
        """Return the index of what was added. The builder is empty afterwards, so that its memory is free."""
        values, first = np.unique(np.asarray(self._values, np.int64), return_index=True)
        self._values = array("q")
        kinds = np.asarray(self._kinds, np.uint16)[first]
        flags = np.asarray(self._flags, np.uint8)[first]
        self._kinds, self._flags = array("H"), array("B")
        beginnings = np.unique(np.asarray(self._beginnings, np.int64))
        self._beginnings = array("q")
        return ValueIndex(values, kinds, flags, beginnings, list(self._numbers))


class ValueIndex:
    """Finds values in texts. `ValueIndexBuilder` makes it."""

    def __init__(
        self, values: np.ndarray, kinds: np.ndarray, flags: np.ndarray, beginnings: np.ndarray, names: list[str]
    ) -> None:
        # Arrays of Python for single values, and NumPy's views of them for many at once.
        self._values, self._beginnings = _python_array(values), _python_array(beginnings)
        self._all_values = np.frombuffer(self._values, np.int64)
        self._all_beginnings = np.frombuffer(self._beginnings, np.int64)
        self._kinds, self._flags, self._names = kinds, flags, names

    def __len__(self) -> int:
        return len(self._values)

    def search(self, searched: SearchedText) -> Iterator[Hit]:
        """Yield the values in a text, in ascending order of their beginnings."""
        for place, start, end in self._found(searched):
            flags = self._flags[place]
            if flags & _VOCABULARY:
                continue
            if flags & _SHORT_NUMBER and not (searched.are_fields and _is_whole(searched.text, start, end)):
                continue
            if flags & _NUMBER and _is_in_longer_number(searched.text, start, end):
                continue
            yield Hit(self._names[self._kinds[place]], searched.part_at(start), start, end)

    def leave_out(self, searched: SearchedText) -> None:
        """Search no longer for values that a text of the program itself has."""
        for place, _, _ in self._found(searched):
            self._flags[place] |= _VOCABULARY

    def counts(self) -> IndexCounts:
        """Return how many different spellings the index has."""
        is_vocabulary = (self._flags & _VOCABULARY).astype(bool)
        is_short = (self._flags & _SHORT_NUMBER).astype(bool) & ~is_vocabulary
        return IndexCounts(len(self) - int(is_vocabulary.sum()), int(is_short.sum()), int(is_vocabulary.sum()))

    def _found(self, searched: SearchedText) -> Iterator[tuple[int, int, int]]:
        text = searched.text
        words, hashes = searched.words, searched.hashes
        whole, has_whole = _places(self._all_values, hashes)
        _, begins = _places(self._all_beginnings, hashes)
        for number in np.flatnonzero(has_whole | begins):
            start, end = words[number]
            if has_whole[number]:
                yield int(whole[number]), start, end
            if not begins[number]:
                continue
            for later in range(number + 1, len(words)):
                end = words[later][1]
                value = hash(text[start:end])
                place = bisect_left(self._values, value)
                if place < len(self._values) and self._values[place] == value:
                    yield place, start, end
                place = bisect_left(self._beginnings, value)
                if place == len(self._beginnings) or self._beginnings[place] != value:
                    break


def _places(table: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where values stand in a sorted table, and whether they are there."""
    if not len(table):
        return np.zeros(len(values), np.int64), np.zeros(len(values), bool)
    places = np.minimum(np.searchsorted(table, values), len(table) - 1)
    return places, table[places] == values


def _python_array(values: np.ndarray) -> "array[int]":
    result = array("q")
    result.frombytes(values.view(np.uint8))  # type: ignore[arg-type]  # a buffer, without another copy
    return result


def _is_whole(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start] if start else FIELD_END, text[end : end + 1] or FIELD_END
    return before == FIELD_END and after == FIELD_END


def _is_in_longer_number(text: str, start: int, end: int) -> bool:
    """Return whether a number is only a part of one, such as the decimals of 0.12345678."""
    before = text[start - 2 : start] if start >= 2 else ""
    after = text[end : end + 2]
    return (before[1:] == "." and before[:1].isdigit()) or (after[:1] == "." and after[1:].isdigit())
