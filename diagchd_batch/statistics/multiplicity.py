"""Adjusted p values for a family of exploratory tests."""

from collections.abc import Sequence

import numpy as np

from diagchd_batch.errors import StatisticsError


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return Holm's adjusted p value of each test of one family.

    The result equals that of statsmodels' `multipletests`. That function runs the garbage collector on every call,
    which takes 0.2 s for each of several hundred families of a run.

    Args:
        p_values: One p value a test. None means that the test could not be made; it does not count as a member.

    Returns:
        The adjusted p values in the same order, None where the argument has None.

    Raises:
        StatisticsError: A p value lies outside [0, 1].

    Source: Holm (1979), Scand J Stat 6:65.
    """
    given = [p for p in p_values if p is not None]
    if not all(0 <= p <= 1 for p in given):
        raise StatisticsError(f"p values must lie between 0 and 1, got {sorted(given)}")
    if not given:
        return [None] * len(p_values)
    order = np.argsort(given, kind="stable")
    stepped = np.maximum.accumulate(np.asarray(given)[order] * np.arange(len(given), 0, -1))
    by_place = np.empty(len(given))
    by_place[order] = np.minimum(stepped, 1.0)
    adjusted = iter(by_place)
    return [None if p is None else float(next(adjusted)) for p in p_values]
