"""Which unknown counts can have one value only, by sums of them and because no count is negative."""

from collections.abc import Sequence

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

_ROUNDING = 1e-6


def pinned(matrix: np.ndarray, values: np.ndarray, questions: Sequence[int]) -> list[int]:
    """Columns among `questions` whose count moves by less than 1 over all non-negative solutions.

    `matrix`: float64 [sums, counts]; `values`: float64 [counts], the true counts, which are one solution. Any solution
    in which a count is another than the true one shows that it is open, so many are asked for at once first.
    """
    known, equations = matrix @ values, sparse.csr_array(matrix)
    open_ = np.array(sorted(questions), dtype=np.int64)
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
    """How far the count can move, at most 2: further does not matter."""
    wanted = np.zeros(equations.shape[1])
    wanted[place] = 1
    bounds = np.column_stack([np.zeros(len(wanted)), np.full(len(wanted), np.inf)])
    low = _solve(wanted, equations, known, bounds)[place]
    bounds[place, 1] = low + 2
    return _solve(-wanted, equations, known, bounds)[place] - low


def _solve(objective: np.ndarray, equations: sparse.csr_array, known: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """A solution within the bounds where the objective is least."""
    found = linprog(objective, A_eq=equations, b_eq=known, bounds=bounds, method="highs")
    if found.x is None:
        raise ArithmeticError(f"the true counts are no solution of their own sums: {found.message}")
    return found.x
