"""Published figures are reproduced to the printed digits."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.images.surface_distance import surface_distances
from diagchd_batch.statistics.agreement.coefficients import (
    brennan_prediger,
    cohen_kappa,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
)
from diagchd_batch.statistics.agreement.krippendorff import Level
from diagchd_batch.statistics.calibration import expected_calibration_error
from diagchd_batch.statistics.classification import (
    delong_interval,
    delong_paired,
    estimate_rate,
    mcnemar_exact,
    newcombe_paired_interval,
    paired_predictive_values,
    proportion_interval,
)
from diagchd_batch.statistics.classification.proportions import IntervalMethod
from diagchd_batch.statistics.multireader.random_readers import model_versus_readers, obuchowski_rockette
from diagchd_batch.statistics.segmentation import PixelCounts, dice, iou, mean_iou_per_image

DATA = Path(__file__).parent / "data"
NAN = float("nan")


def digits(value: float, printed: str) -> bool:
    """Return whether a value rounds to the printed number."""
    decimals = len(printed.partition(".")[2].partition("e")[0])
    exponent = int(printed.partition("e")[2] or 0)
    return f"{value / 10.0**exponent:.{decimals}f}" == printed.partition("e")[0]


# --- agreement -------------------------------------------------------------------------------------------------------

# Krippendorff (2011): four observers, twelve units.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NAN, NAN, NAN],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NAN, 3],
        [NAN, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NAN],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NAN],
    ]
).T

# irrCAC's data set distrib.6raters: half of Fleiss' patients.
SIX_RATERS = [
    [0, 0, 0, 6, 0],
    [0, 3, 0, 0, 3],
    [0, 1, 4, 0, 1],
    [0, 0, 0, 0, 6],
    [0, 3, 0, 3, 0],
    [2, 0, 4, 0, 0],
    [0, 0, 4, 0, 2],
    [2, 0, 3, 1, 0],
    [2, 0, 0, 4, 0],
    [0, 0, 0, 0, 6],
    [1, 0, 0, 5, 0],
    [1, 1, 0, 4, 0],
    [0, 3, 3, 0, 0],
    [1, 0, 0, 5, 0],
    [0, 2, 0, 3, 1],
]


def counts_of(ratings: np.ndarray) -> np.ndarray:
    categories = np.unique(ratings[~np.isnan(ratings)])
    return (ratings[:, :, np.newaxis] == categories).sum(axis=1)


def ratings_of(counts: list[list[int]]) -> list[list[int]]:
    return [[category for category, count in enumerate(row) for _ in range(count)] for row in counts]


def test_fleiss_1971() -> None:
    from statsmodels.stats.tests.test_inter_rater import diagnoses

    ratings = diagnoses.astype(float)
    assert digits(fleiss_kappa(counts_of(ratings)).value, "0.43024452")
    assert digits(fleiss_kappa(counts_of(ratings[:, :3])).value, "0.534")


def test_fleiss_of_fourteen_raters() -> None:
    rows = "0 0 0 0 14/0 2 6 4 2/0 0 3 5 6/0 3 9 2 0/2 2 8 1 1/7 7 0 0 0/3 2 6 3 0/2 5 3 2 2/6 5 2 1 0/0 2 2 3 7"
    counts = [[int(count) for count in row.split()] for row in rows.split("/")]
    assert digits(fleiss_kappa(counts).value, "0.210")


@pytest.mark.parametrize(
    ("level", "printed"), [("nominal", "0.743"), ("ordinal", "0.815"), ("interval", "0.849"), ("ratio", "0.797")]
)
def test_krippendorff_2011(level: Level, printed: str) -> None:
    alpha = krippendorff_alpha(KRIPPENDORFF, level)
    assert digits(alpha.value, printed)
    assert alpha.n == 11  # unit 12 has one rating


def test_krippendorff_2011_nominal_is_an_exact_fraction() -> None:
    assert krippendorff_alpha(KRIPPENDORFF).value == pytest.approx(113 / 152, abs=1e-15)


def test_gwet_ac1_with_missing_reads() -> None:
    ac1 = gwet_ac1(KRIPPENDORFF)
    assert digits(ac1.value, "0.77544")
    assert digits(ac1.se, "0.14295")
    assert digits(ac1.low, "0.461")
    assert ac1.high == 1.0
    assert ac1.n == 12  # the unit with one rating counts
    assert digits(percent_agreement(KRIPPENDORFF).value, "0.8181818")
    expected_by_chance = (0.8181818181818182 - ac1.value) / (1 - ac1.value)
    assert digits(expected_by_chance, "0.1903212")


def test_percent_agreement_with_missing_reads() -> None:
    agreement = percent_agreement(KRIPPENDORFF)
    assert digits(agreement.se, "0.12561")
    assert digits(agreement.low, "0.542")


def test_fleiss_with_missing_reads() -> None:
    kappa = fleiss_kappa(counts_of(KRIPPENDORFF))
    assert digits(kappa.value, "0.76117")
    assert digits(kappa.se, "0.15302")


def test_brennan_prediger_with_missing_reads() -> None:
    coefficient = brennan_prediger(KRIPPENDORFF)
    assert digits(coefficient.value, "0.77273")
    assert digits(coefficient.se, "0.14472")


def test_irrcac_six_raters() -> None:
    ratings = ratings_of(SIX_RATERS)
    ac1, fleiss, prediger = gwet_ac1(ratings), fleiss_kappa(SIX_RATERS), brennan_prediger(ratings)
    assert digits(ac1.value, "0.4448007") and digits(ac1.se, "0.08418757")
    assert digits(ac1.low, "0.264") and digits(ac1.high, "0.625")
    assert digits(fleiss.value, "0.4139265") and digits(fleiss.se, "0.08119291")
    assert digits(prediger.value, "0.4388889") and digits(prediger.se, "0.08312142")
    assert digits(prediger.low, "0.261") and digits(prediger.high, "0.617")
    assert digits(krippendorff_alpha(ratings).value, "0.4204384")


def test_irrcac_table_of_two_abstractors() -> None:
    table = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
    kappa = cohen_kappa(table)
    assert digits(kappa.value, "0.7964094") and digits(kappa.se, "0.05891072")
    pairs = [(row, column) for row in range(3) for column in range(3) for _ in range(table[row][column])]
    # irrCAC divides the variance by n for tables, and by n − 1 for ratings, as this package does.
    of_table = np.sqrt(99 / 100)
    ac1, prediger = gwet_ac1(pairs), brennan_prediger(pairs)
    assert digits(ac1.value, "0.8493305") and digits(ac1.se * of_table, "0.04321747")
    assert digits(prediger.value, "0.835") and digits(prediger.se * of_table, "0.04693346")
    assert digits(krippendorff_alpha(pairs).value, "0.7972585")
    assert digits(percent_agreement(pairs).value, "0.89")


def test_cohen_1960_and_fleiss_cohen_everitt_1969() -> None:
    # Fleiss, Cohen & Everitt (1969): 200 patients, two diagnosticians; weights of Cohen (1968) need a matrix, so the
    # unweighted figures: kappa .429, standard error .054.
    kappa = cohen_kappa([[106, 10, 4], [22, 28, 10], [2, 12, 6]])
    assert digits(kappa.value, "0.429")
    assert digits(kappa.se, "0.054")


def test_altman_1991_weighted_kappa() -> None:
    # Altman (1991), Practical Statistics for Medical Research, table 14.5: xeromammograms by two radiologists.
    table = [[21, 12, 0, 0], [4, 17, 1, 0], [3, 9, 15, 2], [0, 0, 0, 1]]
    assert digits(cohen_kappa(table).value, "0.47")
    assert digits(cohen_kappa(table, "linear").value, "0.57")


# --- calls -----------------------------------------------------------------------------------------------------------


def units_of(diseased: list[list[int]], healthy: list[list[int]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return truth, test 1 and test 2 from tables with rows test 2 +/− and columns test 1 +/−."""
    rows = []
    for truth, table in ((1, diseased), (0, healthy)):
        for i, test_2 in enumerate((1, 0)):
            for j, test_1 in enumerate((1, 0)):
                rows += [(truth, test_1, test_2)] * table[i][j]
    truth, test_1, test_2 = np.array(rows).T
    return truth, test_1, test_2


