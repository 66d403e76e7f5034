"""Parses a report's HTML into tags, ids, links, tables and figures for tests."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

_VOID = frozenset({"input", "link", "meta"})


@dataclass
class HtmlTable:
    """A table. `lines` has the rows; each cell is a list with its main text first, then the small text below it."""

    caption: str = ""
    lines: list[list[list[str]]] = field(default_factory=list)

    @property
    def columns(self) -> list[str]:
        return [cell[0] if cell else "" for cell in self.lines[0]]

    @property
    def rows(self) -> list[list[str]]:
        """The first line of each cell, without the heading row."""
        return [[cell[0] if cell else "" for cell in row] for row in self.lines[1:]]

    def cell(self, row: str, column: str) -> list[str]:
        """Return the lines of the cell in the row that begins with `row` and the column with heading `column`."""
        found = [cells for cells in self.lines[1:] if cells[0][:1] == [row]]
        assert len(found) == 1, (row, [cells[0] for cells in self.lines])
        return found[0][self.columns.index(column)]


class HtmlPage(HTMLParser):
    """A parsed page. `unclosed` is empty if every tag was closed. A tag that is closed out of order fails at once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.unclosed: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: set[str] = set()
        self.tables: list[HtmlTable] = []
        self.figures = 0
        self.described_figures = 0
        self.words = ""
        self._summary = ""
        self.feed(text)

    def table(self, caption: str) -> HtmlTable:
        """Return the one table whose caption begins with these words. A folded table's caption is its summary."""
        found = [table for table in self.tables if table.caption.startswith(caption)]
        assert len(found) == 1, (caption, [table.caption for table in self.tables])
        return found[0]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.add(tag)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [value for name in ("href", "src") if (value := given.get(name))]
        if tag not in _VOID:
            self.unclosed.append(tag)
        if tag == "table":
            self.tables.append(HtmlTable(self._summary if "details" in self.unclosed else ""))
        elif tag == "tr":
            self.tables[-1].lines.append([])
        elif tag in ("td", "th"):
            self.tables[-1].lines[-1].append([])
        elif tag == "summary":
            self._summary = ""
        elif tag == "svg":
            self.figures += 1
            labels = (given.get("aria-labelledby") or "").split()
            self.described_figures += given.get("role") == "img" and len(labels) == 2

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.unclosed or not data.strip():
            return
        self.words += data
        if self.unclosed[-1] == "caption":
            self.tables[-1].caption += data
        elif self.unclosed[-1] == "summary":
            self._summary += data
        elif {"td", "th"} & set(self.unclosed):
            self.tables[-1].lines[-1][-1].append(data)
