"""Conversion of ratings of any kind (numbers, strings, missing values) to category codes and counts."""

from collections.abc import Hashable, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.inputs import unmasked

MISSING = -1
_LOST = ("", "nan")


def encode_ratings(
    ratings: ArrayLike, categories: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, list[Hashable]]:
    """Return ratings as integer codes, and the categories that the codes stand for.

    Args:
        ratings: Matrix of shape (n_units, n_raters). None, NaN and NA are missing.
        categories: All categories in their order; by default those that occur, sorted if they have an order.

    Returns:
        Codes of shape (n_units, n_raters), `MISSING` (−1) where not read, and the list of categories.

    Raises:
        StatisticsError: The ratings have another shape, one of them is not among the categories, or one is the text ""
            or "nan". numpy turns a missing value among texts into "nan", so these texts are missing values in
            disguise.
    """
    # object: numpy would turn a NaN among strings into the string "nan"
    matrix = np.array(unmasked(ratings), dtype=object)
    if matrix.ndim != 2:
        raise StatisticsError(f"ratings must be units × raters, got shape {matrix.shape}")
    if matrix.size == 0:
        return np.empty(matrix.shape, dtype=np.int64), list(categories or [])
    codes, found = pd.factorize(matrix.ravel())
    found = list(found)
    lost = [value for value in found if isinstance(value, str) and value.strip().lower() in _LOST]
    if lost:
        raise StatisticsError(f"ratings hold the text {lost[0]!r}; where a unit was not read, give None or NaN")
    if categories is None:
        try:
            categories = sorted(found)
        except TypeError:  # labels of mixed types have no order
            categories = found
    position = {category: index for index, category in enumerate(categories)}
    unknown = [value for value in found if value not in position]
    if unknown:
        raise StatisticsError(f"rating {unknown[0]!r} is not among the categories {list(categories)!r}")
    translation = np.array([position[value] for value in found] + [MISSING], dtype=np.int64)
    return translation[codes].reshape(matrix.shape), list(categories)


def count_ratings(codes: np.ndarray, n_categories: int) -> np.ndarray:
    """Return how many raters put each unit into each category.

    Args:
        codes: Integers of shape (n_units, n_raters): the index of a category from 0, or `MISSING`.
        n_categories: The number of categories.

    Returns:
        float64 array of shape (n_units, n_categories).
    """
    counts = np.zeros((codes.shape[0], n_categories))
    units, raters = np.nonzero(codes != MISSING)
    np.add.at(counts, (units, codes[units, raters]), 1.0)
    return counts


def square_table(table: ArrayLike) -> ArrayLike:
    """Return a table of two raters with the same order of categories in rows and columns.

    A DataFrame whose rows and columns are named by categories, such as pandas' `crosstab`, lacks the row or column of
    a category that one rater never used. Such a row or column is added with zeros, and columns follow the order of the
    rows. Numbered axes, rows and columns without a common label, and plain arrays are returned as they are.

    Raises:
        StatisticsError: Rows and columns name different categories, and the categories have no order.
    """
    if not isinstance(table, pd.DataFrame):
        return table
    rows, columns = table.index, table.columns
    named = [axis.is_unique and not isinstance(axis, pd.RangeIndex) for axis in (rows, columns)]
    if not all(named) or rows.equals(columns) or rows.intersection(columns).empty:
        return table
    categories = [*rows, *columns.difference(rows, sort=False)]
    if len(categories) > len(rows):
        try:
            categories = sorted(categories)
        except TypeError as error:
            raise StatisticsError(
                f"rows {list(rows)} and columns {list(columns)} name different categories, which have no order"
            ) from error
    return table.reindex(index=categories, columns=categories, fill_value=0)


def cross_table(
    a: ArrayLike, b: ArrayLike, categories: Sequence[Hashable] | None = None
) -> tuple[np.ndarray, list[Hashable]]:
    """Cross-tabulate the units that both raters rated.

    Args:
        a: The first rater's ratings, of shape (n_units,). Missing values are None, NaN or pandas' NA.
        b: The second rater's ratings, of shape (n_units,).
        categories: All categories, in the order of the rows; those that occur, sorted, by default.

    Returns:
        The counts, int64 of shape (n_categories, n_categories) with `a` in rows and `b` in columns, and the categories.

    Raises:
        StatisticsError: The ratings are not two vectors of one length.
    """
    a, b = (np.array(column, dtype=object) for column in (a, b))
    if a.shape != b.shape or a.ndim != 1:
        raise StatisticsError(f"two raters' ratings must be two vectors of one length, got {a.shape} and {b.shape}")
    codes, categories = encode_ratings(np.stack([a, b], axis=1), categories)
    both = codes[(codes != MISSING).all(axis=1)]
    table = np.zeros((len(categories), len(categories)), dtype=np.int64)
    np.add.at(table, (both[:, 0], both[:, 1]), 1)
    return table, categories
