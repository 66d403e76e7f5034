"""The vertical axis of a figure has round numbers, whatever its highest value is."""

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diagchd_batch.report.figures.svg import Axes


def labels(highest: float) -> list[str]:
    drawn = "".join(Axes(200, 200, "x", "y", y_highest=highest, x_ticks=()).parts)
    return re.findall(r'text-anchor="end">([^<]+)<', drawn)


@pytest.mark.parametrize("highest, last", [(1.0, "1"), (0.348, "0.3"), (0.148, "0.14"), (0.00318, "0.003")])
def test_the_last_number_is_round(highest: float, last: str) -> None:
    assert labels(highest)[0] == "0" and labels(highest)[-1] == last


@given(st.floats(1e-6, 1e6))
def test_numbers_are_short_equally_spaced_and_on_the_axis(highest: float) -> None:
    written = labels(highest)
    ticks = [float(label) for label in written]
    steps = {round((high - low) / ticks[1], 6) for low, high in itertools.pairwise(ticks)}
    assert 5 <= len(ticks) <= 11 and steps == {1.0}
    assert ticks[-1] <= highest * (1 + 1e-6) and ticks[-1] + ticks[1] > highest * (1 - 1e-6)
    assert all(len(label) <= 7 for label in written)
