"""Checks and conversions of what callers pass (lists, pandas and numpy arrays) to float arrays."""

import numbers

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError


def as_column(values: ArrayLike, name: str) -> np.ndarray:
    """Return a one-dimensional float64 copy of the values.

    Args:
        values: One number a unit. None, NaN and pandas' NA become NaN.
        name: Name of the argument, for the message.

    Returns:
        Array of shape (n_units,), dtype float64.

    Raises:
        StatisticsError: The values are not one-dimensional, not numbers, or infinite.
    """
    column = as_floats(values, name)
    if column.ndim != 1:
        raise StatisticsError(f"{name} must be one-dimensional, got shape {column.shape}")
    return column


def as_binary(values: ArrayLike, name: str) -> np.ndarray:
    """Return a one-dimensional float64 copy that holds only 0, 1 and NaN (missing).

    Args:
        values: One 0 or 1 a unit, or a missing value.
        name: Name of the argument, for the message.

    Returns:
        Array of shape (n_units,), dtype float64.

    Raises:
        StatisticsError: The values are not one-dimensional, or one of them is neither 0, 1 nor missing.
    """
    column = as_column(values, name)
    _check_binary(column, name)
    return column


def as_reads(values: ArrayLike, name: str, n_units: int, *, binary: bool = False) -> np.ndarray:
    """Return the reads as a float64 matrix of units × readers, in which NaN means "not read".

    Args:
        values: Matrix of shape (n_units, n_readers), or a vector for a single reader.
        name: Name of the argument, for the message.
        n_units: Number of rows that the matrix must have.
        binary: Also require every read to be 0, 1 or missing.

    Returns:
        Array of shape (n_units, n_readers), dtype float64.

    Raises:
        StatisticsError: The shape is another one, or a value is not allowed.
    """
    matrix = as_floats(values, name)
    if matrix.ndim == 1:
        matrix = matrix[:, np.newaxis]
    if matrix.ndim != 2 or matrix.shape[0] != n_units:
        raise StatisticsError(f"{name} must be units × readers with {n_units} rows, got shape {matrix.shape}")
    if binary:
        _check_binary(matrix, name)
    return matrix


def complete(*columns: np.ndarray) -> np.ndarray:
    """Return a bool mask of the rows on which no column is missing.

    Raises:
        StatisticsError: The columns differ in length.
    """
    lengths = {len(column) for column in columns}
    if len(lengths) > 1:
        raise StatisticsError(f"arrays of one cohort must have one length, got {sorted(lengths)}")
    return ~np.any([np.isnan(column) for column in columns], axis=0)


def subject_codes(subjects: ArrayLike | None, kept: np.ndarray) -> np.ndarray:
    """Return the subjects of the kept units as integers 0 … S − 1, in order of appearance.

    Args:
        subjects: One id a unit, of any type. Without subjects every unit is its own subject.
        kept: Array of shape (n_units,), dtype bool.

    Returns:
        Array of shape (number of kept units,), dtype int64.

    Raises:
        StatisticsError: The number of subjects is not the number of units, or a kept unit has no subject.
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
    """Return the number of different subjects among `codes`, which are integers from 0."""
    return int(np.count_nonzero(np.bincount(codes)))


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1), such as 95 where 0.95 is meant.

    Args:
        level: The confidence level.

    Raises:
        StatisticsError: The level is not between 0 and 1.
    """
    if not isinstance(level, numbers.Real) or not 0 < level < 1:
        raise StatisticsError(f"the confidence level must lie between 0 and 1, got {level!r} (95 % is 0.95)")


def as_floats(values: ArrayLike, name: str) -> np.ndarray:
    """Return a float64 copy of any shape; None, NaN and pandas' NA become NaN.

    Args:
        values: Numbers and missing values, of any shape.
        name: What the values are, for messages.

    Raises:
        StatisticsError: A value is not a number, or is infinite.
    """
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
    """Return the values with NaN in place of masked entries; numpy drops the mask silently in most conversions."""
    if isinstance(values, np.ma.MaskedArray):
        return np.ma.filled(values.astype(object), np.nan)
    return values


def _check_binary(values: np.ndarray, name: str) -> None:
    wrong = ~(np.isnan(values) | (values == 0) | (values == 1))
    if wrong.any():
        raise StatisticsError(f"{name} must be 0, 1 or missing, got {values[wrong][0]:g}; pass calls, not scores")
