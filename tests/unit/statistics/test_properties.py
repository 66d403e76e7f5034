"""What holds for every public statistic on any cohort, also one of a single class, of one subject, or of tied scores.

Limits lie in the possible range and the estimate between them. An interval has a width, or there is none and the reason
stands beside it. No test stands beside a difference that is missing or that no call supports.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from diagchd_batch.statistics import calibration, classification, segmentation
from diagchd_batch.statistics.agreement import coefficients
from diagchd_batch.statistics.agreement.krippendorff import krippendorff_alpha
from diagchd_batch.statistics.classification.confusion import RATES, difference_bounds, rate_bounds
from diagchd_batch.statistics.classification.partial_verification import begg_greenes
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.multireader import random_readers, reader_groups
from diagchd_batch.statistics.net_benefit import net_benefits
from diagchd_batch.statistics.resampling import totals_by_subject
from diagchd_batch.statistics.subgroups import auc_difference, level_difference
from diagchd_batch.statistics.target_prevalence import (
    calibration_bins_at_prevalence,
    estimate_at_prevalence,
    predictive_values_at_prevalence,
)

SHARE = (0.0, 1.0)
RESAMPLES = 30
Named = Iterator[tuple[str, Estimate | Comparison, tuple[float, float]]]


@dataclass(frozen=True)
class Cohort:
    """Arrays [units]; `reads` is [units, readers] and may hold NaN."""

    truth: np.ndarray
    reads: np.ndarray
    score: np.ndarray
    other: np.ndarray
    subjects: np.ndarray | None


@st.composite
def cohorts(draw: st.DrawFn) -> Cohort:
    n = draw(st.integers(1, 24))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    prevalence = draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    truth = (rng.random(n) < prevalence).astype(float)
    right = draw(st.sampled_from((0.0, 0.7, 1.0)))
    reads = np.where(rng.random((n, 4)) < right, truth[:, None], 1 - truth[:, None])
    reads[:, 1:][rng.random((n, 3)) < draw(st.sampled_from((0.0, 0.3)))] = np.nan
    levels = draw(st.sampled_from((1, 3, 1000)))  # all scores tied, few values, or nearly all different
    score, other = (np.round(rng.random(n) * levels) / levels for _ in range(2))
    if draw(st.booleans()):
        score = (score + truth) / 2
    sharing = draw(st.sampled_from(("own", "pairs", "one")))
    subjects = {"own": None, "pairs": np.arange(n) // 2, "one": np.zeros(n)}[sharing]
    return Cohort(truth, reads, score if levels > 1 else np.full(n, 0.5), other, subjects)


def of_one_rater(c: Cohort) -> Named:
    call = c.reads[:, 0]
    for name in RATES:
        for method in ("wilson", "exact"):
            estimate = classification.estimate_rate(name, c.truth, call, c.subjects, method=method, resamples=RESAMPLES)
            yield name, estimate, rate_bounds(name)
    for name in ("auc", "average_precision", "brier"):
        estimate = classification.estimate_score(name, c.truth, c.score, c.subjects, resamples=RESAMPLES)
        yield name, estimate, SHARE
    for scale in ("linear", "logit", "score"):
        yield f"delong {scale}", classification.delong_interval(c.truth, c.score, c.subjects, scale=scale), SHARE
    table = classification.confusion(c.truth, call)
    for prevalence in (0.001, 0.01, 0.5):
        for place, estimate in enumerate(classification.predictive_values_at(table, prevalence)):
            yield f"predictive value {place}", estimate, SHARE
    for name in ("lr_positive", "lr_negative"):
        yield name, classification.likelihood_ratio_log_interval(name, table), (0.0, math.inf)
    everywhere = (-math.inf, math.inf)
    yield "intercept", calibration.calibration_intercept(c.truth, c.score, c.subjects), everywhere
    yield "slope", calibration.calibration_slope(c.truth, c.score, c.subjects), everywhere
    yield "calibration error", calibration.expected_calibration_error(c.truth, c.score), SHARE
    cells = np.stack([c.truth * call, (1 - c.truth) * call, c.truth * (1 - call), (1 - c.truth) * (1 - call)], axis=1)
    cells = totals_by_subject(cells, np.arange(len(call)) if c.subjects is None else c.subjects.astype(int))
    for prevalence in (0.01, 0.9):
        for place, estimate in enumerate(predictive_values_at_prevalence(cells, prevalence)):
            yield f"predictive value {place} at {prevalence}", estimate, SHARE
        for name in ("average_precision", "brier", "calibration_intercept", "calibration_slope"):
            estimate = estimate_at_prevalence(name, c.truth, c.score, prevalence, c.subjects)
            yield f"{name} at {prevalence}", estimate, everywhere if "calibration" in name else SHARE
        for _, estimate in calibration_bins_at_prevalence(c.truth, c.score, prevalence, c.subjects):
            yield f"bin at {prevalence}", estimate, SHARE
    for threshold in (0.01, 0.5):
        bounds = (-threshold / (1 - threshold), 1.0)
        for prevalence_ in (None, 0.01):
            (estimate,) = net_benefits(c.truth, c.score, [threshold], c.subjects, prevalence=prevalence_)
            yield f"net benefit at {threshold}", estimate, bounds
    some = np.where(c.other < 0.6, c.truth, np.nan)
    for estimate in begg_greenes(some, call, c.subjects):
        yield "corrected for missing labels", estimate, SHARE
    yield "mean", segmentation.mean_of_studies(c.score, None, c.subjects, resamples=RESAMPLES), everywhere


def of_two_raters(c: Cohort) -> Named:
    a, b = c.reads[:, 0], c.reads[:, 1]
    for name in RATES:
        compared = classification.compare_rates(name, c.truth, a, b, c.subjects, resamples=RESAMPLES)
        yield name, compared, difference_bounds(name)
    yield "auc", classification.delong_paired(c.truth, c.score, c.other, c.subjects), (-1.0, 1.0)
    inside = c.other > 0.5
    yield "level", level_difference(a, inside, c.subjects), (-1.0, 1.0)
    subjects = np.arange(len(a)) if c.subjects is None else c.subjects
    aucs = [classification.estimate_score("auc", c.truth[r], c.score[r], subjects[r]) for r in (inside, ~inside)]
    yield "auc of a level", auc_difference(*aucs), (-1.0, 1.0)


def of_readers(c: Cohort) -> Named:
    model, readers = c.reads[:, 0], c.reads[:, 1:]
    for name in RATES:
        for random_readers_ in (False, True):
            for averaging in ("mean", "pooled"):
                group = reader_groups.readers_rate(
                    name,
                    c.truth,
                    readers,
                    c.subjects,
                    averaging=averaging,
                    random_readers=random_readers_,
                    resamples=RESAMPLES,
                )
                yield f"{name} {averaging} {random_readers_}", group, rate_bounds(name)
                against = reader_groups.model_versus_readers_rate(
                    name,
                    c.truth,
                    model,
                    readers,
                    c.subjects,
                    averaging=averaging,
                    random_readers=random_readers_,
                    resamples=RESAMPLES,
                )
                yield f"{name} {averaging} {random_readers_}", against, difference_bounds(name)
    measures: tuple[random_readers.Measure, ...] = ("auc", "sensitivity", "specificity")
    for measure in measures:
        yield measure, random_readers.readers_mean(c.truth, readers, measure, c.subjects), SHARE
        against = random_readers.model_versus_readers(c.truth, model, readers, measure, c.subjects)
        yield measure, against, (-1.0, 1.0)
        arms = c.reads.T.reshape(2, 2, -1)
        yield measure, random_readers.obuchowski_rockette(c.truth, arms, measure, c.subjects).comparison, (-1.0, 1.0)
        yield measure, random_readers.compare_arms_with_gaps(c.truth, arms, measure, c.subjects), (-1.0, 1.0)


def of_agreement(c: Cohort) -> Named:
    coefficient = (-math.inf, 1.0)
    counts = np.stack([np.sum(c.reads == call, axis=1) for call in (0, 1)], axis=1)
    yield "fleiss", coefficients.fleiss_kappa(counts, c.subjects, resamples=RESAMPLES), coefficient
    yield "ac1", coefficients.gwet_ac1(c.reads, (0, 1), c.subjects, resamples=RESAMPLES), coefficient
    yield "agreement", coefficients.percent_agreement(c.reads, c.subjects, resamples=RESAMPLES), SHARE
    yield "alpha", krippendorff_alpha(c.reads, "nominal", c.subjects, resamples=RESAMPLES), coefficient
    kappa = coefficients.cohen_kappa_of_ratings(
        c.reads[:, 0], c.reads[:, 1], None, (0, 1), c.subjects, resamples=RESAMPLES
    )
    yield "cohen", kappa, (-1.0, 1.0)


def test_percent_agreement_of_two_units_is_a_share() -> None:
    estimate = coefficients.percent_agreement([[0, 0, np.nan, 1], [0, np.nan, 0, np.nan]])
    assert estimate.low == 0 and estimate.high == 1


def assert_sound(name: str, result: Estimate | Comparison, bounds: tuple[float, float]) -> None:
    point = result.value if isinstance(result, Estimate) else result.difference
    assert (result.low is None) == (result.high is None), name
    if point is None:
        assert result.low is None and result.null_reason is not None, name
        assert getattr(result, "p", None) is None, name
        return
    assert bounds[0] - 1e-12 <= point <= bounds[1] + 1e-12, (name, result)
    if result.low is None or result.high is None:
        assert result.null_reason is not None, (name, result)
        assert getattr(result, "p", None) is None or result.null_reason != NullReason.IDENTICAL_CALLS, (name, result)
        return
    assert bounds[0] <= result.low and result.high <= bounds[1], (name, result)
    assert result.low - 1e-12 <= point <= result.high + 1e-12, (name, result)
    assert result.high - result.low > 1e-9, (name, result)
    assert result.method, name


@settings(max_examples=30, deadline=None)
@given(cohorts())
def test_figures_of_one_rater(cohort: Cohort) -> None:
    for named in of_one_rater(cohort):
        assert_sound(*named)


@settings(max_examples=30, deadline=None)
@given(cohorts())
def test_differences_of_two_raters(cohort: Cohort) -> None:
    for named in of_two_raters(cohort):
        assert_sound(*named)


@settings(max_examples=15, deadline=None)
@given(cohorts())
def test_groups_of_readers(cohort: Cohort) -> None:
    for named in of_readers(cohort):
        assert_sound(*named)


@settings(max_examples=30, deadline=None)
@given(cohorts())
def test_agreement(cohort: Cohort) -> None:
    for named in of_agreement(cohort):
        assert_sound(*named)
