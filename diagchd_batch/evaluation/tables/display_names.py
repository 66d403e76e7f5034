"""How readers, covariates and their levels are called in the tables: by tokens and numbers, unless disclosure is on.

Names of sites, devices and readers identify people; words that everybody in the field uses do not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from diagchd_batch.studies.identifiers import Pseudonymizer

MISSING = "missing"
"""The level of units without a value."""

STANDARD_WORDS = frozenset(Path(__file__).with_name("standard_words.txt").read_text(encoding="utf-8").split())
"""Words that may stand in any table, compared without regard to case and with ``_`` for spaces."""


class Names:
    """Gives the names to show, and remembers which of them stand for what, for the private tree.

    Numbers follow the sorted order of the values, so that the same values always get the same numbers.
    """

    def __init__(self, pseudonymizer: Pseudonymizer, *, disclose: bool) -> None:
        self._pseudonymizer = pseudonymizer
        self._disclose = disclose
        self._given: dict[tuple[str, str], str] = {}

    def readers(self, values: Iterable[str]) -> dict[str, str]:
        """Readers' names → ``r-…`` tokens."""
        return self._remember("reader", {value: self._pseudonymizer.reader(value) for value in values})

    def numbered(self, kind: str, values: Iterable[str]) -> dict[str, str]:
        """Values → ``<kind> <number>``; standard words and whole numbers stay."""
        ordered = sorted(set(values))
        return self._remember(
            kind,
            {value: value if _is_plain(value) else f"{kind} {number}" for number, value in enumerate(ordered, start=1)},
        )

    def given(self) -> Iterator[tuple[str, str, str]]:
        """(kind, name in the tables, own name) of all that got another name than its own."""
        for (kind, own), shown in sorted(self._given.items()):
            if shown != own:
                yield kind, shown, own

    def _remember(self, kind: str, names: dict[str, str]) -> dict[str, str]:
        if self._disclose:
            names = {own: own for own in names}
        self._given.update({(kind, own): shown for own, shown in names.items()})
        return names


def _is_plain(value: str) -> bool:
    return value.isascii() and (
        value.casefold().replace(" ", "_") in STANDARD_WORDS or (value.isdigit() and len(value) < 3)
    )
