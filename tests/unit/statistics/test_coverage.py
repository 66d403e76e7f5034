"""Intervals and tests of simulated cohorts keep their level. The table of a longer run is in docs/statistics.md."""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from tools.measure_interval_coverage import Tally, measure

REPLICATES = 300


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[bool, Future[dict[str, Tally]]]]:
    """Measure clustered and unclustered cohorts at the same time, and yield the results by `clustered`."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield {
            clustered: pool.submit(
                measure, n_subjects=150, clustered=clustered, replicates=REPLICATES, resamples=400, seed=1
            )
            for clustered in (False, True)
        }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("clustered", [False, True], ids=["one unit a subject", "two or three units"])
def test_intervals_cover_and_tests_keep_their_size(
    measured: dict[bool, Future[dict[str, Tally]]], clustered: bool
) -> None:
    tallies = measured[clustered].result()
    slack = 3.5 * np.sqrt(0.05 * 0.95 / REPLICATES)  # the simulation's own error, over about fifty methods
    wrong = {}
    for name, tally in tallies.items():
        assert tally.given > 0.8 * REPLICATES or "difference" in name, f"{name}: too few replicates have a result"
        if name.startswith("not used"):
            continue
        if name.startswith("interval"):
            kept = 0.93 - slack <= tally.share <= min(1.0, 0.97 + slack)
        else:
            kept = tally.share <= 0.06 + slack  # Exact tests of few discordant pairs reject less than 5 %.
        if not kept:
            wrong[name] = (tally.method, round(tally.share, 3))
    assert not wrong


@pytest.mark.slow
def test_ties_are_what_keeps_permutation_tests_below_their_size() -> None:
    drawn = measure(100, False, 1000, 500, seed=1, only="sensitivity, p drawn among", why=True)
    whole = measure(100, False, 1000, 500, seed=1, only="test: difference of sensitivity$")
    (with_ties,), (without,) = drawn.values(), whole.values()
    assert abs(with_ties.share - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / 1000)
    assert without.share < 0.02
