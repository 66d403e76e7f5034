"""Examples of textbooks and well-known papers beyond those that the figures were first held to."""

import numpy as np
import pytest

from diagchd_batch.evaluation.agreement import cohen_kappa, gwet_ac1, krippendorff_alpha
from diagchd_batch.evaluation.classification import mcnemar_exact, proportion_interval

NAN = float("nan")
WINNIPEG = [[38, 5, 0, 1], [33, 11, 3, 0], [10, 14, 5, 6], [3, 7, 3, 10]]
SEXUAL_FUN = [[7, 7, 2, 3], [2, 8, 3, 7], [1, 5, 4, 9], [2, 8, 9, 14]]
DIAGNOSTICIANS = [[106, 10, 4], [22, 28, 10], [2, 12, 6]]


@pytest.mark.parametrize(
    ("table", "weights", "kappa", "se"),
    [
        # Fleiss, Levin & Paik (2003), Statistical Methods for Rates and Proportions, ch. 18: 100 subjects, 2 raters.
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], None, "0.68", None),
        # Stokes, Davis & Koch, Categorical Data Analysis Using the SAS System: multiple sclerosis, Winnipeg.
        (WINNIPEG, None, "0.2079", "0.0505"),
        (WINNIPEG, "linear", "0.3797", "0.0517"),
        # R's vcd, data set SexualFun (Agresti, Categorical Data Analysis).
        (SEXUAL_FUN, None, "0.1293", "0.06860"),
        (SEXUAL_FUN, "linear", "0.2374", "0.07832"),
        # Cohen (1960): proportions .44 .05 .01 / .07 .20 .03 / .09 .05 .06 of 200.
        ([[88, 10, 2], [14, 40, 6], [18, 10, 12]], None, "0.492", None),
        # Feinstein & Cicchetti (1990): the two paradoxes of kappa.
        ([[40, 9], [6, 45]], None, "0.70", None),
        ([[80, 10], [5, 5]], None, "0.32", None),
        ([[45, 15], [25, 15]], None, "0.13", None),
        ([[25, 35], [5, 35]], None, "0.26", None),
        # Fleiss, Cohen & Everitt (1969): their weights as agreement, and as disagreement.
        (DIAGNOSTICIANS, [[1, 0, 4 / 9], [0, 1, 6 / 9], [4 / 9, 6 / 9, 1]], "0.507", None),
        (DIAGNOSTICIANS, [[0, 9, 5], [9, 0, 3], [5, 3, 0]], "0.507", None),
    ],
)
def test_kappa(table: list[list[int]], weights: object, kappa: str, se: str | None) -> None:
    estimate = cohen_kappa(table, weights)
    assert f"{estimate.value:.{len(kappa) - 2}f}" == kappa
    assert se is None or f"{estimate.se:.{len(se) - 2}f}" == se


def test_own_weights_equal_the_named_ones() -> None:
    steps = np.abs(np.subtract.outer(range(4), range(4)))
    for name, weights in (("linear", steps), ("quadratic", 10 * steps**2), (None, (steps > 0).tolist())):
        own, named = cohen_kappa(SEXUAL_FUN, weights), cohen_kappa(SEXUAL_FUN, name)
        assert (own.value, own.se) == pytest.approx((named.value, named.se), abs=1e-12)


def test_ac1_stays_where_kappa_falls() -> None:
    table = [[118, 5], [2, 0]]  # Gwet (2002), Statistical Methods for Inter-Rater Reliability Assessment
    ratings = [(i, j) for i in (0, 1) for j in (0, 1) for _ in range(table[i][j])]
    assert f"{cohen_kappa(table).value:.4f}" == "-0.0234"
    assert f"{gwet_ac1(ratings).value:.4f}" == "0.9408"


def test_krippendorff_2011_smaller_examples() -> None:
    two_values = [[0, 1, 0, 0, 0, 0, 0, 0, 1, 0], [1, 1, 1, 0, 0, 1, 0, 0, 0, 0]]
    letters = [list("aabbdcccedda"), list("babbbccceddd")]
    assert f"{krippendorff_alpha(np.transpose(two_values)).value:.3f}" == "0.095"
    assert f"{krippendorff_alpha(np.transpose(letters)).value:.3f}" == "0.692"


def test_krippendorff_three_coders_with_gaps() -> None:
    coders = np.array(
        [
            [NAN, NAN, NAN, NAN, NAN, 3, 4, 1, 2, 1, 1, 3, 3, NAN, 3],
            [1, NAN, 2, 1, 3, 3, 4, 3, NAN, NAN, NAN, NAN, NAN, NAN, NAN],
            [NAN, NAN, 2, 1, 3, 4, 4, NAN, 2, 1, 1, 3, 3, NAN, 4],
        ]
    ).T
    assert f"{krippendorff_alpha(coders, 'nominal').value:.3f}" == "0.691"
    assert f"{krippendorff_alpha(coders, 'interval').value:.3f}" == "0.811"


@pytest.mark.parametrize(
    ("k", "n", "wilson", "exact"),
    [  # Newcombe (1998), Stat Med 17:857, table I, methods 3 and 5
        (81, 263, (0.2553, 0.3662), (0.2527, 0.3676)),
        (15, 148, (0.0624, 0.1605), (0.0578, 0.1617)),
        (0, 20, (0.0, 0.1611), (0.0, 0.1684)),
        (1, 29, (0.0061, 0.1718), (0.0009, 0.1776)),
    ],
)
def test_intervals_of_one_proportion(k: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]) -> None:
    assert tuple(round(limit, 4) for limit in proportion_interval(k, n)) == wilson
    assert tuple(round(limit, 4) for limit in proportion_interval(k, n, "exact")) == exact


def test_mcnemar_of_approval_ratings() -> None:
    # Agresti, Categorical Data Analysis: approval of the prime minister, 794 150 / 86 570.
    assert f"{mcnemar_exact(150, 86):.3e}" == "3.716e-05"
