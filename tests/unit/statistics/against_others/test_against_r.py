"""Figures that R prints. The call that was run stands beside each of them.

The calls ran in R 4.2.2 with irrCAC 1.0, pROC 1.18.0, epiR 2.0.57, psych 2.2.9 and metafor 3.8-1.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.statistics.agreement.coefficients import cohen_kappa
from diagchd_batch.statistics.agreement.krippendorff import Level, krippendorff_alpha
from diagchd_batch.statistics.classification import (
    Confusion,
    delong_interval,
    delong_paired,
    estimate_rate,
    likelihood_ratio_log_interval,
    mcnemar_exact,
    proportion_interval,
)
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.multiplicity import holm
from diagchd_batch.statistics.subgroups import heterogeneity_test, interaction_test

NAN = float("nan")

#: Krippendorff (2011), as in test_published_numbers: k is units × observers.
OBSERVERS = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T


@pytest.mark.parametrize(
    ("level", "value", "se"),
    [
        ("nominal", 0.74342, 0.14557),  # irrCAC::krippen.alpha.raw(k)$est
        ("interval", 0.84911, 0.12913),  # irrCAC::krippen.alpha.raw(k, weights = "quadratic")$est
        ("ratio", 0.79740, 0.14048),  # irrCAC::krippen.alpha.raw(k, weights = "ratio")$est
    ],
)
def test_the_standard_error_of_alpha(level: Level, value: float, se: float) -> None:
    estimate = krippendorff_alpha(OBSERVERS, level, resamples=50)
    assert (estimate.value, estimate.se) == pytest.approx((value, se), abs=6e-6)


def test_the_standard_error_of_alpha_of_six_raters() -> None:
    """Fleiss (1971): irrCAC::krippen.alpha.raw(diagnoses)$est."""
    from statsmodels.stats.tests.test_inter_rater import diagnoses

    estimate = krippendorff_alpha(diagnoses, resamples=50)
    assert (estimate.value, estimate.se) == pytest.approx((0.43341, 0.0542), abs=6e-6)


ASAH = pd.read_csv(Path(__file__).parent / "data" / "asah.csv")
POOR = (ASAH["outcome"] == "Poor").to_numpy(dtype=float)


@pytest.mark.parametrize(
    ("score", "auc", "variance", "low", "high"),
    [
        ("wfns", 0.823678861789, 0.00146991470882, 0.748534887819, 0.898822835758),
        ("s100b", 0.731368563686, 0.00266868245717, 0.630118211762, 0.83261891561),
        ("ndka", 0.61195799458, 0.00319081054939, 0.501244999272, 0.722670989888),
    ],
)
def test_delongs_variance_and_interval(score: str, auc: float, variance: float, low: float, high: float) -> None:
    """r <- roc(aSAH$outcome, aSAH[[score]], levels = c("Good", "Poor"), direction = "<"); var(r); ci(r)."""
    estimate = delong_interval(POOR, ASAH[score])
    assert estimate.se is not None
    assert (estimate.value, estimate.se**2, estimate.low, estimate.high) == pytest.approx(
        (auc, variance, low, high), abs=1e-11
    )


@pytest.mark.parametrize(
    ("first", "second", "z", "p", "low", "high"),
    [
        ("s100b", "ndka", 1.39077002574, 0.164295175223, -0.0488706064228, 0.287691744634),
        ("wfns", "ndka", 2.79777591869, 0.00514557970691, 0.063401170934, 0.360040563483),
    ],
)
def test_delongs_paired_test(first: str, second: str, z: float, p: float, low: float, high: float) -> None:
    """roc.test(r_first, r_second)."""
    compared = delong_paired(POOR, ASAH[first], ASAH[second])
    assert (compared.statistic, compared.p, compared.low, compared.high) == pytest.approx((z, p, low, high), abs=1e-10)


@pytest.mark.parametrize(
    ("table", "printed"),
    [
        (
            Confusion(tp=9, fp=20, fn=1, tn=970),
            {
                "sensitivity": (0.9, 0.55498388297, 0.9974714215),
                "specificity": (0.9797979798, 0.96897138352, 0.9876174819),
                "ppv": (0.3103448276, 0.15284593961, 0.5083233538),
                "npv": (0.9989701339, 0.99427544292, 0.9999739264),
                "lr_positive": (44.55, 27.55315475143, 72.0317697884),
                "lr_negative": (0.1020618557, 0.01589766824, 0.6552295736),
            },
        ),
        (
            Confusion(tp=18, fp=6, fn=2, tn=174),
            {
                "sensitivity": (0.9, 0.68301728598, 0.9876514728),
                "specificity": (0.9666666667, 0.92886233111, 0.9876708417),
                "ppv": (0.75, 0.53288719758, 0.9022695905),
                "npv": (0.9886363636, 0.95955543480, 0.9986208360),
                "lr_positive": (27.0, 12.13003877954, 60.0987361417),
                "lr_negative": (0.1034482759, 0.02777143838, 0.3853435905),
            },
        ),
        (
            Confusion(tp=45, fp=30, fn=5, tn=920),
            {
                "sensitivity": (0.9, 0.78186463357, 0.9667249064),
                "specificity": (0.9684210526, 0.95522435861, 0.9785944669),
                "ppv": (0.6, 0.48037046925, 0.7114807726),
                "npv": (0.9945945946, 0.98743100178, 0.9982426199),
                "lr_positive": (28.5, 19.80315974344, 41.0161817873),
                "lr_negative": (0.1032608696, 0.04495387322, 0.2371944044),
            },
        ),
    ],
)
def test_a_diagnostic_test(table: Confusion, printed: dict[str, tuple[float, float, float]]) -> None:
    """epi.tests(as.table(matrix(c(tp, fp, fn, tn), 2, byrow = TRUE)))$detail."""
    truth = np.repeat([1, 0, 1, 0], [table.tp, table.fp, table.fn, table.tn])
    call = np.repeat([1, 1, 0, 0], [table.tp, table.fp, table.fn, table.tn])
    for name, expected in printed.items():
        if name.startswith("lr"):
            estimate = likelihood_ratio_log_interval(name, table)
        else:
            estimate = estimate_rate(name, truth, call, method="exact")
        assert (estimate.value, estimate.low, estimate.high) == pytest.approx(expected, rel=2e-9), name


@pytest.mark.parametrize(
    ("k", "n", "wilson", "exact"),
    [
        # prop.test(k, n, correct = FALSE)$conf.int; binom.test(k, n)$conf.int
        (9, 10, (0.595849973205, 0.982123786905), (0.554983882972, 0.997471421456)),
        (19, 20, (0.763868806553, 0.991118551199), (0.751267237228, 0.998734910502)),
        (970, 990, (0.969002071631, 0.986884797012), (0.968971383519, 0.987617481917)),
    ],
)
def test_intervals_of_proportions(k: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]) -> None:
    assert proportion_interval(k, n) == pytest.approx(wilson, abs=1e-11)
    assert proportion_interval(k, n, "exact") == pytest.approx(exact, abs=1e-11)


@pytest.mark.parametrize(("b", "c", "p"), [(3, 11, 0.057373046875), (0, 5, 0.0625), (20, 35, 0.0580641467924)])
def test_exact_mcnemar(b: int, c: int, p: float) -> None:
    """binom.test(b, b + c)$p.value."""
    assert mcnemar_exact(b, c) == pytest.approx(p, abs=1e-12)


def test_kappas_of_psych() -> None:
    """psych::cohen.kappa(matrix(…, byrow = TRUE)); its weights are quadratic."""
    kappa = cohen_kappa([[40, 6], [9, 25]])
    assert (kappa.value, kappa.se) == pytest.approx((0.611901681759, 0.0897799700014), abs=1e-11)
    assert (kappa.low, kappa.high) == pytest.approx((0.435936174, 0.7878671895), abs=1e-9)
    table = [[20, 5, 1], [4, 15, 6], [2, 3, 24]]
    for weights, value, se in ((None, 0.604705882353, 0.0734946753902), ("quadratic", 0.731243001120, None)):
        kappa = cohen_kappa(table, weights)
        assert kappa.value == pytest.approx(value, abs=1e-11)
        if se is not None:
            assert kappa.se == pytest.approx(se, abs=1e-11)


def test_adjusted_p_values_and_tests_of_heterogeneity() -> None:
    # p.adjust(c(.012, .04, .003, .2, .04), "holm")
    assert holm([0.012, 0.04, 0.003, 0.2, 0.04]) == pytest.approx([0.048, 0.12, 0.015, 0.2, 0.12])
    # chisq.test(matrix(c(30, 10, 25, 15, 18, 22), 3, byrow = TRUE), correct = FALSE)
    outcome = np.repeat([1, 0, 1, 0, 1, 0], [30, 10, 25, 15, 18, 22])
    result = interaction_test(outcome, np.repeat(["a", "b", "c"], 40))
    assert (result.statistic, result.p) == pytest.approx((7.6245992422, 0.0220973050551), abs=1e-10)
    # metafor::rma(yi = c(.91, .85, .78), sei = c(.03, .04, .06), method = "FE")
    estimates = [Estimate(v, se, None, None, 10) for v, se in ((0.91, 0.03), (0.85, 0.04), (0.78, 0.06))]
    tested = heterogeneity_test(estimates)
    assert (tested.statistic, tested.p) == pytest.approx((4.25383141762, 0.119204388493), abs=1e-10)