PAIRED_1 = units_of([[319, 22], [78, 32]], [[31, 22], [53, 155]])  # DTComPair's Paired1


@pytest.mark.parametrize(
    ("test", "printed"),
    [
        (1, {"sensitivity": "0.8802661", "specificity": "0.6781609", "ppv": "0.8253638", "npv": "0.7662338"}),
        (2, {"sensitivity": "0.7560976", "specificity": "0.7969349", "ppv": "0.8654822", "npv": "0.6540881"}),
    ],
)
def test_paired1_rates(test: int, printed: dict[str, str]) -> None:
    for name, value in printed.items():
        assert digits(estimate_rate(name, PAIRED_1[0], PAIRED_1[test]).value, value), name


@pytest.mark.parametrize(
    ("name", "method", "low", "high"),
    [
        ("sensitivity", "exact", "0.8466745", "0.9087592"),
        ("ppv", "exact", "0.7884240", "0.8582440"),
        ("sensitivity", "wilson", "0.8470", "0.9071"),
        ("ppv", "wilson", "0.7889", "0.8567"),
    ],
)
def test_paired1_intervals(name: str, method: IntervalMethod, low: str, high: str) -> None:
    estimate = estimate_rate(name, PAIRED_1[0], PAIRED_1[1], method=method)
    assert digits(estimate.low, low) and digits(estimate.high, high)


