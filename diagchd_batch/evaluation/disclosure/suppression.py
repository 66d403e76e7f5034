"""Which counts must be withheld so that no small one can be read or worked out from the others.

Primary suppression withholds the small counts; complementary suppression withholds further ones until linear algebra
shows that the published counts leave every small one open (Hundepool et al., Statistical Disclosure Control, 2012,
chapter 4; here over any system of sums, not one table).
"""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

Cell = Hashable

_NOTHING = 1e-9
"""Rounding errors of matrices of −1, 0 and 1 are below it, what is not zero is far above."""


@dataclass(frozen=True)
class Sum:
    """`total` is the sum of `parts`: something that whoever reads the tables knows."""

    total: Cell
    parts: tuple[Cell, ...]


@dataclass
class Counts:
    """Counts and the sums that hold among them.

    `rank`: the higher, the rather a count is withheld for the sake of others. `unpublished`: counts that stand in no
    table but follow from others, such as a difference of two totals.
    """

    values: dict[Cell, int] = field(default_factory=dict)
    sums: list[Sum] = field(default_factory=list)
    rank: dict[Cell, int] = field(default_factory=dict)
    unpublished: set[Cell] = field(default_factory=set)

    def add(self, cell: Cell, value: int, rank: int = 0) -> None:
        self.values[cell] = value
        self.rank[cell] = rank

    def relate(self, total: Cell, parts: Iterable[Cell]) -> None:
        """States the sum if all its counts are there and it holds; a reader of the tables would notice that it does."""
        parts = tuple(parts)
        known = total in self.values and parts and all(part in self.values for part in parts)
        if known and self.values[total] == sum(self.values[part] for part in parts):
            self.sums.append(Sum(total, parts))

    def relate_difference(self, name: Cell, more: Cell, less: Cell) -> None:
        """Guards what two counts differ by; if they are equal, each tells the other."""
        if more not in self.values or less not in self.values:
            return
        difference = self.values[more] - self.values[less]
        if difference == 0:
            self.sums.append(Sum(more, (less,)))
        elif difference > 0:
            self.add(name, difference)
            self.unpublished.add(name)
            self.sums.append(Sum(more, (less, name)))


def is_small(value: float, min_cell: int) -> bool:
    """From 1 to below `min_cell`. Nobody is in an empty cell."""
    return 0 < value < min_cell


def protect(counts: Counts, min_cell: int) -> set[Cell]:
    """The counts to withhold: all small ones, and as many others as it takes that none of those follows from the rest.

    Neither does a sum of withheld counts that is small itself.
    """
    small = {cell for cell, value in counts.values.items() if is_small(value, min_cell)}
    withheld = small | counts.unpublished
    while True:
        _close_single_sums(counts, withheld, small, min_cell)
        if not (exposed := _exposed_by_several_sums(counts, withheld, small)):
            break
        for published in exposed:
            if withheld.isdisjoint(published):  # else another count of this round has closed this way already
                withheld.add(_least_missed(counts, published))
    return _released(counts, withheld, small, min_cell)


def _released(counts: Counts, withheld: set[Cell], small: set[Cell], min_cell: int) -> set[Cell]:
    """Publishes again what was withheld on the way and turned out not to be needed, what is missed most first."""
    others = sorted(
        withheld - small - counts.unpublished,
        key=lambda cell: (counts.rank[cell], -counts.values[cell], repr(cell)),
    )
    for cell in others:
        fewer = withheld - {cell}
        near = [sum_ for sum_ in counts.sums if cell in (sum_.total, *sum_.parts)]
        if any(_exposes(counts, sum_, fewer, small, min_cell) for sum_ in near):
            continue
        if not _exposed_by_several_sums(counts, fewer, small):
            withheld = fewer
    return withheld


def _least_missed(counts: Counts, published: Sequence[Cell]) -> Cell:
    """By rank, then the smallest that is not zero."""
    useful = [cell for cell in published if counts.values[cell]] or published
    return min(useful, key=lambda cell: (-counts.rank[cell], counts.values[cell], repr(cell)))


def _close_single_sums(counts: Counts, withheld: set[Cell], small: set[Cell], min_cell: int) -> None:
    """Withholds further counts until no sum by itself gives a small count, or a small group, away."""
    changed = True
    while changed:
        changed = False
        for relation in counts.sums:
            if _exposes(counts, relation, withheld, small, min_cell):
                published = [cell for cell in (*relation.parts, relation.total) if cell not in withheld]
                withheld.add(_least_missed(counts, published))
                changed = True


def _exposes(counts: Counts, relation: Sum, withheld: set[Cell], small: set[Cell], min_cell: int) -> bool:
    hidden = [cell for cell in relation.parts if cell in withheld]
    if relation.total in withheld:
        return not hidden and relation.total in small
    if small.isdisjoint(hidden):
        return False
    return len(hidden) == 1 or is_small(sum(counts.values[cell] for cell in hidden), min_cell)


def _exposed_by_several_sums(counts: Counts, withheld: set[Cell], small: set[Cell]) -> list[list[Cell]]:
    """For each small count that several sums give away together: the published counts that it takes."""
    exposed = []
    for cells, sums in _connected(counts.sums, withheld):
        for cell, weights in _derivations(cells, sums).items():
            if cell in small:
                taken: dict[Cell, float] = defaultdict(float)
                for weight, relation in zip(weights, sums, strict=True):
                    taken[relation.total] -= weight
                    for part in relation.parts:
                        taken[part] += weight
                exposed.append([c for c, weight in taken.items() if abs(weight) > _NOTHING and c not in withheld])
    return exposed


def _derivations(cells: Sequence[Cell], sums: Sequence[Sum]) -> dict[Cell, np.ndarray]:
    """The withheld counts that the sums have only one solution for, once the published counts are put in.

    With each the weights of the sums whose combination leaves that count alone.
    """
    place = {cell: column for column, cell in enumerate(cells)}
    matrix = np.zeros((len(sums), len(cells)))
    for row, relation in enumerate(sums):
        for cell, sign in ((relation.total, -1), *((part, 1) for part in relation.parts)):
            if cell in place:
                matrix[row, place[cell]] += sign
    left, singular, right = np.linalg.svd(matrix, full_matrices=False)
    real = singular > _NOTHING
    left, singular, right = left[:, real], singular[real], right[real]
    reached = (right**2).sum(axis=0)  # 1: the count lies in the space that the sums span
    return {
        cell: left @ (right[:, column] / singular) for cell, column in place.items() if reached[column] > 1 - _NOTHING
    }


def _connected(sums: Iterable[Sum], withheld: set[Cell]) -> list[tuple[list[Cell], list[Sum]]]:
    """Withheld counts in groups that share no sum, each with its sums."""
    leader: dict[Cell, Cell] = {}

    def find(cell: Cell) -> Cell:
        while leader.setdefault(cell, cell) != cell:
            leader[cell] = leader[leader[cell]]
            cell = leader[cell]
        return cell

    hidden_of = {relation: [c for c in (relation.total, *relation.parts) if c in withheld] for relation in sums}
    for hidden in hidden_of.values():
        for cell in hidden[1:]:
            leader[find(cell)] = find(hidden[0])
    groups: Mapping[Cell, tuple[dict[Cell, None], list[Sum]]] = defaultdict(lambda: ({}, []))
    for relation, hidden in hidden_of.items():
        if hidden:
            cells, own = groups[find(hidden[0])]
            cells.update(dict.fromkeys(hidden))
            own.append(relation)
    return [(list(cells), own) for cells, own in groups.values()]
