"""Withheld counts cannot be worked out: exact elimination checks this independently of how they were chosen."""

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.exports.disclosure.recoverable_counts import determined_counts
from diagchd_batch.exports.disclosure.suppression import Counts, is_small, protect


def determined(equations: list[tuple[dict[str, Any], int]]) -> set[Any]:
    """Return the unknowns that have only one solution.

    Args:
        equations: Coefficients by unknown, and what they add up to.
    """
    rows: list[tuple[str, dict[str, Any]]] = []
    for coefficients, _ in equations:
        row = {cell: Fraction(value) for cell, value in coefficients.items() if value}
        for pivot, other in rows:
            if pivot in row:
                row = _minus(row, other, row[pivot])
        if row:
            pivot = next(iter(row))
            row = {cell: value / row[pivot] for cell, value in row.items()}
            rows = [(p, _minus(other, row, other[pivot]) if pivot in other else other) for p, other in rows]
            rows.append((pivot, row))
    return {pivot for pivot, row in rows if len(row) == 1}


def _minus(row: dict[str, Any], other: dict[str, Any], factor: Fraction) -> dict[str, Any]:
    cells = dict.fromkeys([*row, *other])
    result = {cell: row.get(cell, 0) - factor * other.get(cell, 0) for cell in cells}
    return {cell: value for cell, value in result.items() if value}


def unknowns(counts: Counts, withheld: set[Any]) -> list[tuple[dict[str, Any], int]]:
    """Return the sums with the published counts put in."""
    equations = []
    for relation in counts.sums:
        coefficients: dict[str, Any] = {}
        rest = 0
        for cell, sign in ((relation.total, -1), *((part, 1) for part in relation.parts)):
            if cell in withheld:
                coefficients[cell] = coefficients.get(cell, 0) + sign
            else:
                rest -= sign * counts.values[cell]
        equations.append((coefficients, rest))
    return equations


def cross_table(values: list[list[int]]) -> Counts:
    """Return the counts of a table with its margins and its grand total."""
    counts = Counts()
    rows, columns = range(len(values)), range(len(values[0]))
    for row, column in product(rows, columns):
        counts.add((row, column), values[row][column])
    for row in rows:
        counts.add(("row", row), sum(values[row]))
        counts.add_sum(("row", row), [(row, column) for column in columns])
    for column in columns:
        counts.add(("column", column), sum(values[row][column] for row in rows))
        counts.add_sum(("column", column), [(row, column) for row in rows])
    counts.add("all", sum(map(sum, values)))
    counts.add_sum("all", [("row", row) for row in rows])
    counts.add_sum("all", [("column", column) for column in columns])
    return counts


tables = st.integers(1, 5).flatmap(
    lambda width: st.lists(
        st.lists(st.integers(0, 40), min_size=width, max_size=width),
        min_size=1,
        max_size=5,
    )
)


@settings(max_examples=150, deadline=None)
@given(values=tables, min_cell=st.integers(2, 12))
def test_no_small_count_of_a_table_with_margins_follows_from_the_published_ones(
    values: list[list[int]], min_cell: int
) -> None:
    counts = cross_table(values)
    withheld = protect(counts, min_cell)
    small = {cell for cell, value in counts.values.items() if is_small(value, min_cell)}
    assert small <= withheld
    assert not small & determined(unknowns(counts, withheld))
    matrix = np.array(
        [[(cell in sum_.parts) - (cell == sum_.total) for cell in sorted(withheld, key=repr)] for sum_ in counts.sums]
    ).reshape(len(counts.sums), len(withheld))
    values = np.array([counts.values[cell] for cell in sorted(withheld, key=repr)], dtype=np.float64)
    places = [place for place, cell in enumerate(sorted(withheld, key=repr)) if cell in small]
    if len(withheld) < len(counts.values):
        assert not determined_counts(matrix.astype(np.float64), values, places)
    for relation in counts.sums:  # No sum reveals a small group of withheld counts, either.
        hidden = [cell for cell in relation.parts if cell in withheld]
        if relation.total not in withheld and small.intersection(hidden):
            assert not is_small(sum(counts.values[cell] for cell in hidden), min_cell)


def test_nothing_is_withheld_where_nothing_is_small() -> None:
    assert protect(cross_table([[10, 0, 12], [0, 30, 11]]), 10) == set()


def test_margins_stay_where_the_inside_is_enough() -> None:
    counts = cross_table([[3, 40, 30], [50, 30, 20], [12, 33, 60]])
    for cell in counts.values:  # Margins are more important than inner cells.
        counts.rank[cell] = 1 if isinstance(cell[0], int) else 0
    withheld = protect(counts, 10)
    assert (0, 0) in withheld and len(withheld) <= 6
    assert all(isinstance(cell[0], int) for cell in withheld)


def test_zeros_among_the_parts_of_a_small_total_are_withheld() -> None:
    counts = cross_table([[3, 0, 0], [50, 30, 20], [12, 33, 60]])
    assert {(0, 0), (0, 1), (0, 2), ("row", 0)} <= protect(counts, 10)


def test_signs_are_found_to_pin_what_sums_leave_open() -> None:
    """Given a + b = 3 and b + c = 0, every c = −b solves the sums. No count is negative, so a is 3."""
    sums = np.array([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    assert determined_counts(sums, np.array([3.0, 0.0, 0.0]), [0]) == [0]
    assert determined_counts(sums, np.array([3.0, 4.0, 5.0]), [0]) == []


def test_a_small_difference_of_two_published_totals_is_guarded() -> None:
    counts = Counts()
    counts.add("planned", 62, rank=1)
    counts.add("analysed", 60)
    counts.add_difference("failed", "planned", "analysed")
    assert protect(counts, 10) == {"planned", "failed"}


def test_the_checker_itself_finds_what_follows() -> None:
    counts = cross_table([[3, 40], [50, 30]])
    assert determined(unknowns(counts, {(0, 0)})) == {(0, 0)}
    assert determined(unknowns(counts, {(0, 0), (0, 1), (1, 0), (1, 1)})) == set()
    assert determined(unknowns(counts, {(0, 0), (0, 1), ("column", 0)})) == {(0, 0), (0, 1), ("column", 0)}
