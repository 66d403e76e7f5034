"""The parts of a report: sections of text, figures and tables. The templates know only these."""

from collections.abc import Sequence
from dataclasses import dataclass

Cell = str | tuple[str, ...]
"""Text as it is shown. The first part of several is the value; the others appear below it in small print."""


@dataclass(frozen=True)
class Table:
    """A table of a report. The first cell of a row names the row.

    Attributes:
        caption: What the table shows.
        columns: Headings of the columns.
        rows: One sequence of cells per row.
        folded: The table is long or less important, and is shown when the reader opens it.
        unbroken: Cells, such as tokens, are kept on one line.
    """

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    folded: bool = False
    unbroken: bool = False


@dataclass(frozen=True)
class Figure:
    """A figure of a report.

    Attributes:
        title: The heading of the figure.
        caption: What is drawn, how it is defined, and from how many units.
        svg: Inline SVG with its own <title> and <desc>.
        wide: The figure takes the whole width of the page where there is room.
    """

    title: str
    caption: str
    svg: str
    wide: bool = False


@dataclass(frozen=True)
class Tile:
    """A number that a reader sees first."""

    name: str
    value: str
    detail: str


@dataclass(frozen=True)
class Section:
    """A section of a report.

    Attributes:
        key: The anchor of the section.
        title: Its heading.
        introduction: Paragraphs below the heading.
        tiles: Numbers shown first.
        figures: Figures, in order.
        tables: Tables, in order.
        left_out: For each missing part, why it is missing.
    """

    key: str
    title: str
    introduction: Sequence[str] = ()
    tiles: Sequence[Tile] = ()
    figures: Sequence[Figure] = ()
    tables: Sequence[Table] = ()
    left_out: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether the section shows nothing but why it is empty."""
        return not (self.tiles or self.figures or any(table.rows for table in self.tables))
