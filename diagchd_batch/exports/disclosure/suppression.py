"""Decides which counts to withhold, so that no small count can be read or worked out from the published ones.

Primary suppression withholds the small counts, and the zeros that are parts of them: whoever knows which parts of a few
people are empty knows where these people are. Complementary suppression withholds further counts until linear algebra
shows that the published ones leave every small one open, and until linear programming shows that they do so although no
count is negative. See Hundepool et al., Statistical Disclosure Control, 2012, chapter 4. Here it is applied to any
system of sums instead of one table.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from diagchd_batch.errors import UsageError
from diagchd_batch.exports.disclosure.recoverable_counts import determined_counts

Cell = Any
"""The name of a count: anything that is hashable."""

_TOLERANCE = 1e-9
"""Rounding errors of matrices of −1, 0 and 1 lie below it. Numbers that are not zero lie far above."""


@dataclass(frozen=True)
class Sum:
    """A sum that whoever reads the tables knows: `total` is the sum of `parts`."""

    total: Cell
    parts: tuple[Cell, ...]


def _cells_of(relation: Sum) -> tuple[Cell, ...]:
    return (relation.total, *relation.parts)


@dataclass
class Counts:
    """Counts, and the sums that hold among them.

    Attributes:
        values: The counts.
        sums: The sums.
        rank: Importance of the counts. To protect others, those with the highest rank are withheld first.
        unpublished: Counts that are in no table but follow from others, such as the difference of two totals.
        fixed: Counts that are known already, because an earlier export published them. They cannot be withheld.
    """

    values: dict[Cell, int] = field(default_factory=dict)
    sums: list[Sum] = field(default_factory=list)
    rank: dict[Cell, int] = field(default_factory=dict)
    unpublished: set[Cell] = field(default_factory=set)
    fixed: set[Cell] = field(default_factory=set)

    def add(self, cell: Cell, value: int, rank: int = 0) -> None:
        """Add a count.

        Args:
            cell: The name of the count.
            value: The count.
            rank: Its rank. Counts with the highest rank are withheld first.

        Raises:
            UsageError: Another count has the same name. Then one of the two could be published in place of the other.
        """
        if self.values.get(cell, value) != value:
            raise UsageError(
                f"two different counts of the metrics tables have one name ({', '.join(map(str, cell))}), so small "
                "counts could not be withheld; give covariates, operating points, readers and arms names of their own, "
                "and compute the metrics again with the command `evaluate`"
            )
        self.values[cell] = value
        self.rank[cell] = rank

    def add_sum(self, total: Cell, parts: Iterable[Cell]) -> None:
        """State a sum, if all its counts are known and it holds. Whoever reads the tables would notice that it does.

        Args:
            total: The name of the total.
            parts: The names of the parts.
        """
        parts = tuple(parts)
        known = total in self.values and parts and all(part in self.values for part in parts)
        if known and self.values[total] == sum(self.values[part] for part in parts):
            self.sums.append(Sum(total, parts))

    def add_difference(self, name: Cell, more: Cell, less: Cell) -> None:
        """Guard the difference of two counts. If they are equal, each reveals the other.

        Args:
            name: The name to give to the difference.
            more: The name of the larger count.
            less: The name of the smaller count.
        """
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
    """Return whether a count has to be withheld. An empty cell is not small, because it holds nobody.

    Args:
        value: The count.
        min_cell: Counts from 1 to below this number are small.
    """
    return 0 < value < min_cell


def protect(counts: Counts, min_cell: int) -> set[Cell]:
    """Choose the counts to withhold.

    They are all small counts, and as many others as are needed so that no small count follows from the published ones,
    no sum of withheld counts is small itself, and every small count can be at least two numbers.

    Args:
        counts: The counts and their sums.
        min_cell: Counts from 1 to below this number are small.

    Returns:
        The names of the withheld counts.

    Raises:
        UsageError: Earlier exports alone reveal a small count, whatever this one withholds.
    """
    small = {cell for cell, value in counts.values.items() if is_small(value, min_cell)} - counts.fixed
    unseen = counts.unpublished | (_zero_parts(counts, small) - counts.fixed)
    withheld = _suppress_by_sums(counts, small | unseen, small, min_cell)
    withheld = _publish_unneeded(counts, withheld, small | unseen, small, min_cell)
    while further := _needed_because_of_signs(counts, withheld, small):
        withheld = _suppress_by_sums(counts, withheld | further, small, min_cell)
    return withheld


def _zero_parts(counts: Counts, small: set[Cell]) -> set[Cell]:
    """Return the zeros that are parts of small totals, and the parts of these zeros."""
    parts: set[Cell] = set()
    while new := {c for sum_ in counts.sums if sum_.total in small | parts for c in sum_.parts} - small - parts:
        parts |= new
    return parts


def _suppress_by_sums(counts: Counts, withheld: set[Cell], small: set[Cell], min_cell: int) -> set[Cell]:
    """Return the withheld counts, and further ones until no small count follows from sums alone."""
    withheld = set(withheld)
    while True:
        _suppress_by_single_sums(counts, withheld, small, min_cell)
        if not (exposed := _exposed_by_several_sums(counts, withheld, small)):
            break
        # This withholds more than needed; `_publish_unneeded` corrects it.
        withheld |= {_least_important(counts, *choices) for choices in exposed}
    return withheld


def _needed_because_of_signs(counts: Counts, withheld: set[Cell], small: set[Cell]) -> set[Cell]:
    """Return what to withhold because small counts have only one value if no count is negative.

    Nothing is needed where all counts that are connected to a small one are withheld: nothing can be computed there.
    """
    further, sums_of = set(), _sums_of(counts)
    for cells, sums in _connected(counts.sums, withheld):
        published = [c for sum_ in sums for c in _cells_of(sum_) if c not in withheld]
        values = np.array([counts.values[cell] for cell in cells], dtype=np.float64)
        candidates = [place for place, cell in enumerate(cells) if cell in small]
        for place in determined_counts(_matrix(cells, sums), values, candidates) if published else ():
            near = [c for sum_ in sums_of[cells[place]] for c in _cells_of(sum_) if c not in withheld]
            further.add(_least_important(counts, near, published))
    return further


def _sums_of(counts: Counts) -> Mapping[Cell, list[Sum]]:
    found: dict[Cell, list[Sum]] = defaultdict(list)
    for relation in counts.sums:
        for cell in set(_cells_of(relation)):
            found[cell].append(relation)
    return found


def _publish_unneeded(
    counts: Counts, withheld: set[Cell], kept: set[Cell], small: set[Cell], min_cell: int
) -> set[Cell]:
    """Publish withheld counts that turned out not to be needed, the most important first.

    Those in `kept` stay withheld.
    """
    withheld, sums_of = set(withheld), _sums_of(counts)
    for cells, sums in _connected(counts.sums, withheld):
        directions = _OpenDirections(cells, sums, small)
        others = sorted(set(cells) - kept, key=lambda cell: (counts.rank[cell], -counts.values[cell], repr(cell)))
        for cell in others:
            fewer = withheld - {cell}
            exposed = any(_exposes(counts, sum_, fewer, small, min_cell) for sum_ in sums_of[cell])
            if not exposed and directions.fix(cell):
                withheld = fewer
    return withheld


class _OpenDirections:
    """The directions in which withheld counts can move while all their sums hold: a basis with one row for each count.

    A count follows from the sums if its row is zero. Publishing another count removes one direction.
    """

    def __init__(self, cells: Sequence[Cell], sums: Sequence[Sum], small: set[Cell]) -> None:
        self._place = {cell: row for row, cell in enumerate(cells)}
        _, singular, right = np.linalg.svd(_matrix(cells, sums))
        self._basis = right[int((singular > _TOLERANCE).sum()) :].T
        self._small = np.array([cell in small for cell in cells])

    def fix(self, cell: Cell) -> bool:
        """Publish a count and return True, unless a small count would follow; then return False."""
        row = self._basis[self._place[cell]]
        length = float(row @ row)
        if length > _TOLERANCE:
            rest = self._basis - np.outer(self._basis @ row / length, row)
            if ((rest[self._small] ** 2).sum(axis=1) < _TOLERANCE).any():
                return False
            self._basis = rest
        return True


def _least_important(counts: Counts, *choices: Sequence[Cell]) -> Cell:
    """Return the count to withhold, from the first choice that has one: by rank, then the smallest that is not zero."""
    for published in choices:
        able = [cell for cell in published if cell not in counts.fixed]
        if useful := [cell for cell in able if counts.values[cell]] or able:
            return min(useful, key=lambda cell: (-counts.rank[cell], counts.values[cell], repr(cell)))
    raise UsageError(
        "small counts would follow from earlier exports of this lineage, whatever this one withholds; export with the "
        "limit of the earlier ones (--min-cell), wait until the cohort has grown, or, if none of them was given away, "
        "add --forget-earlier"
    )


def _suppress_by_single_sums(counts: Counts, withheld: set[Cell], small: set[Cell], min_cell: int) -> None:
    """Withhold further counts until no single sum reveals a small count or a small group."""
    changed = True
    while changed:
        changed = False
        for relation in counts.sums:
            if _exposes(counts, relation, withheld, small, min_cell):
                published = [cell for cell in (*relation.parts, relation.total) if cell not in withheld]
                withheld.add(_least_important(counts, published))
                changed = True


def _exposes(counts: Counts, relation: Sum, withheld: set[Cell], small: set[Cell], min_cell: int) -> bool:
    hidden = [cell for cell in relation.parts if cell in withheld]
    if relation.total in withheld:
        return not hidden and relation.total in small
    if small.isdisjoint(hidden):
        return False
    return len(hidden) == 1 or sum(counts.values[cell] for cell in hidden) < min_cell


def _exposed_by_several_sums(
    counts: Counts, withheld: set[Cell], small: set[Cell]
) -> list[tuple[list[Cell], list[Cell]]]:
    """Return, for each small count that several sums reveal together, the published counts that they use.

    Those that share a sum with the small count come first, and then all.
    """
    exposed, sums_of = [], _sums_of(counts)
    for cells, sums in _connected(counts.sums, withheld):
        for cell, weights in _derivations(cells, sums).items():
            if cell in small:
                taken: dict[Cell, float] = defaultdict(float)
                for weight, relation in zip(weights, sums, strict=True):
                    taken[relation.total] -= weight
                    for part in relation.parts:
                        taken[part] += weight
                published = [c for c, weight in taken.items() if abs(weight) > _TOLERANCE and c not in withheld]
                near = {c for sum_ in sums_of[cell] for c in _cells_of(sum_)}
                exposed.append(([c for c in published if c in near], published))
    return exposed


def _derivations(cells: Sequence[Cell], sums: Sequence[Sum]) -> dict[Cell, np.ndarray]:
    """Return the withheld counts for which the sums have only one solution, given the published counts.

    Each comes with the weights of the sums whose combination leaves that count alone.
    """
    left, singular, right = np.linalg.svd(_matrix(cells, sums), full_matrices=False)
    real = singular > _TOLERANCE
    left, singular, right = left[:, real], singular[real], right[real]
    reached = (right**2).sum(axis=0)  # 1: the count lies in the space that the sums span
    return {
        cell: left @ (right[:, column] / singular)
        for column, cell in enumerate(cells)
        if reached[column] > 1 - _TOLERANCE
    }


def _matrix(cells: Sequence[Cell], sums: Sequence[Sum]) -> np.ndarray:
    """Return float64 [sums, cells]: 1 for a part, −1 for the total."""
    place = {cell: column for column, cell in enumerate(cells)}
    matrix = np.zeros((len(sums), len(cells)))
    for row, relation in enumerate(sums):
        for cell, sign in ((relation.total, -1), *((part, 1) for part in relation.parts)):
            if cell in place:
                matrix[row, place[cell]] += sign
    return matrix


def _connected(sums: Iterable[Sum], withheld: set[Cell]) -> list[tuple[list[Cell], list[Sum]]]:
    """Group withheld counts that share sums, each group with its sums."""
    leader: dict[Cell, Cell] = {}

    def find(cell: Cell) -> Cell:
        while leader.setdefault(cell, cell) != cell:
            leader[cell] = leader[leader[cell]]
            cell = leader[cell]
        return cell

    hidden_of = {relation: [c for c in _cells_of(relation) if c in withheld] for relation in sums}
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
