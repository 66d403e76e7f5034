"""Remembers what `export shareable` published, so that a later export does not reveal what both withhold.

Two exports of nearly the same studies differ by few studies, and their difference says what these few are. So the
counts of every export stay in the private tree, one record an export, for each lineage of runs. The next export adds
them to its own system of counts: what was published is known to everybody and cannot be withheld any more, and the
difference of a count between two exports is protected like any other count.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from diagchd_batch import output_layout
from diagchd_batch.exports.disclosure.suppression import Cell, Counts, Sum
from diagchd_batch.json_records import JsonRecord
from diagchd_batch.storage import Store

_CHANGING_LEVEL = re.compile(r".* level \d+|[<≥] .*|.* to .*")
"""A level that has a number instead of a name, or that lies between cut points."""


class ExportRecord(JsonRecord):
    """What one export knew and published.

    Attributes:
        run_id: The run whose metrics were exported.
        exported_at: When, in UTC, as an ISO string.
        min_cell: Counts from 1 to below this number were withheld.
        forgets_earlier: Whether the owner said that no earlier export was given away.
        readers: The number of each reader's token or name in the exported files.
        cells: The names of all counts, published or not.
        values: The count of each cell.
        sums: The sums that hold: positions in `cells` of a total and then of its parts.
        withheld: Positions in `cells` of the counts that were not published.
    """

    remedy: ClassVar[str] = "restore it from a backup: without it, a further export could reveal small counts"
    indent: ClassVar[int | None] = None

    run_id: str
    exported_at: str
    min_cell: int
    forgets_earlier: bool = False
    readers: dict[str, int]
    cells: list[Any]
    values: list[int]
    sums: list[list[int]]
    withheld: list[int]

    @classmethod
    def of(cls, counts: Counts, withheld: set[Cell], **fields: Any) -> "ExportRecord":
        """Return the record of an export.

        Args:
            counts: The counts behind the exported tables, without those of earlier exports.
            withheld: Those that are not published.
            fields: The other fields.
        """
        place = {cell: number for number, cell in enumerate(counts.values)}
        return cls(
            cells=list(counts.values),  # tuples, which JSON makes lists
            values=list(counts.values.values()),
            sums=[[place[sum_.total], *(place[part] for part in sum_.parts)] for sum_ in counts.sums],
            withheld=sorted(place[cell] for cell in withheld if cell in place),
            **fields,
        )

    def counts(self) -> Counts:
        """Return the counts with their sums; those in `unpublished` were withheld."""
        cells = [_as_cell(cell) for cell in self.cells]
        sums = [Sum(cells[total], tuple(cells[part] for part in parts)) for total, *parts in self.sums]
        unpublished = {cells[place] for place in self.withheld}
        return Counts(dict(zip(cells, self.values, strict=True)), sums, dict.fromkeys(cells, 0), unpublished)

    def published_the_same(self, other: "ExportRecord") -> bool:
        """Return whether two exports published the same counts and withheld the same."""
        cells, others = ([_as_cell(cell) for cell in record.cells] for record in (self, other))
        return (cells, self.values, self.withheld) == (others, other.values, other.withheld)


def read_earlier_exports(private: Store, lineage: str) -> list[ExportRecord]:
    """Return the records of a lineage's earlier exports that may have been given away, the oldest first.

    Args:
        private: The private tree.
        lineage: The id of the lineage's first run.

    Raises:
        DamagedRecordError: A record cannot be read.
    """
    records: list[ExportRecord] = []
    for info in sorted(private.list(output_layout.export_records_prefix(lineage)), key=lambda info: info.key):
        record = ExportRecord.from_json(private.read(info.key), info.key)
        records = [record] if record.forgets_earlier else [*records, record]
    return records


def remember_export(private: Store, lineage: str, record: ExportRecord) -> None:
    """Add the record of an export to those of its lineage.

    Args:
        private: The private tree.
        lineage: The id of the lineage's first run.
        record: The record.
    """
    number = sum(1 for _ in private.list(output_layout.export_records_prefix(lineage)))
    while not record.create(private, output_layout.export_record(lineage, number)):
        number += 1


def with_earlier_exports(counts: Counts, earlier: Sequence[ExportRecord]) -> Counts:
    """Return the counts of an export together with those of earlier ones and with the differences between them.

    Args:
        counts: The counts of this export.
        earlier: The records of earlier exports.

    Returns:
        A system in which published counts of earlier exports are fixed, and in which their withheld counts and all
        differences are unpublished. If levels that are numbered or lie between cut points have changed, few studies
        can lie between old and new levels, so all counts by level of that covariate are unpublished.
    """
    joint = Counts(dict(counts.values), list(counts.sums), dict(counts.rank), set(counts.unpublished))
    for number, record in enumerate(earlier):
        before = record.counts()
        names = {cell: ("earlier", number, cell) for cell in before.values}
        for cell, value in before.values.items():
            joint.add(names[cell], value)
            if cell in before.unpublished:
                joint.unpublished.add(names[cell])
            else:
                joint.fixed.add(names[cell])
        joint.sums += [Sum(names[s.total], tuple(names[part] for part in s.parts)) for s in before.sums]
        changed = _covariates_with_changed_levels(counts.values, before.values)
        for cell in counts.values:
            if _covariate_level(cell)[0] in changed:
                joint.unpublished.add(cell)
            elif cell in before.values:
                more, less = sorted((cell, names[cell]), key=lambda name: -joint.values[name])
                joint.add_difference(("since", number, cell), more, less)
    return joint


def _covariates_with_changed_levels(now: Iterable[Cell], before: Iterable[Cell]) -> set[str]:
    levels_now, levels_before = _levels(now), _levels(before)
    return {
        covariate
        for covariate in levels_now.keys() & levels_before.keys()
        if any(_CHANGING_LEVEL.fullmatch(level) for level in levels_now[covariate] ^ levels_before[covariate])
    }


def _levels(cells: Iterable[Cell]) -> Mapping[str, set[str]]:
    levels: dict[str, set[str]] = defaultdict(set)
    for cell in cells:
        covariate, level = _covariate_level(cell)
        if covariate and level:
            levels[covariate].add(level)
    return levels


def _covariate_level(cell: Cell) -> tuple[str | None, str | None]:
    """Return the covariate and the level of a count by level; see `cells`."""
    if cell[0] == "calls":
        return cell[5], cell[6]
    if cell[0] == "totals":
        return cell[4], cell[5]
    if cell[0] == "characteristics" and cell[2] is not None:
        return cell[1], cell[2]
    return None, None


def _as_cell(value: Any) -> Cell:
    """Return a cell's name as it was before JSON made lists of tuples."""
    return tuple(map(_as_cell, value)) if isinstance(value, list) else value