def test_paired1_weighted_generalised_score() -> None:
    result = paired_predictive_values(*PAIRED_1)
    assert digits(-result.ppv.difference, "0.04011841")  # printed as test 2 − test 1
    assert digits(result.ppv.statistic, "5.46588745")
    assert digits(result.ppv.p, "0.01939120")
    assert digits(-result.npv.difference, "-0.1121457")
    assert digits(result.npv.statistic, "16.53540")
    assert digits(result.npv.p, "4.775012e-05")


@pytest.mark.parametrize(
    ("k", "n", "method", "low", "high"),
    [
        (18, 20, "exact", "0.683017", "0.987651"),
        (18, 20, "wilson", "0.698966", "0.972134"),
        (4, 200, "exact", "0.005476", "0.050414"),
        (4, 200, "wilson", "0.007804", "0.050287"),
        (6, 7, "wilson", "0.49", "0.97"),
        (18, 21, "wilson", "0.65", "0.95"),
    ],
)
def test_binomial_intervals(k: int, n: int, method: IntervalMethod, low: str, high: str) -> None:
    limits = proportion_interval(k, n, method)
    assert digits(limits[0], low) and digits(limits[1], high)


def test_mcnemar() -> None:
    assert digits(mcnemar_exact(15, 19), "0.60759136127308")


@pytest.mark.parametrize(
    ("table", "low", "high"),
    [
        ((59, 6, 16, 80), "-0.1186", "-0.0046"),  # Cavo et al. (2012), in Fagerland, Lydersen & Laake (2017)
        ((1, 1, 7, 12), "-0.507", "-0.026"),  # Bentur et al. (2009), the same
    ],
)
def test_newcombe_paired_interval(table: tuple[int, int, int, int], low: str, high: str) -> None:
    limits = newcombe_paired_interval(*table)
    assert digits(limits[0], low) and digits(limits[1], high)


# --- scores ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def asah() -> pd.DataFrame:
    table = pd.read_csv(DATA / "asah.csv")
    table["poor"] = (table["outcome"] == "Poor").astype(int)
    return table


@pytest.mark.parametrize(
    ("marker", "printed"),
    [("wfns", "0.8236788617886179"), ("s100b", "0.7313685636856369"), ("ndka", "0.6119579945799458")],
)
def test_asah_auc(asah: pd.DataFrame, marker: str, printed: str) -> None:
    assert delong_interval(asah["poor"], asah[marker]).value == pytest.approx(float(printed), abs=1e-15)


def test_asah_delong(asah: pd.DataFrame) -> None:
    interval = delong_interval(asah["poor"], asah["ndka"])
    assert interval.low == pytest.approx(0.501244999271703, abs=1e-14)
    assert interval.high == pytest.approx(0.722670989888189, abs=1e-14)
    paired = delong_paired(asah["poor"], asah["wfns"], asah["s100b"])
    assert paired.statistic == pytest.approx(2.20898359144091, abs=1e-12)
    assert paired.p == pytest.approx(0.0271757822291882, abs=1e-13)
    assert paired.low == pytest.approx(0.0104061769564846, abs=1e-14)
    assert paired.high == pytest.approx(0.174214419249478, abs=1e-14)


@pytest.mark.parametrize(("bins", "printed"), [(2, 0.109), (5, 0.315), (10, 0.359)])
def test_expected_calibration_error(bins: int, printed: float) -> None:
    # The figures are printed as 0.11, 0.32 and 0.36, and elsewhere with three digits as here.
    probability = [0.22, 0.48, 0.49, 0.96, 0.55, 0.64, 0.78, 0.82, 0.34, 0.87]
    truth = [0, 1, 0, 0, 1, 1, 1, 1, 1, 0]
    assert expected_calibration_error(truth, probability, bins).value == pytest.approx(printed, abs=1e-9)


