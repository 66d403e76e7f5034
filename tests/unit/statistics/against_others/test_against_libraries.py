"""Figures of random cohorts equal those of scikit-learn, scipy and statsmodels that have the same definition."""

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats import inter_rater
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

from diagchd_batch.statistics.agreement.coefficients import (
    cohen_kappa,
    cohen_kappa_of_ratings,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
)
from diagchd_batch.statistics.calibration import calibration_bins, calibration_slope
from diagchd_batch.statistics.classification import (
    compare_rates,
    confusion,
    delong_interval,
    estimate_rate,
    estimate_score,
    paired_predictive_values,
)
from diagchd_batch.statistics.classification.auc import average_precision_under_weights, jackknife_auc
from diagchd_batch.statistics.classification.confusion import FP, RATES, TN
from diagchd_batch.statistics.multiplicity import holm
from diagchd_batch.statistics.net_benefit import net_benefits
from diagchd_batch.statistics.subgroups import interaction_test, level_difference

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=40, deadline=None)


def cohort(seed: int, n: int = 60) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    """Return a generator, a truth with both classes and a score with ties."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, 2, n)
    truth[:2] = 0, 1
    return generator, truth, np.round(generator.normal(size=n) + truth, 1)


@few
@given(seeds)
def test_rates_equal_sklearn(seed: int) -> None:
    generator, truth, score = cohort(seed)
    call = (score > generator.normal()).astype(int)
    counts = confusion(truth, call).counts()
    expected = {
        "accuracy": metrics.accuracy_score(truth, call),
        "balanced_accuracy": metrics.balanced_accuracy_score(truth, call),
        "sensitivity": metrics.recall_score(truth, call),
        "specificity": metrics.recall_score(1 - truth, 1 - call),
        "ppv": metrics.precision_score(truth, call, zero_division=np.nan),
        "npv": metrics.precision_score(1 - truth, 1 - call, zero_division=np.nan),
        "f1": metrics.f1_score(truth, call, zero_division=np.nan),
    }
    if 0 < call.sum() < len(call):  # For constant calls sklearn returns 0; here it is undefined.
        expected["mcc"] = metrics.matthews_corrcoef(truth, call)
    if counts[FP] and counts[TN]:  # Otherwise sklearn warns.
        expected["lr_positive"], expected["lr_negative"] = metrics.class_likelihood_ratios(truth, call)
    for name, value in expected.items():
        assert float(RATES[name](counts)) == pytest.approx(value, abs=1e-12, nan_ok=True), name


@few
@given(seeds)
def test_scores_equal_sklearn(seed: int) -> None:
    generator, truth, score = cohort(seed)
    probability = 1 / (1 + np.exp(-score))
    weights = generator.integers(0, 4, len(truth)).astype(float)
    weights[:2] = 1.0
    units = np.arange(len(truth))
    precision = average_precision_under_weights(truth == 1, score, units)(weights[np.newaxis])[0]
    assert precision == pytest.approx(metrics.average_precision_score(truth, score, sample_weight=weights), abs=1e-12)
    assert estimate_score("auc", truth, score).value == pytest.approx(metrics.roc_auc_score(truth, score))
    brier = estimate_score("brier", truth, probability, resamples=20)
    assert brier.value == pytest.approx(metrics.brier_score_loss(truth, probability), abs=1e-12)


@few
@given(seeds)
def test_jackknife_equals_refitting(seed: int) -> None:
    generator, truth, score = cohort(seed, n=30)
    subjects = np.unique(generator.integers(0, 12, 30), return_inverse=True)[1]
    value, left_out = jackknife_auc(truth == 1, score, subjects)
    assert value == pytest.approx(metrics.roc_auc_score(truth, score), abs=1e-12)
    for subject, without in enumerate(left_out):
        kept = subjects != subject
        if len(np.unique(truth[kept])) == 2:
            assert without == pytest.approx(metrics.roc_auc_score(truth[kept], score[kept]), abs=1e-12)
        else:
            assert np.isnan(without)


@few
@given(seeds, st.sampled_from([None, "linear", "quadratic"]), st.integers(2, 5))
def test_cohen_kappa_equals_statsmodels_and_sklearn(seed: int, weights: str | None, size: int) -> None:
    generator = np.random.default_rng(seed)
    a = np.r_[np.arange(size), generator.integers(0, size, 40)]
    b = np.where(generator.random(40 + size) < 0.6, a, generator.integers(0, size, 40 + size))
    estimate = cohen_kappa_of_ratings(a, b, weights)
    table = metrics.confusion_matrix(a, b)
    theirs = inter_rater.cohens_kappa(table, wt=weights)
    assert estimate.value == pytest.approx(theirs.kappa, abs=1e-12)
    assert estimate.value == pytest.approx(metrics.cohen_kappa_score(a, b, weights=weights), abs=1e-12)
    if estimate.se is not None:
        assert estimate.se == pytest.approx(theirs.std_kappa, abs=1e-12)
        assert estimate.low == pytest.approx(max(-1, theirs.kappa_low), abs=1e-9)
    assert cohen_kappa(table.T, weights).value == pytest.approx(estimate.value, abs=1e-12)


@few
@given(seeds, st.integers(2, 5), st.integers(2, 4))
def test_fleiss_kappa_equals_statsmodels(seed: int, raters: int, size: int) -> None:
    generator = np.random.default_rng(seed)
    counts = generator.multinomial(raters, np.full(size, 1 / size), size=25)
    estimate = fleiss_kappa(counts, resamples=20)
    assert estimate.value == pytest.approx(inter_rater.fleiss_kappa(counts, method="fleiss"), abs=1e-12)


@few
@given(seeds)
def test_two_raters_relate_as_theory_says(seed: int) -> None:
    """Scott's pi is Fleiss' kappa of two raters, and alpha adds a correction for the number of ratings."""
    generator = np.random.default_rng(seed)
    pairs = generator.integers(0, 3, (40, 2))
    counts = (pairs[:, :, np.newaxis] == np.arange(3)).sum(axis=1)
    kappa = fleiss_kappa(counts, resamples=20).value
    alpha = krippendorff_alpha(pairs, resamples=20).value
    assert 1 - alpha == pytest.approx((1 - kappa) * 79 / 80, abs=1e-12)
    assert percent_agreement(pairs).value == pytest.approx(np.mean(pairs[:, 0] == pairs[:, 1]), abs=1e-12)


@few
@given(seeds)
def test_agreement_does_not_depend_on_the_order_or_names(seed: int) -> None:
    generator = np.random.default_rng(seed)
    ratings = generator.integers(0, 3, (20, 3)).astype(float)
    ratings[generator.random((20, 3)) < 0.2] = np.nan
    names = np.array(["a", "b", "c", None], dtype=object)
    named = names[np.where(np.isnan(ratings), 3, ratings).astype(int)]
    shuffled = generator.permutation(ratings.T).T
    for coefficient in (gwet_ac1, krippendorff_alpha):
        value = coefficient(ratings, resamples=20).value
        for other in (named, shuffled, generator.permutation(ratings)):
            assert coefficient(other, resamples=20).value == pytest.approx(value, abs=1e-12)


@few
@given(seeds)
def test_alpha_of_interval_ratings_ignores_origin_and_unit(seed: int) -> None:
    ratings = np.random.default_rng(seed).integers(1, 9, (15, 3)).astype(float)
    alpha = krippendorff_alpha(ratings, "interval", resamples=20).value
    assert krippendorff_alpha(ratings * 7.5 + 1e4, "interval", resamples=20).value == pytest.approx(alpha, abs=1e-9)
    ordinal = krippendorff_alpha(ratings, "ordinal", resamples=20).value
    assert krippendorff_alpha(np.exp(ratings), "ordinal", resamples=20).value == pytest.approx(ordinal, abs=1e-12)
    ratio = krippendorff_alpha(ratings, "ratio", resamples=20).value
    assert krippendorff_alpha(ratings * 7.5, "ratio", resamples=20).value == pytest.approx(ratio, abs=1e-12)


@few
@given(seeds)
def test_paired_comparison_is_antisymmetric_and_equals_mcnemar(seed: int) -> None:
    generator, truth, score = cohort(seed)
    a, b = (score > 0.5).astype(int), (score + generator.normal(0, 1, len(score)) > 0.5).astype(int)
    for name in ("sensitivity", "specificity", "accuracy", "ppv", "npv"):
        forward, backward = (compare_rates(name, truth, *pair) for pair in ((a, b), (b, a)))
        if forward.low is None:
            assert forward.null_reason == backward.null_reason is not None
            continue
        assert forward.difference == pytest.approx(-backward.difference, abs=1e-12)
        assert forward.low == pytest.approx(-backward.high, abs=1e-12)
        assert forward.p == pytest.approx(backward.p, abs=1e-12)
        assert forward.low <= forward.difference <= forward.high
    diseased = truth == 1
    only_a, only_b = np.sum(diseased & (a > b)), np.sum(diseased & (b > a))
    if only_a + only_b:
        theirs = mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue
        assert compare_rates("sensitivity", truth, a, b).p == pytest.approx(theirs)


@few
@given(seeds)
def test_calibration_equals_sklearn_and_logistic_regression(seed: int) -> None:
    _, truth, score = cohort(seed)
    probability = np.round(1 / (1 + np.exp(-score)), 2)
    filled = [b for b in calibration_bins(truth, probability, 10) if b.n]
    observed, predicted = calibration_curve(truth, probability, n_bins=10)
    assert [b.observed for b in filled] == pytest.approx(list(observed))
    assert [b.mean_probability for b in filled] == pytest.approx(list(predicted))
    thresholds = (0.2, 0.5)
    for t, benefit in zip(thresholds, net_benefits(truth, probability, thresholds), strict=True):
        call = probability >= t
        by_hand = np.mean(call & (truth == 1)) - np.mean(call & (truth == 0)) * t / (1 - t)
        assert benefit.value == pytest.approx(by_hand, abs=1e-12)


def test_calibration_slope_equals_sklearn() -> None:
    from sklearn.linear_model import LogisticRegression

    _, truth, score = cohort(3, n=500)
    probability = 1 / (1 + np.exp(-2 * score))
    slope = calibration_slope(truth, probability)
    fit = LogisticRegression(C=np.inf, tol=1e-10).fit(2 * score[:, np.newaxis], truth)
    assert slope.value == pytest.approx(fit.coef_[0, 0], abs=1e-4)
    assert slope.low < slope.value < slope.high


@few
@given(seeds)
def test_interaction_test_equals_scipy_and_approaches_it_when_clustered(seed: int) -> None:
    generator = np.random.default_rng(seed)
    levels = np.array(["one", "two", "three"])[generator.integers(0, 3, 3000)]
    right = (generator.random(3000) < 0.8).astype(int)
    result = interaction_test(right, levels)
    table = [[np.sum((levels == name) & (right == value)) for value in (0, 1)] for name in np.unique(levels)]
    expected = stats.chi2_contingency(table, correction=False)
    assert (result.statistic, result.p, result.df) == pytest.approx((expected.statistic, expected.pvalue, 2))
    halves = interaction_test(right - 0.5, levels)  # These are not 0/1, so the score test of the same contrast is used.
    assert halves.test == "cluster_score"
    assert halves.statistic == pytest.approx(result.statistic, rel=0.1, abs=0.1)


@few
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_is_monotone_and_at_least_the_raw_p(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    assert all(a >= p or a == pytest.approx(p) for a, p in zip(adjusted, p_values, strict=True))
    order = np.argsort(p_values, kind="stable")
    assert np.all(np.diff(np.array(adjusted)[order]) >= -1e-12)
    assert holm([None, *p_values, None]) == [None, *adjusted, None]
    assert adjusted == pytest.approx(multipletests(p_values, method="holm")[1])


@few
@given(seeds)
def test_intervals_hold_the_value_and_stay_within_bounds(seed: int) -> None:
    generator, truth, score = cohort(seed)
    call = (score > 0.5).astype(int)
    for subjects in (None, generator.integers(0, 25, len(truth))):
        for name in RATES:
            estimate = estimate_rate(name, truth, call, subjects, resamples=200)
            if estimate.low is None:
                assert estimate.null_reason is not None
                continue
            lower = -1.0 if name == "mcc" else 0.0
            upper = np.inf if name.startswith("lr") else 1.0
            assert lower <= estimate.low <= estimate.value <= estimate.high <= upper, (name, estimate)


@few
@given(seeds)
def test_logit_interval_of_the_auc_is_symmetric_on_its_scale(seed: int) -> None:
    _, truth, score = cohort(seed)
    linear, logit = (delong_interval(truth, score, scale=scale) for scale in ("linear", "logit"))
    assert (logit.value, logit.se) == (linear.value, linear.se)
    transformed = special.logit([logit.low, logit.value, logit.high])
    assert transformed[1] - transformed[0] == pytest.approx(transformed[2] - transformed[1], rel=1e-6)
    assert 0 < logit.low < logit.high < 1
    slope = logit.value * (1 - logit.value)  # By this slope of the inverse logit both intervals agree to first order.
    assert slope * (transformed[2] - transformed[1]) == pytest.approx(stats.norm.ppf(0.975) * linear.se, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_clustered_predictive_values_equal_statsmodels_score_test(seed: int) -> None:
    """Leisenring's generalised score test is the score test of a GEE: truth on the test that made the call."""
    generator, truth, score = cohort(seed, n=120)
    calls = [(score + generator.normal(size=len(score)) > 0).astype(int) for _ in range(2)]
    subject = np.arange(len(truth)) // 3
    made = np.concatenate(calls) == 1
    outcome, of_b = np.tile(truth, 2)[made], np.repeat([0, 1], len(truth))[made]
    design, groups = np.column_stack([np.ones(made.sum()), of_b]), np.tile(subject, 2)[made]
    options = {"groups": groups, "family": sm.families.Binomial(), "cov_struct": sm.cov_struct.Independence()}
    null = sm.GEE(outcome, design[:, :1], **options).fit()
    expected = sm.GEE(outcome, design, **options).compare_score_test(null)
    result = paired_predictive_values(truth, *calls, subject).ppv  # type: ignore[arg-type, call-arg]
    assert result.test == "clustered_generalised_score"
    assert (result.statistic, result.p) == pytest.approx((expected["statistic"], expected["p-value"]), rel=1e-6)


@pytest.mark.parametrize(("k", "n"), [((56, 48), (70, 80)), ((9, 3), (10, 10)), ((6, 2), (7, 7)), ((10, 0), (10, 20))])
def test_the_difference_of_two_levels_equals_statsmodels(k: tuple[int, int], n: tuple[int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    inside = np.repeat([True, False], n)
    outcome = np.concatenate([np.arange(units) < hits for hits, units in zip(k, n, strict=True)]).astype(float)
    result = level_difference(outcome, inside)
    expected = confint_proportions_2indep(k[0], n[0], k[1], n[1], method="newcomb")
    assert (result.low, result.high) == pytest.approx(expected, abs=1e-9)
    assert result.difference == pytest.approx(k[0] / n[0] - k[1] / n[1])
