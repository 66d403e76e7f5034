"""A cohort gives the same result as lists, arrays or pandas objects, and with every kind of missing value."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.agreement.coefficients import cohen_kappa, gwet_ac1, krippendorff_alpha
from diagchd_batch.statistics.classification import (
    delong_interval,
    delong_paired,
    mcnemar_exact,
    paired_predictive_values,
    proportion_interval,
)
from diagchd_batch.statistics.multireader.random_readers import obuchowski_rockette

NAN = float("nan")
TRUTH = [0, 0, 0, 1, 1, 1, 1, 0]
CALL_A = [0, 1, 0, 1, 0, 1, 1, 0]
CALL_B = [1, 0, 0, 1, 1, 1, 1, 1]
SCORE = [0.1, 0.4, 0.35, 0.8, 0.3, 0.9, 0.7, 0.2]

CONTAINERS: dict[str, Callable[[Sequence[float]], Any]] = {
    "tuple": tuple,
    "array": np.array,
    "objects": lambda values: np.array(values, dtype=object),
    "series with labels": lambda values: pd.Series(values, index=range(100, 100 + len(values))),
    "nullable series": lambda values: pd.Series(values).convert_dtypes(),
    "with a row that is NaN": lambda values: [*values, NAN],
    "with a row that is None": lambda values: [*values, None],
    "with a row that is NA": lambda values: pd.array([*values, None]),
    "with a row that is masked": lambda values: np.ma.masked_equal([*values, 9], 9),
}


@pytest.mark.parametrize("container", CONTAINERS)
def test_accuracy(container: str) -> None:
    given = CONTAINERS[container]
    assert delong_interval(given(TRUTH), given(SCORE)) == delong_interval(TRUTH, SCORE)
    assert delong_paired(given(TRUTH), given(SCORE), given(CALL_A)) == delong_paired(TRUTH, SCORE, CALL_A)
    pair = paired_predictive_values(given(TRUTH), given(CALL_A), given(CALL_B))
    assert pair == paired_predictive_values(TRUTH, CALL_A, CALL_B)


def test_booleans_are_calls() -> None:
    pair = paired_predictive_values(*(np.array(column) == 1 for column in (TRUTH, CALL_A, CALL_B)))
    assert pair == paired_predictive_values(TRUTH, CALL_A, CALL_B)


@pytest.mark.parametrize("coefficient", [gwet_ac1, krippendorff_alpha])
def test_ratings(coefficient: Callable[..., Any]) -> None:
    numbers = [[1, 1], [2, None], [1, 2], [3, 3], [2, 2]]
    words = [["a", "a"], ["b", None], ["a", "b"], ["c", "c"], ["b", "b"]]
    expected = coefficient([[1, 1], [2, NAN], [1, 2], [3, 3], [2, 2]])
    for ratings in (
        words,
        np.array(words, dtype=object),
        pd.DataFrame(words),
        pd.DataFrame(words).astype("category"),
        pd.DataFrame(numbers).astype("Int64"),
        np.ma.masked_equal([[1, 1], [2, 9], [1, 2], [3, 3], [2, 2]], 9),
    ):
        assert coefficient(ratings) == expected


def test_a_table_of_two_raters_as_pandas_makes_it() -> None:
    # Rater b never uses category c, so the table is 3 × 2.
    a, b = pd.Series(list("aabbabccb")), pd.Series(list("aabbababb"))
    expected = cohen_kappa([[3, 0, 0], [0, 4, 0], [1, 1, 0]])
    table = pd.crosstab(a, b)
    assert table.shape == (3, 2)
    assert cohen_kappa(table) == expected
    assert cohen_kappa(table.T).value == pytest.approx(expected.value)
    assert cohen_kappa(table.iloc[:, ::-1]) == expected
    c, d = pd.Series(list("aabbc")), pd.Series(list("bbccb"))  # The table is 3 × 2 again, and c never meets c.
    assert cohen_kappa(pd.crosstab(c, d)) == cohen_kappa([[0, 2, 0], [0, 0, 2], [0, 1, 0]])
    e = pd.Series(list("aabba"))  # The table is square, but its categories differ.
    assert cohen_kappa(pd.crosstab(e, d)) == cohen_kappa([[0, 3, 0], [0, 0, 2], [0, 0, 0]])


def test_a_data_frame_with_names_of_its_own_is_taken_as_it_stands() -> None:
    expected = cohen_kappa([[3, 1], [1, 4]])
    assert cohen_kappa(pd.DataFrame([[3, 1], [1, 4]], index=["A +", "A −"], columns=["B +", "B −"])) == expected
    assert cohen_kappa(pd.DataFrame([[3, 1], [1, 4]], index=[1, 2])) == expected


def test_counts_may_be_scalars_of_any_kind() -> None:
    for k, n in ((3.0, 5), (np.int64(3), np.uint8(5)), (np.float32(3), 5.0), (np.array(3), np.array(5))):
        assert proportion_interval(k, n) == proportion_interval(3, 5)
    assert mcnemar_exact(np.int32(3), 5.0) == mcnemar_exact(3, 5)


@pytest.mark.parametrize("nothing", [NAN, None, pd.NA])
def test_scores_of_readers_with_gaps(nothing: object) -> None:
    cube = np.random.default_rng(0).normal(size=(2, 3, 8))
    expected = obuchowski_rockette(TRUTH[1:], cube[..., 1:])
    gaps = cube.tolist()
    gaps[1][2][0] = nothing
    result = obuchowski_rockette(TRUTH, gaps)
    assert (result.p, result.difference, result.df2) == (expected.p, expected.difference, expected.df2)
    assert (result.p, result.se, result.low, result.high, result.statistic) == tuple(
        getattr(result.comparison, name) for name in ("p", "se", "low", "high", "statistic")
    )


@pytest.mark.parametrize(
    "call",
    [
        lambda: proportion_interval(NAN, 5),
        lambda: proportion_interval(1, float("inf")),
        lambda: proportion_interval(1, 5, level="0.95"),
        lambda: proportion_interval(1, 5, ["wilson"]),
        lambda: mcnemar_exact(None, 5),
        lambda: delong_interval([[0], [0, 1]], [1, 2]),
        lambda: delong_interval(TRUTH, SCORE, scale="log"),
        lambda: delong_interval([0, 0, 1, 1], [1, 3, 2, 4], subjects=["a", "b", "c", NAN]),
        lambda: cohen_kappa([[1, float("inf")], [1, 2]]),
        lambda: cohen_kappa([[1, 2], [3, 4]], [[1, 2], [2, 1]]),
        lambda: cohen_kappa([[1, 2], [3, 4]], [[0, 1, 2], [1, 0, 1], [2, 1, 0]]),
        lambda: cohen_kappa(pd.DataFrame([[1, 2], [3, 4]], index=["a", 1], columns=["a", "b"])),
        lambda: krippendorff_alpha([[1.0, float("inf")], [2, 2], [1, 1]], "interval"),
        lambda: krippendorff_alpha(np.array([["a", "a"], ["b", NAN], ["a", "b"]])),  # numpy makes it the text "nan"
        lambda: gwet_ac1([["a", "a"], ["b", ""], ["a", "b"]]),
        lambda: obuchowski_rockette(TRUTH, "scores"),
        lambda: obuchowski_rockette(TRUTH, [[[1, 2], [1]], [[1, 2], [1, 2]]]),
        lambda: obuchowski_rockette(TRUTH, np.zeros((2, 3, 8)), fixed="both"),
    ],
)
def test_what_cannot_be_read_is_refused_with_a_message(call: Callable[[], object]) -> None:
    with pytest.raises(StatisticsError) as error:
        call()
    assert len(str(error.value)) > 20
