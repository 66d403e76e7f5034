"""Examples from textbooks and well-known papers, in addition to those in test_published_numbers."""

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.statistics.agreement.coefficients import (
    cohen_kappa,
    cohen_kappa_of_ratings,
    gwet_ac1,
    krippendorff_alpha,
)
from diagchd_batch.statistics.classification import (
    confusion,
    delong_interval,
    delong_paired,
    estimate_rate,
    likelihood_ratio_log_interval,
    mcnemar_exact,
    predictive_values_at,
    proportion_interval,
)
from diagchd_batch.statistics.subgroups import interaction_test

DATA = Path(__file__).parent / "data"
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
        # Cohen (1968), the same table in the paper's other layout: weighted kappa.
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], [[0, 1, 3], [1, 0, 6], [3, 6, 0]], "0.348", None),
        # Agresti, Categorical Data Analysis: 118 slides of the cervix by two pathologists.
        ([[22, 2, 2, 0], [5, 7, 14, 0], [0, 2, 36, 0], [0, 1, 17, 10]], None, "0.493", "0.057"),
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
def test_kappa(table: list[list[int]], weights: Any, kappa: str, se: str | None) -> None:
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
        (0, 25, (0.0, 0.1332), (0.0, 0.1372)),  # Agresti, Categorical Data Analysis: vegetarians (.133, .137)
    ],
)
def test_intervals_of_one_proportion(k: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]) -> None:
    assert tuple(round(limit, 4) for limit in proportion_interval(k, n)) == wilson
    assert tuple(round(limit, 4) for limit in proportion_interval(k, n, "exact")) == exact


def test_mcnemar_of_approval_ratings() -> None:
    # Agresti, Categorical Data Analysis: approval of the prime minister, 794 150 / 86 570.
    assert f"{mcnemar_exact(150, 86):.3e}" == "3.716e-05"


def test_lights_kappa_of_six_psychiatrists() -> None:
    # R's irr, kappam.light(diagnoses): the mean over pairs of Fleiss' (1971) raters.
    from statsmodels.stats.tests.test_inter_rater import diagnoses

    pairs = combinations(diagnoses.T, 2)
    assert f"{np.mean([cohen_kappa_of_ratings(a, b).value for a, b in pairs]):.3f}" == "0.459"


def calls(tp: int, fp: int, fn: int, tn: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the reference label and the call of each patient."""
    return np.repeat([1, 0, 1, 0], [tp, fp, fn, tn]), np.repeat([1, 1, 0, 0], [tp, fp, fn, tn])


def test_liver_scans() -> None:
    # Altman & Bland (1994), BMJ 308:1552 and 309:102.
    printed = {"sensitivity": "0.90", "specificity": "0.63", "ppv": "0.88", "npv": "0.67"}
    for name, value in printed.items():
        assert f"{estimate_rate(name, *calls(231, 32, 27, 54)).value:.2f}" == value


SCOTT = calls(670, 202, 74, 640)  # Scott et al. (2008), table 1, as R's epiR prints it


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("sensitivity", ("0.90", "0.88", "0.92")),
        ("specificity", ("0.76", "0.73", "0.79")),
        ("lr_positive", ("3.75", "3.32", "4.24")),  # Simel's interval
    ],
)
def test_a_test_with_its_likelihood_ratio(name: str, printed: tuple[str, str, str]) -> None:
    estimate = estimate_rate(name, *SCOTT, method="exact")
    if name == "lr_positive":
        estimate = likelihood_ratio_log_interval(name, confusion(*SCOTT))
    assert tuple(f"{value:.2f}" for value in (estimate.value, estimate.low, estimate.high)) == printed


def test_ppv_elsewhere_follows_from_the_likelihood_ratio() -> None:
    # Mercaldo's (2007) logit interval is Simel's printed one of LR+, 3.32 to 4.24, moved by the prior odds.
    ppv, _ = predictive_values_at(confusion(*SCOTT), prevalence=0.1)
    assert [ppv.low, ppv.high] == pytest.approx([3.32 / (3.32 + 9), 4.24 / (4.24 + 9)], abs=0.0005)


def test_area_of_ct_ratings() -> None:
    # Hanley & McNeil (1982), Radiology 143:29, table I: 58 normal and 51 abnormal CT images, five categories.
    truth = np.repeat([0, 1], [58, 51])
    ratings = [*np.repeat(range(1, 6), [33, 6, 6, 11, 2]), *np.repeat(range(1, 6), [3, 2, 2, 11, 33])]
    assert f"{delong_interval(truth, ratings).value:.3f}" == "0.893"


def test_ovarian_cancer() -> None:
    # Data of DeLong et al. (1988) and what SAS prints of them (SAS/STAT User's Guide, "Comparing Receiver Operating
    # Characteristic Curves"): area, standard error, limits; difference to the K-G score, limits, chi-squared, p.
    table = pd.read_csv(DATA / "delong_1988.csv")
    scores = {"albumin": table["albumin"], "total_protein": table["total_protein"], "kg": 10 - table["kg_score"]}
    for name, printed in {
        "albumin": ("0.7366", "0.0927", "0.5549", "0.9182"),
        "kg": ("0.7258", "0.1028", "0.5243", "0.9273"),
        "total_protein": ("0.6478", "0.1000", "0.4518", "0.8439"),
    }.items():
        area = delong_interval(table["benefits"], scores[name])
        assert tuple(f"{value:.4f}" for value in (area.value, area.se, area.low, area.high)) == printed
    for name, printed in {
        "albumin": ("0.0108", "0.0953", "-0.1761", "0.1976", "0.0127", "0.9102"),
        "total_protein": ("-0.0780", "0.1046", "-0.2830", "0.1271", "0.5554", "0.4561"),
    }.items():
        pair = delong_paired(table["benefits"], scores[name], scores["kg"])
        found = (pair.difference, pair.se, pair.low, pair.high, pair.statistic**2, pair.p)
        assert tuple(f"{value:.4f}" for value in found) == printed


def test_interaction_of_two_levels() -> None:
    # Agresti, Categorical Data Analysis: heart attacks of physicians, 189 of 11,034 with placebo, 104 of 11,037 not.
    attack = np.repeat([1, 0, 1, 0], [189, 11034 - 189, 104, 11037 - 104])
    result = interaction_test(attack, np.repeat(["placebo", "aspirin"], [11034, 11037]))
    assert f"{result.statistic:.2f}" == "25.01" and result.df == 1 and result.p < 0.0001
