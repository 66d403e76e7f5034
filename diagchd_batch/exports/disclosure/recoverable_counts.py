"""Finds unknown counts that can have only one value, given sums of them and that no count is negative."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

_ROUNDING = 1e-6


def determined_counts(matrix: np.ndarray, values: np.ndarray, candidates: Sequence[int]) -> list[int]:
    """Return the candidates whose count varies by less than 1 over all non-negative solutions of the sums.

    A solution in which a count differs from the true one shows that the count is open. Single solutions that move many
    candidates at once are tried first, because each solution costs a linear program.

    Args:
        matrix: float64 [sums, counts], the coefficients.
        values: float64 [counts], the true counts, which are one solution.
        candidates: Column numbers, from 0.

    Returns:
        Column numbers, ascending.

    Raises:
        ArithmeticError: The linear program fails, which is a bug.
    """
    known, equations = matrix @ values, sparse.csr_array(matrix)
    open_ = np.array(sorted(candidates), dtype=np.int64)
    for sign in (1, -1):
        moved = len(open_) > 0
        while moved:
            bounds = np.column_stack([np.zeros(len(values)), np.full(len(values), np.inf)])
            bounds[open_, 1] = values[open_] + 1
            wanted = np.zeros(len(values))
            wanted[open_] = -sign
            still = np.abs(_solve(wanted, equations, known, bounds)[open_] - values[open_]) < 1 - _ROUNDING
            moved = bool((~still).any() and still.any())
            open_ = open_[still]
    return [int(place) for place in open_ if _width(place, equations, known) < 1 - _ROUNDING]


def _width(place: int, equations: sparse.csr_array, known: np.ndarray) -> float:
    """Return how far the count can move, at most 2."""
    wanted = np.zeros(equations.shape[1])
    wanted[place] = 1
    bounds = np.column_stack([np.zeros(len(wanted)), np.full(len(wanted), np.inf)])
    low = _solve(wanted, equations, known, bounds)[place]
    bounds[place, 1] = low + 2
    return _solve(-wanted, equations, known, bounds)[place] - low


def _solve(objective: np.ndarray, equations: sparse.csr_array, known: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Return a solution within the bounds where the objective is least."""
    found = linprog(objective, A_eq=equations, b_eq=known, bounds=bounds, method="highs")
    if found.x is None:
        raise ArithmeticError(f"the true counts do not solve their own sums: {found.message}")
    return found.x
