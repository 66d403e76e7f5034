"""Predictive values: the paired comparison, and their values at another prevalence.

Predictive values are conditional on the call. Two tests' predictive values therefore have different denominators on
the same cohort, and McNemar's test does not apply to them.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.confusion import Confusion
from diagchd_batch.statistics.classification.proportions import normal_quantile
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, complete, count_subjects, subject_codes
from diagchd_batch.statistics.resampling import (
    linearised_estimate,
    totals_by_subject,
)


@dataclass(frozen=True, slots=True)
class PairedPredictiveValues:
    """The differences a − b of the positive and of the negative predictive value."""

    ppv: Comparison
    npv: Comparison


def paired_predictive_values(
    truth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> PairedPredictiveValues:
    """Compare the predictive values of two tests that were applied to the same units.

    The test is the weighted generalised score test (chi-squared, 1 df). If a subject has several units that one of the
    tests calls, the scores are summed within subjects. The interval is Student's with the linearised variance over
    subjects. Sign flips and exchanges within subjects reject too often here (docs/statistics.md).

    Args:
        truth: One 0 or 1 a unit; units with a missing value in any argument are left out.
        a: One call (0 or 1) a unit.
        b: One call (0 or 1) a unit.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        Two comparisons. Null with `no_units`, `identical_calls` or `zero_denominator` (a test without such calls).

    Source: Kosinski (2013), Stat Med 32:964; clusters: Leisenring, Alonzo & Pepe (2000), Biometrics 56:345, whose
    generalised score test (Boos 1992, Am Stat 46:327) takes its variance from independent clusters.
    """
    truth, a, b = as_binary(truth, "truth"), as_binary(a, "a"), as_binary(b, "b")
    known = complete(truth, a, b)
    subjects = subject_codes(subjects, known)
    diseased, positive_a, positive_b = (column[known] == 1 for column in (truth, a, b))
    return PairedPredictiveValues(
        ppv=_compare(diseased, positive_a, positive_b, subjects, level),
        npv=_compare(~diseased, ~positive_a, ~positive_b, subjects, level),
    )


def _compare(right: np.ndarray, a: np.ndarray, b: np.ndarray, subjects: np.ndarray, level: float) -> Comparison:
    """Compare one predictive value of two tests.

    `right` is the condition that a call asserts; `a` and `b` say which test makes the call.
    """
    n = len(right)
    if n == 0:
        return Comparison.null(NullReason.NO_UNITS)
    n_subjects = int(subjects.max()) + 1
    n_a, n_b = int(a.sum()), int(b.sum())
    value_a = float(right[a].mean()) if n_a else None
    value_b = float(right[b].mean()) if n_b else None
    known: dict[str, Any] = {"value": value_a, "comparator_value": value_b, "n_subjects": n_subjects}
    if value_a is None or value_b is None:
        return Comparison.null(NullReason.ZERO_DENOMINATOR, n, **known)
    difference = value_a - value_b
    if np.array_equal(a, b):
        return Comparison.null(NullReason.IDENTICAL_CALLS, n, difference=0.0, **known)

    columns = np.stack([a & right, a, b & right, b], axis=1).astype(np.float64)
    totals = totals_by_subject(columns, subjects)
    interval = linearised_estimate(totals, _difference, n=n, level=level, bounds=(-1.0, 1.0))
    pooled = (value_a * n_a + value_b * n_b) / (n_a + n_b)
    score = (totals[:, 0] - pooled * totals[:, 1]) / n_a - (totals[:, 2] - pooled * totals[:, 3]) / n_b
    called = subjects[a | b]
    if count_subjects(called) < len(called):  # a subject has two units with such a call
        test, variance = "clustered_generalised_score", float(score @ score) if n_subjects > 1 else 0.0
    else:
        shared = (np.sum(a & b & right) * (1 - pooled) ** 2 + np.sum(a & b & ~right) * pooled**2) / (n_a + n_b)
        test, variance = "weighted_generalised_score", (pooled * (1 - pooled) - 2 * shared) * (1 / n_a + 1 / n_b)
    tested: dict[str, Any] = {}
    if 0 < pooled < 1 and variance > 0:
        statistic = difference**2 / variance
        tested = {"test": test, "statistic": statistic, "df1": 1, "p": float(special.chdtrc(1, statistic))}
    return Comparison(
        difference=difference,
        se=interval.se,
        low=interval.low,
        high=interval.high,
        n=n,
        method=interval.method,
        null_reason=interval.null_reason,
        **tested,
        **known,
    )


def _difference(totals: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):  # no such call: NaN
        return totals[..., 0] / totals[..., 1] - totals[..., 2] / totals[..., 3]


def predictive_values_at(table: Confusion, prevalence: float, level: float = 0.95) -> tuple[Estimate, Estimate]:
    """Return the PPV and NPV that a table's sensitivity and specificity imply at another prevalence, by Bayes' rule.

    The intervals are on the logit scale. If a cell of the table is 0 they are the adjusted ones, whose limits come
    from z²/2 added to each cell.

    Args:
        table: Counts of independent units.
        prevalence: Strictly between 0 and 1, taken as known without error.
        level: Confidence level, between 0 and 1.

    Returns:
        PPV and NPV. Null with `no_units`, `one_class`, or `zero_denominator` (no positive, or no negative, call at
        all).

    Raises:
        StatisticsError: The prevalence is not strictly between 0 and 1.

    Source: Mercaldo, Lau & Zhou (2007), Stat Med 26:2170, sections 2.2 and 2.3.
    """
    if not 0 < prevalence < 1:
        raise StatisticsError(f"prevalence must lie strictly between 0 and 1, got {prevalence!r}")
    z = normal_quantile(level)
    if table.n == 0 or table.n_positive == 0 or table.n_negative == 0:
        null = Estimate.null(NullReason.NO_UNITS if table.n == 0 else NullReason.ONE_CLASS, table.n)
        return null, null
    odds = prevalence / (1 - prevalence)
    return (
        _by_bayes(table.tp, table.fn, table.fp, table.tn, odds, z),
        _by_bayes(table.tn, table.fp, table.fn, table.tp, 1 / odds, z),
    )


def _by_bayes(right: float, missed: float, wrong: float, correct: float, odds: float, z: float) -> Estimate:
    """Return P(condition | call) at given odds of the condition.

    The call is made in `right` of `right + missed` units where the condition holds, and in `wrong` of
    `wrong + correct` units where it does not.
    """
    n = int(right + missed + wrong + correct)
    if right + wrong == 0:
        return Estimate.null(NullReason.ZERO_DENOMINATOR, n)
    value = odds * right / (right + missed)
    value /= value + wrong / (wrong + correct)
    if 0 in (right, missed, wrong, correct):
        right, missed, wrong, correct = (cell + z**2 / 2 for cell in (right, missed, wrong, correct))
    logit = math.log(odds * right / (right + missed) * (wrong + correct) / wrong)
    half = z * math.sqrt(missed / right / (right + missed) + correct / wrong / (wrong + correct))
    low, high = (1 / (1 + math.exp(-limit)) for limit in (logit - half, logit + half))
    return Estimate(value, None, min(low, value), max(high, value), n, method="logit_known_prevalence")
