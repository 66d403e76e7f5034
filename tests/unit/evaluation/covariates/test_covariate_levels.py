"""Names of the levels of numeric covariates."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.evaluation.subgroups.covariate_levels import (
    _from_numbers,
    _from_own_texts,
    source_resolution_levels,
)
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.studies.identifiers import Pseudonymizer


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


SIZES = ("480×640", "600×800", "576×720", "768×1024", "960×1280", "1080×1920", "480×720")


def resolutions(sizes: Sequence[str | None], cuts: Sequence[float] | None = None) -> tuple[list[str], list[str]]:
    """Return the levels, and the level of each study."""
    areas = [np.nan if size is None else float(np.prod([int(side) for side in size.split("×")])) for size in sizes]
    made = source_resolution_levels(np.array(areas), pd.Series(list(sizes), dtype="string"), cuts)
    return list(made.levels), [made.levels[code] for code in made.code]


def test_few_source_resolutions_are_a_level_each_with_the_width_first() -> None:
    levels, of_studies = resolutions(["600×800", "480×640", None, "600×800"])
    assert levels == ["640 × 480", "800 × 600", "missing"]
    assert of_studies == ["800 × 600", "640 × 480", "missing", "800 × 600"]


def test_many_source_resolutions_are_named_by_the_sizes_in_each_tercile() -> None:
    levels, of_studies = resolutions(SIZES)
    assert levels == ["720 × 480 and smaller", "720 × 576 to 800 × 600", "1024 × 768 and larger", "missing"]
    assert of_studies[:3] == [levels[0], levels[1], levels[1]] and of_studies[6] == levels[0]


def test_source_resolutions_are_named_likewise_at_own_cut_points() -> None:
    levels, of_studies = resolutions(["480×640", "600×800", "768×1024"], [100_000, 400_000, 500_000])
    assert levels == ["< 100000 pixels", "640 × 480", "800 × 600", "1024 × 768 and larger", "missing"]
    assert of_studies == levels[1:4]
    assert resolutions(["480×640"], [400_000])[0] == ["640 × 480 and smaller", "≥ 400000 pixels", "missing"]


def test_numbers_too_large_to_be_counted_are_named_by_their_limits() -> None:
    pixels = _from_numbers("pixels", np.array([307_200.0, 786_432]), (480_000,), name_whole=False)
    assert pixels.levels == ("< 480000", "≥ 480000", "missing")
    two = _from_numbers("pixels", np.array([307_200.0, 786_432]), (300_000, 480_000), name_whole=False)
    assert two.levels == ("< 300000", "300000 to < 480000", "≥ 480000", "missing")


@pytest.mark.parametrize(("decimal", "reason"), [(",", "write decimal points"), ("x", "has more than")])
def test_numbers_with_decimal_commas_are_named_as_such(decimal: str, reason: str) -> None:
    texts = pd.Series([f"{n}{decimal}5" for n in range(60)])
    assert reason in str(_from_own_texts("age", texts, DisplayNames(Pseudonymizer(b"k" * 32), disclose=False)))
