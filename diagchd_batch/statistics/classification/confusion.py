"""The confusion table, and the rates that are functions of it.

Rates are functions of counts whose last axis is TP, FP, FN, TN, so that one definition serves a single table, a table
for each reader, and ten thousand resamples. They give NaN where they are undefined. `rates` turns that into a null
result.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.statistics.inputs import as_binary, complete

TP, FP, FN, TN = range(4)

Rate = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Confusion:
    """Counts of calls against the reference standard. Positive means diseased."""

    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def n(self) -> int:
        """The number of units."""
        return self.tp + self.fp + self.fn + self.tn

    @property
    def n_positive(self) -> int:
        """The number of units that are positive by the reference."""
        return self.tp + self.fn

    @property
    def n_negative(self) -> int:
        """The number of units that are negative by the reference."""
        return self.fp + self.tn

    def counts(self) -> np.ndarray:
        """Return TP, FP, FN, TN as an array of shape (4,), float64."""
        return np.array([self.tp, self.fp, self.fn, self.tn], dtype=np.float64)


def confusion(truth: ArrayLike, call: ArrayLike) -> Confusion:
    """Return the counts over the units on which neither truth nor call is missing.

    Args:
        truth: Array of shape (n_units,) of 0 and 1; None, NaN or pandas' NA where it is missing.
        call: Array of shape (n_units,) of 0 and 1; None, NaN or pandas' NA where it is missing.

    Raises:
        StatisticsError: A value is neither 0, 1 nor missing, or the lengths differ.
    """
    cells = confusion_cells(as_binary(truth, "truth"), as_binary(call, "call"))
    return Confusion(*(int(count) for count in cells.sum(axis=0)))


def confusion_cells(truth: np.ndarray, call: np.ndarray) -> np.ndarray:
    """Return the cell of each unit, one-hot, in the order tp, fp, fn, tn.

    Args:
        truth: Float array of shape (n_units,): 1, 0, or NaN for a missing value.
        call: Float array of shape (n_units,): 1, 0, or NaN for a missing value.

    Returns:
        float64 array of shape (n_units, 4). A unit with a missing value is in no cell.
    """
    known = complete(truth, call)
    positive, called = truth == 1, call == 1
    cells = np.stack([positive & called, ~positive & called, positive & ~called, ~positive & ~called], axis=1)
    return (cells & known[:, np.newaxis]).astype(np.float64)


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(
        numerator, denominator, out=np.full(np.shape(denominator), np.nan), where=np.asarray(denominator) > 0
    )


def _of(numerator_cells: tuple[int, ...], denominator_cells: tuple[int, ...]) -> Rate:
    def rate(counts: np.ndarray) -> np.ndarray:
        counts = np.asarray(counts, dtype=np.float64)
        return _ratio(counts[..., numerator_cells].sum(axis=-1), counts[..., denominator_cells].sum(axis=-1))

    return rate


#: Cells of each simple proportion: its successes, and all units that it is taken over.
PROPORTION_CELLS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "sensitivity": ((TP,), (TP, FN)),
    "specificity": ((TN,), (FP, TN)),
    "ppv": ((TP,), (TP, FP)),
    "npv": ((TN,), (FN, TN)),
    "accuracy": ((TP, TN), (TP, FP, FN, TN)),
}

sensitivity = _of(*PROPORTION_CELLS["sensitivity"])
specificity = _of(*PROPORTION_CELLS["specificity"])
ppv = _of(*PROPORTION_CELLS["ppv"])
npv = _of(*PROPORTION_CELLS["npv"])
accuracy = _of(*PROPORTION_CELLS["accuracy"])


def f1(counts: np.ndarray) -> np.ndarray:
    """Return 2 TP / (2 TP + FP + FN), undefined if nothing is positive in either (van Rijsbergen 1979)."""
    counts = np.asarray(counts, dtype=np.float64)
    return _ratio(2 * counts[..., TP], 2 * counts[..., TP] + counts[..., FP] + counts[..., FN])


def balanced_accuracy(counts: np.ndarray) -> np.ndarray:
    """Return the mean of sensitivity and specificity, undefined with one class (Brodersen et al. 2010)."""
    return (sensitivity(counts) + specificity(counts)) / 2


def mcc(counts: np.ndarray) -> np.ndarray:
    """Return Matthews' correlation coefficient, undefined if a margin is 0 (Matthews 1975)."""
    counts = np.asarray(counts, dtype=np.float64)
    tp, fp, fn, tn = (counts[..., cell] for cell in (TP, FP, FN, TN))
    # The square roots are taken one by one, because the product of four margins of a large archive would lose digits.
    root = np.sqrt(tp + fp) * np.sqrt(tp + fn) * np.sqrt(tn + fp) * np.sqrt(tn + fn)
    return _ratio(tp * tn - fp * fn, root)


def lr_positive(counts: np.ndarray) -> np.ndarray:
    """Return sensitivity / (1 − specificity), undefined with one class or without a false positive."""
    return _ratio_of_rates(sensitivity(counts), 1 - specificity(counts))


def lr_negative(counts: np.ndarray) -> np.ndarray:
    """Return (1 − sensitivity) / specificity, undefined with one class or without a true negative."""
    return _ratio_of_rates(1 - sensitivity(counts), specificity(counts))


def _ratio_of_rates(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    usable = ~np.isnan(numerator) & ~np.isnan(denominator)
    return np.where(usable, _ratio(np.where(usable, numerator, 0), np.where(usable, denominator, 0)), np.nan)


def rate_bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest value of a rate.

    Args:
        name: A name of `RATES`.
    """
    return -1.0 if name == "mcc" else 0.0, math.inf if name in ("lr_positive", "lr_negative") else 1.0


def difference_bounds(name: str) -> tuple[float, float]:
    """Return the least and the greatest difference of two values of a rate.

    Args:
        name: A name of `RATES`.
    """
    low, high = rate_bounds(name)
    return low - high, high - low


#: Every rate by its name in the tables.
RATES: dict[str, Rate] = {
    "sensitivity": sensitivity,
    "specificity": specificity,
    "ppv": ppv,
    "npv": npv,
    "accuracy": accuracy,
    "f1": f1,
    "mcc": mcc,
    "balanced_accuracy": balanced_accuracy,
    "lr_positive": lr_positive,
    "lr_negative": lr_negative,
}
