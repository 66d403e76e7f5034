"""What a report is made of: sections of text, figures and tables. The template knows nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | tuple[str, ...]
"""Text as it is shown; of several parts the first is the figure itself, the others stand small below it."""


@dataclass(frozen=True)
class Table:
    """`caption` says what is shown and of what; the first cell of a row names it.

    `folded`: long or of second rank, shown when it is asked for. `unbroken`: cells, such as tokens, keep to one line.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    unbroken: bool = False


@dataclass(frozen=True)
class Figure:
    """`svg` is inline SVG with its own <title> and <desc>; `caption` says the definition and n."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class Tile:
    """A figure that is to be seen at first glance."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True)
class Section:
    """`left_out` says why a part is not there, where it is not."""

    key: str
    title: str
    introduction: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    left_out: Sequence[str] = ()