# --- readers ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def van_dyke() -> tuple[np.ndarray, np.ndarray]:
    """Return truth (114,) and ratings (2 modalities × 5 readers × 114 cases)."""
    table = pd.read_csv(DATA / "van_dyke_mrmc.csv")
    cube = table.pivot(index="case", columns=["treatment", "reader"], values="rating").sort_index(axis=1)
    return table.groupby("case")["truth"].first().to_numpy(), cube.to_numpy().T.reshape(2, 5, -1)


def test_van_dyke_aucs(van_dyke: tuple[np.ndarray, np.ndarray]) -> None:
    printed = [
        ["0.91964573", "0.85877617", "0.90386473", "0.97310789", "0.82979066"],
        ["0.94782609", "0.90531401", "0.92173913", "0.99935588", "0.92995169"],
    ]
    values = obuchowski_rockette(*van_dyke).values
    assert all(digits(values[i, j], printed[i][j]) for i in range(2) for j in range(5))


def test_van_dyke_obuchowski_rockette(van_dyke: tuple[np.ndarray, np.ndarray]) -> None:
    result = obuchowski_rockette(*van_dyke)
    comparison = result.comparison
    assert digits(comparison.difference, "-0.043800322")
    assert digits(comparison.statistic, "4.4563187")
    assert digits(comparison.df2, "15.259675")
    assert digits(comparison.p, "0.051665686")
    assert digits(comparison.se, "0.020748618")
    assert digits(comparison.low, "-0.087959499")
    assert digits(comparison.high, "0.00035885444")
    assert digits(result.variance, "0.00080228827")
    assert digits(result.cov1, "0.00034661371")
    assert digits(result.cov2, "0.00034407483")
    assert digits(result.cov3, "0.00023902837")


def test_van_dyke_with_fixed_readers_or_cases(van_dyke: tuple[np.ndarray, np.ndarray]) -> None:
    # RJafroc's analyses FRRC and RRFC of the same data.
    readers, cases = (obuchowski_rockette(*van_dyke, fixed=factor) for factor in ("readers", "cases"))
    assert digits(readers.statistic, "5.475953") and digits(readers.p, "0.0193")
    assert digits(cases.statistic, "8.704") and digits(cases.p, "0.0420") and cases.df2 == 4
    assert readers.difference == cases.difference == obuchowski_rockette(*van_dyke).difference


def test_van_dyke_one_sample(van_dyke: tuple[np.ndarray, np.ndarray]) -> None:
    truth, ratings = van_dyke
    result = model_versus_readers(truth, ratings[1, 0], ratings[0].T, "auc")
    assert digits(-result.difference, "-0.0507890")  # printed as readers − model
    assert digits(result.se, "0.0325810")
    assert digits(result.df2, "11.858")
    assert digits(result.p, "0.145307")


# --- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weights", "printed"), [((1, 1, 1, 1), 1 / 9), ((0.1, 0.2, 0.3, 0.4), 0.048)])
def test_one_hot_mean_iou(weights: tuple[float, ...], printed: float) -> None:
    truth = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0], [1, 0, 0]]).argmax(axis=1)
    score = np.array([[0.2, 0.3, 0.5], [0.1, 0.2, 0.7], [0.5, 0.3, 0.1], [0.1, 0.4, 0.5]]).argmax(axis=1)
    reference, predicted = (np.eye(3)[labels] * np.array(weights)[:, np.newaxis] for labels in (truth, score))
    both = np.minimum(reference, predicted).sum(axis=0)
    value = float(mean_iou_per_image(PixelCounts(both, reference.sum(axis=0), predicted.sum(axis=0))))
    assert value == pytest.approx(printed, abs=5e-4 if printed == 0.048 else 1e-12)


def test_overlap_and_distance_of_the_cross_shaped_prediction() -> None:
    reference = np.zeros((11, 11), dtype=bool)
    reference[3:8, 3:8] = True
    prediction = reference.copy()
    prediction[5, 1:10] = prediction[1:10, 5] = True
    counts = PixelCounts((reference & prediction).sum(), reference.sum(), prediction.sum())
    assert digits(float(dice(counts)), "0.86207")
    assert digits(float(iou(counts)), "0.75758")
    distances = surface_distances(prediction, reference)
    assert distances.hausdorff == 2.0
    assert distances.hd95 == 2.0
    assert digits(distances.assd, "0.4444")
