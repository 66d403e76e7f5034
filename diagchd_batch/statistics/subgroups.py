"""Differences of performance between the levels of a covariate: one interval a level, one test a covariate."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.clustered import proportion_of_subjects
from diagchd_batch.statistics.classification.combined_limits import Share, correlation_over_subjects, sum_limits
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, subject_codes
from diagchd_batch.statistics.resampling import totals_by_subject


@dataclass(frozen=True, slots=True)
class InteractionTest:
    """Result of a test that a quantity is the same in all levels.

    If the test cannot be made, everything but the counts is None and `null_reason` says why.
    """

    test: str | None
    statistic: float | None
    df: int | None
    p: float | None
    n: int
    n_levels: int
    null_reason: NullReason | None = None


def interaction_test(outcome: ArrayLike, levels: ArrayLike, subjects: ArrayLike | None = None) -> InteractionTest:
    """Test that the mean outcome is the same in all levels of a covariate.

    Independent units with a 0/1 outcome get Pearson's chi-squared test. Everything else gets the score test with the
    variance summed over subjects, on L − 1 degrees of freedom for L levels.

    Args:
        outcome: One number a unit; missing values are left out. For the sensitivity it is 1 for a right call and 0 for
            a wrong one among the diseased. For a difference of two raters it is right by a minus right by b.
        levels: One level a unit, as `covariate_levels` returns them.
        subjects: One id a unit; without them every unit is its own subject.

    Returns:
        The test. Null with `no_units`, `one_level`, or `zero_variance` (all outcomes are equal).

    Raises:
        StatisticsError: The lengths differ, or a unit has no level.

    Source: Pearson (1900), Philos Mag 50:157; score test: Boos (1992), Am Stat 46:327.
    """
    outcome = as_column(outcome, "outcome")
    levels = np.asarray(levels, dtype=object)
    if levels.shape != outcome.shape:
        raise StatisticsError(f"levels must have one entry for each of {len(outcome)} units, got {levels.shape}")
    if pd.isna(levels).any():
        raise StatisticsError("a unit has no level: make the missing values a level of their own")
    known = ~np.isnan(outcome)
    outcome, n = outcome[known], int(known.sum())
    codes, names = pd.factorize(levels[known])
    of_units = subject_codes(subjects, known)
    n_levels = len(names)
    if n_levels < 2:
        return _null(NullReason.NO_UNITS if n == 0 else NullReason.ONE_LEVEL, n, n_levels)
    if outcome.min() == outcome.max():
        return _null(NullReason.ZERO_VARIANCE, n, n_levels)
    if of_units.max() + 1 == n and np.isin(outcome, (0, 1)).all():
        table = np.zeros((n_levels, 2))
        np.add.at(table, (codes, outcome.astype(int)), 1)
        result = stats.chi2_contingency(table, correction=False)
        return InteractionTest(
            "pearson_chi_squared", float(result.statistic), int(result.dof), float(result.pvalue), n, n_levels
        )
    member = np.eye(n_levels)[codes]
    residual = outcome - outcome.mean()
    # Score of a level with an estimated common mean: (in the level − share of the level) × residual, summed by subject.
    of_each = (member - member.mean(axis=0)) * residual[:, np.newaxis]
    scores = np.zeros((int(of_units.max()) + 1, n_levels))
    np.add.at(scores, of_units, of_each)
    variance = scores.T @ scores
    df = min(n_levels - 1, int(np.linalg.matrix_rank(variance)))
    if df == 0:
        return _null(NullReason.ZERO_VARIANCE, n, n_levels)
    total = scores.sum(axis=0)
    statistic = float(total @ np.linalg.pinv(variance, hermitian=True) @ total)
    return InteractionTest("cluster_score", statistic, df, float(stats.chi2.sf(statistic, df)), n, n_levels)


def level_difference(
    outcome: ArrayLike, inside: ArrayLike, subjects: ArrayLike | None = None, level: float = 0.95
) -> Comparison:
    """Compare the share of right outcomes in a level with that of all other units, level − others.

    Wilson's limits of both shares are combined (Newcombe's hybrid score interval), on effective numbers of units where
    a subject has several, and with their correlation where a subject has units inside and outside.

    Args:
        outcome: One 0 or 1 a unit; missing values are left out. For the sensitivity it is 1 for a right call and 0 for
            a wrong one among the diseased.
        inside: Whether a unit is in the level, one bool a unit.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        The comparison, without a test. Null with `no_units`, or with `zero_denominator`, where no unit is inside or
        none is outside. Without an interval, `too_few_subjects`, where all units inside or outside are of one subject.

    Raises:
        StatisticsError: The lengths differ, or an outcome is neither 0 nor 1.

    Source: Newcombe (1998), Stat Med 17:873, method 10; with correlation: Zou & Donner (2008), Stat Med 27:1693.
    """
    outcome, inside = as_binary(outcome, "outcome"), np.asarray(inside, dtype=bool)
    if inside.shape != outcome.shape:
        raise StatisticsError(f"inside must have one entry for each of {len(outcome)} units, got {inside.shape}")
    known = ~np.isnan(outcome)
    codes = subject_codes(subjects, known)
    outcome, inside, n = outcome[known], inside[known], int(known.sum())
    if n == 0:
        return Comparison.null(NullReason.NO_UNITS, n_subjects=0)
    columns = np.stack([outcome * inside, inside, outcome * ~inside, ~inside], axis=1)
    hits, units, other_hits, other_units = totals_by_subject(columns, codes).T
    own = proportion_of_subjects(hits, units, level=level)
    others = proportion_of_subjects(other_hits, other_units, level=level)
    correlation = correlation_over_subjects(hits, units, other_hits, other_units)
    return _difference(own, others, correlation, n, int(codes.max()) + 1)


def auc_difference(inside: Estimate, others: Estimate) -> Comparison:
    """Compare the AUC of a level with that of all other units, level − others, as independent estimates.

    Args:
        inside: The AUC of the level with its interval.
        others: That of the other units.

    Returns:
        The comparison, without a test. Null where one of the two is; without an interval where one has none.

    Source: limits: Zou & Donner (2008), Stat Med 27:1693.
    """
    return _difference(inside, others, 0.0, inside.n + others.n, None)


def _difference(a: Estimate, b: Estimate, correlation: float, n: int, n_subjects: int | None) -> Comparison:
    known: dict[str, Any] = {"value": a.value, "comparator_value": b.value, "n_subjects": n_subjects}
    if a.value is None or b.value is None:
        reason = a.null_reason if a.value is None else b.null_reason
        return Comparison.null(reason or NullReason.NO_UNITS, n, **known)
    difference = a.value - b.value
    if a.low is None or a.high is None or b.low is None or b.high is None:
        reason = a.null_reason if a.low is None else b.null_reason
        return Comparison.null(reason or NullReason.TOO_FEW_SUBJECTS, n, difference=difference, **known)
    minus_b = Share(b.value, b.low, b.high).times(-1)
    low, high = sum_limits(Share(a.value, a.low, a.high), minus_b, -correlation)
    clustered = any("effective_n" in (e.method or "") or "clustered" in (e.method or "") for e in (a, b))
    return Comparison(
        difference=difference,
        se=None,
        low=min(max(low, -1.0), difference),
        high=max(min(high, 1.0), difference),
        n=n,
        method="combined_limits_clustered" if clustered else "combined_limits",
        **known,
    )


def heterogeneity_test(estimates: Sequence[Estimate]) -> InteractionTest:
    """Test by Cochran's Q that independent estimates, one a level, are the same.

    Args:
        estimates: For example AUCs with their standard errors. Levels without a value or standard error are left out;
            `n_levels` counts the others.

    Returns:
        The test. Null with `one_level`.

    Source: Cochran (1954), Biometrics 10:101.
    """
    usable = [(e.value, e.se, e.n) for e in estimates if e.value is not None and e.se]
    n_levels, n = len(usable), sum(n for _, _, n in usable)
    if n_levels < 2:
        return _null(NullReason.ONE_LEVEL, n, n_levels)
    values, errors, _ = np.array(usable).T
    weights = errors**-2
    statistic = float(weights @ (values - weights @ values / weights.sum()) ** 2)
    df = n_levels - 1
    return InteractionTest("cochran_q", statistic, df, float(stats.chi2.sf(statistic, df)), n, n_levels)


def _null(reason: NullReason, n: int, n_levels: int) -> InteractionTest:
    return InteractionTest(None, None, None, None, n, n_levels, reason)
