"""Names of readers, covariates and levels in tables: tokens and numbers, unless the job asks to disclose them.

Names of sites, devices and readers identify people. Words that everybody in the field uses do not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

from diagchd_batch.studies.identifiers import Pseudonymizer

MISSING = "missing"
"""The level of studies without a value."""

PUBLIC_WORDS = frozenset(Path(__file__).with_name("public_words.txt").read_text(encoding="utf-8").split())
"""Words that may stand in any table. They are compared in lower case, with ``_`` for spaces."""


class DisplayNames:
    """Chooses the names to show, and remembers what they stand for.

    Args:
        pseudonymizer: Makes the readers' tokens.
        disclose: Whether to show the users' own names.
    """

    def __init__(self, pseudonymizer: Pseudonymizer, *, disclose: bool) -> None:
        self._pseudonymizer = pseudonymizer
        self._disclose = disclose
        self._given: dict[tuple[str, str], str] = {}

    def readers(self, values: Iterable[str]) -> dict[str, str]:
        """Return reader → name in tables, an ``r-…`` token.

        Args:
            values: Readers' names.
        """
        return self._remember("reader", {value: self._pseudonymizer.reader(value) for value in values})

    def numbered(self, kind: str, values: Iterable[str]) -> dict[str, str]:
        """Return value → ``<kind> <number>``. Standard words and whole numbers below 100 stay as they are.

        Numbers follow the sorted order of the values, so the same values always get the same numbers.

        Args:
            kind: What the values are, such as ``session`` or ``site level``.
            values: The users' own values.
        """
        ordered = sorted(set(values))
        return self._remember(
            kind,
            {value: value if _is_plain(value) else f"{kind} {number}" for number, value in enumerate(ordered, start=1)},
        )

    def renamed(self) -> Iterator[tuple[str, str, str]]:
        """Yield kind, name in tables and the user's own name for all values that were renamed, sorted."""
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
        value.casefold().replace(" ", "_") in PUBLIC_WORDS or (value.isdigit() and len(value) < 3)
    )
