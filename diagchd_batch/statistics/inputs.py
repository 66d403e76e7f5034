"""Turning what callers pass (lists, pandas, numpy) into checked float arrays."""

import numbers

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError


def as_column(values: ArrayLike, name: str) -> np.ndarray:
    """A 1-d float64 copy; None, NaN and pandas' NA become NaN, infinities are refused."""
    column = as_floats(values, name)
    if column.ndim != 1:
        raise StatisticsError(f"{name} must be one-dimensional, got shape {column.shape}")
    return column


def as_binary(values: ArrayLike, name: str) -> np.ndarray:
    """Like `as_column`, holding only 0, 1 and NaN (missing)."""
    column = as_column(values, name)
    _check_binary(column, name)
    return column


def as_reads(values: ArrayLike, name: str, n_units: int, *, binary: bool = False) -> np.ndarray:
    """A units × readers float64 matrix, NaN = not read; one column may be given as a vector."""
    matrix = as_floats(values, name)
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    if matrix.ndim != 2 or matrix.shape[0] != n_units:
        raise StatisticsError(f"{name} must be units × readers with {n_units} rows, got shape {matrix.shape}")
    if binary:
        _check_binary(matrix, name)
    return matrix


def complete(*columns: np.ndarray) -> np.ndarray:
    """Mask of the rows on which none of the columns is missing; the columns must have one length."""
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise StatisticsError(f"arrays of one cohort must have one length, got {sorted(lengths)}")
    return ~np.any([np.isnan(column) for column in columns], axis=0)


def subject_codes(subjects: ArrayLike | None, kept: np.ndarray) -> np.ndarray:
    """Subjects of the kept units (`kept`: bool, one a unit) as integers 0 … S − 1 in order of appearance.

    Without subjects every unit is its own.
    """
    if subjects is None:
        return np.arange(int(kept.sum()))
    # numpy alone would turn a missing value in a list of strings into the string "nan", and 1 beside "a" into "1".
    labels = np.asarray(subjects) if hasattr(subjects, "dtype") else np.asarray(subjects, dtype=object)
    if labels.shape != kept.shape:
        raise StatisticsError(f"subjects must have one entry for each of {len(kept)} units, got shape {labels.shape}")
    codes, _ = pd.factorize(labels[kept])
    if (codes < 0).any():
        raise StatisticsError("a unit has no subject: give every unit a subject id, its own if it is alone")
    return codes


def count_subjects(codes: np.ndarray) -> int:
    """How many different subjects there are among `codes` (integers from 0)."""
    return int(np.count_nonzero(np.bincount(codes)))


def check_level(level: float) -> None:
    """Refuses a confidence level outside (0, 1), such as 95 where 0.95 is meant."""
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise StatisticsError(f"the confidence level must lie between 0 and 1, got {level!r} (95 % is 0.95)")


def as_floats(values: ArrayLike, name: str) -> np.ndarray:
    """A float64 copy of any shape; None, NaN and pandas' NA become NaN, infinities are refused."""
    try:
        array = np.asarray(unmasked(values))
        if array.dtype == object:
            array = np.where(pd.isna(array), np.nan, array)
        floats = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"{name} must be numbers or missing: {error}") from error
    if np.isinf(floats).any():
        raise StatisticsError(f"{name} holds an infinite value; use a missing value where there is none")
    return floats


def unmasked(values: ArrayLike) -> ArrayLike:
    """The same with NaN in place of what a masked array masks: other arrays lose the mask without a word."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(object), np.nan)
    return values


def _check_binary(values: np.ndarray, name: str) -> None:
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        raise StatisticsError(f"{name} must be 0, 1 or missing, got {values[wrong][0]:g}; pass calls, not scores")
