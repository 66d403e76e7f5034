"""Names of the levels of numeric covariates."""

import numpy as np
import pytest

from diagchd_batch.evaluation.subgroups.covariate_levels import _from_numbers


@pytest.mark.parametrize(
    ("numbers", "cuts", "least", "levels"),
    [
        ([1, 2, 3, 7, np.nan], (2, 3, 4), 1, ("1", "2", "3", "≥ 4")),
        ([1, 2, 3, 7], (3, 6), 1, ("1 to 2", "3 to 5", "≥ 6")),
        ([20, 41], (30, 40), None, ("< 30", "30 to 39", "≥ 40")),
        ([20.5, 41], (30, 40), None, ("< 30", "30 to < 40", "≥ 40")),
        ([20, 41], (30, 35.5), None, ("< 30", "30 to < 35.5", "≥ 35.5")),
    ],
)
def test_whole_numbers_are_named_as_such_and_others_by_their_limits(
    numbers: list[float], cuts: tuple[float, ...], least: int | None, levels: tuple[str, ...]
) -> None:
    covariate = _from_numbers("parity", np.array(numbers, float), cuts, least=least)
    assert covariate.levels == (*levels, "missing")
    for value, code in zip(numbers, covariate.code, strict=True):
        assert code == (len(levels) if np.isnan(value) else np.searchsorted(cuts, value, side="right"))


def test_numbers_too_large_to_be_counted_are_named_by_their_limits() -> None:
    pixels = _from_numbers("pixels", np.array([307_200.0, 786_432]), (480_000,), name_whole=False)
    assert pixels.levels == ("< 480000", "≥ 480000", "missing")
    two = _from_numbers("pixels", np.array([307_200.0, 786_432]), (300_000, 480_000), name_whole=False)
    assert two.levels == ("< 300000", "300000 to < 480000", "≥ 480000", "missing")
