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

    def numbered(self, kind: str, values: Iterable[str], *, in_order: bool = False) -> dict[str, str]:
        """Return value → ``<kind> <number>``. Standard words and whole numbers below 100 stay as they are.

        Numbers follow a keyed digest of the values. The alphabet would tell whoever has a list of the values, such as
        names, which number stands for which. With the same key, the same values always get the same numbers.

        Args:
            kind: What the values are, such as ``session`` or ``site level``.
            values: The users' own values.
            in_order: Number the values in their sorted order, because this order has a meaning, as that of sessions.
        """
        if in_order:
            ordered = sorted(set(values))
        else:
            ordered = sorted(set(values), key=lambda value: (self._pseudonymizer.shuffling_digest(kind, value), value))
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


def natural_order(text: str) -> tuple[str, int, str, str]:
    """Return a key that sorts ``site level 2`` before ``site level 10``, and 2 before 10.

    Args:
        text: A name in tables.
    """
    words = text.rstrip("0123456789")
    number = text[len(words) :].lstrip("0")
    return words, len(number), number, text


def is_public_word(value: str) -> bool:
    """Return whether everybody in the field uses the word, so that it identifies nobody.

    Args:
        value: A user's own value.
    """
    return value.isascii() and value.casefold().replace(" ", "_") in PUBLIC_WORDS


def _is_plain(value: str) -> bool:
    return is_public_word(value) or (value.isascii() and value.isdigit() and len(value) < 3)
