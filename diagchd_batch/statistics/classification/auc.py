"""Area under the ROC curve: DeLong's interval and paired test, and its jackknife; average precision under weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.proportions import normal_quantile
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import (
    as_binary,
    as_column,
    check_level,
    complete,
    count_subjects,
    subject_codes,
)
from diagchd_batch.statistics.resampling import WeightStatistic


@dataclass(frozen=True, slots=True)
class _Components:
    """DeLong's structural components: how each unit's score compares with all scores of the other class."""

    auc: float
    of_units: np.ndarray  # (n,): share of negatives below a positive; share of positives above a negative
    positive: np.ndarray  # (n,) bool


def delong_interval(
    truth: ArrayLike,
    score: ArrayLike,
    subjects: ArrayLike | None = None,
    level: float = 0.95,
    scale: Literal["linear", "logit", "score"] = "linear",
) -> Estimate:
    """Return the area under the ROC curve with DeLong's interval, limited to [0, 1].

    Where DeLong's variance is 0 or does not exist (AUC of 0 or 1, all scores tied, one unit of a class), the interval
    is Newcombe's method 5 (method `newcombe_mann_whitney`), which keeps a width.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        score: One number a unit; a higher one means positive.
        subjects: One id a unit. If a subject has several units, the variance is summed within subjects (method
            `delong_clustered`).
        level: Confidence level, between 0 and 1.
        scale: `linear` is DeLong's own interval. `logit` (method `delong_logit`) uses DeLong's standard error on the
            logit scale; it covers better in small cohorts and near 1 (Perme & Manevski 2019, Stat Methods Med Res
            28:3755). `score` (method `newcombe_delong`) covers best where few subjects of a class are misordered, as
            at a low prevalence: Newcombe's limits, with Student's quantile on the subjects of the smaller class, and
            with a variance between the one that his method assumes and DeLong's. DeLong's gets the weight w / (w + 1),
            where w is the number of subjects of the smaller class × (1 − AUC).

    Returns:
        The estimate. Null with `no_units` or `one_class`.

    Raises:
        StatisticsError: The scale is unknown, or an argument cannot be taken.

    Source: DeLong, DeLong & Clarke-Pearson (1988), Biometrics 44:837; Sun & Xu (2014), IEEE Signal Process Lett
    21:1389; clusters: Obuchowski (1997), Biometrics 53:567; Newcombe (2006), Stat Med 25:559, method 5.
    """
    z = normal_quantile(level)
    if scale not in ("linear", "logit", "score"):
        raise StatisticsError(f"unknown scale {scale!r}: use 'linear', 'logit' or 'score'")
    truth, score = as_binary(truth, "truth"), as_column(score, "score")
    known = complete(truth, score)
    n = int(known.sum())
    subjects = subject_codes(subjects, known)
    null = _null_reason(truth[known])
    if null:
        return Estimate.null(null, n)
    parts = _components(truth[known] == 1, score[known])
    n_subjects = int(subjects.max()) + 1
    variance = _covariance(parts, parts, subjects)
    # Correlated units carry less information than their number suggests.
    n_positive, n_negative = (count_subjects(subjects[units]) for units in (parts.positive, ~parts.positive))
    if variance is None or variance <= 1e-15:
        low, high = _newcombe_limits(parts.auc, n_positive, n_negative, z)
        return Estimate(parts.auc, None, low, high, n, "newcombe_mann_whitney", n_subjects=n_subjects)
    if scale == "score":
        low, high = _newcombe_delong_limits(parts.auc, variance, n_positive, n_negative, level)
        method = "newcombe_delong_clustered" if n_subjects < n else "newcombe_delong"
        return Estimate(parts.auc, math.sqrt(variance), low, high, n, method, n_subjects=n_subjects)
    se = math.sqrt(variance)
    method = "delong_clustered" if n_subjects < n else "delong"
    if scale == "logit":
        logit, half = math.log(parts.auc / (1 - parts.auc)), z * se / (parts.auc * (1 - parts.auc))
        low, high = (float(special.expit(limit)) for limit in (logit - half, logit + half))
        method += "_logit"
    else:
        low, high = max(0.0, parts.auc - z * se), min(1.0, parts.auc + z * se)
    return Estimate(parts.auc, se, low, high, n, method, n_subjects=n_subjects)


def delong_paired(
    truth: ArrayLike,
    score_a: ArrayLike,
    score_b: ArrayLike,
    subjects: ArrayLike | None = None,
    level: float = 0.95,
    quantile: Literal["normal", "student"] = "normal",
) -> Comparison:
    """Compare two AUCs on the same units, a − b, with DeLong's interval and two-sided test.

    Args:
        truth: One 0 or 1 a unit; units with a missing value in any argument are left out.
        score_a: One number a unit; a higher one means positive.
        score_b: One number a unit; a higher one means positive.
        subjects: As in `delong_interval`.
        level: Confidence level, between 0 and 1.
        quantile: `normal` is DeLong's own z test. `student` (methods `delong_student` and `delong_clustered_student`)
            takes interval and test from Student's t with Satterthwaite's degrees of freedom. With ten diseased, their
            ten structural components decide the variance, and the z test rejects 7 to 9 % where nothing differs.

    Returns:
        The comparison. If the two scores are equal (`identical_calls`), or differ but order the units alike
        (`identical_ranks`), the difference is 0 without interval or test. Otherwise null with `no_units`,
        `one_class`, `too_few_subjects` or `zero_variance`.

    Raises:
        StatisticsError: The quantile is unknown, or an argument cannot be taken.

    Source: as in `delong_interval`; degrees of freedom: Satterthwaite (1946), Biometrics Bull 2:110, with the variances
    over the subjects of the two classes, as Brunner & Munzel (2000), Biom J 42:17, use them for one AUC.
    """
    check_level(level)
    if quantile not in ("normal", "student"):
        raise StatisticsError(f"unknown quantile {quantile!r}: use 'normal' or 'student'")
    truth = as_binary(truth, "truth")
    score_a, score_b = as_column(score_a, "score_a"), as_column(score_b, "score_b")
    known = complete(truth, score_a, score_b)
    n = int(known.sum())
    subjects = subject_codes(subjects, known)
    null = _null_reason(truth[known])
    if null:
        return Comparison.null(null, n)
    a, b = (_components(truth[known] == 1, score[known]) for score in (score_a, score_b))
    n_subjects = int(subjects.max()) + 1
    known_values: dict[str, Any] = {
        "value": a.auc,
        "comparator_value": b.auc,
        "difference": a.auc - b.auc,
        "n_subjects": n_subjects,
    }
    of_a, of_b, of_both = (_covariance(*pair, subjects) for pair in ((a, a), (b, b), (a, b)))
    if of_a is None or of_b is None or of_both is None:
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, **known_values)
    variance = of_a + of_b - 2 * of_both
    if variance <= 1e-15:
        reason = NullReason.ZERO_VARIANCE
        if np.array_equal(a.of_units, b.of_units):
            equal = np.array_equal(score_a[known], score_b[known])
            reason = NullReason.IDENTICAL_CALLS if equal else NullReason.IDENTICAL_RANKS
        return Comparison.null(reason, n, **known_values)
    se = math.sqrt(variance)
    statistic = (a.auc - b.auc) / se
    method, df = "delong_clustered" if n_subjects < n else "delong", None
    if quantile == "student":
        difference = _Components(a.auc - b.auc, a.of_units - b.of_units, a.positive)
        df = _satterthwaite(difference, subjects)
        method = f"{method}_student"
    half = (normal_quantile(level) if df is None else float(special.stdtrit(df, (1 + level) / 2))) * se
    tail = special.ndtr(-abs(statistic)) if df is None else special.stdtr(df, -abs(statistic))
    return Comparison(
        se=se,
        low=max(-1.0, a.auc - b.auc - half),
        high=min(1.0, a.auc - b.auc + half),
        n=n,
        method=method,
        test=method,
        statistic=statistic,
        df1=None if df is None else 1,
        df2=df,
        p=float(2 * tail),
        **known_values,
    )


def jackknife_auc(positive: np.ndarray, score: np.ndarray, subjects: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the AUC, and the AUC without each subject.

    The values are exact: the pairs that a subject's units form with all others are taken from the structural
    components.

    Args:
        positive: Array of shape (n_units,), dtype bool.
        score: Array of shape (n_units,), float.
        subjects: Array of shape (n_units,) of integers 0 … S − 1.

    Returns:
        The AUC, and an array of shape (S,), NaN where a deletion leaves one class.
    """
    parts = _components(positive, score)
    n_subjects = int(subjects.max()) + 1
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    own_positive = np.bincount(subjects[positive], minlength=n_subjects)
    own_negative = np.bincount(subjects[~positive], minlength=n_subjects)
    opposite = np.where(positive, n_negative, n_positive)
    lost = np.bincount(subjects, weights=parts.of_units * opposite, minlength=n_subjects)
    for subject in np.flatnonzero((own_positive > 0) & (own_negative > 0)):  # pairs within a subject are lost only once
        units = subjects == subject
        above = score[units & positive][:, np.newaxis] - score[units & ~positive]
        lost[subject] -= np.sum(above > 0) + np.sum(above == 0) / 2
    pairs = (n_positive - own_positive) * (n_negative - own_negative)
    kept = parts.auc * n_positive * n_negative - lost
    return parts.auc, np.divide(kept, pairs, out=np.full(n_subjects, np.nan), where=pairs > 0)


def average_precision_under_weights(
    positive: np.ndarray, score: np.ndarray, column_of_unit: np.ndarray
) -> WeightStatistic:
    """Return average precision as a function of weights.

    It is the sum over thresholds of precision × gain in recall, without interpolation, as scikit-learn's
    `average_precision_score` defines it.

    Args:
        positive: Array of shape (n_units,), dtype bool.
        score: Array of shape (n_units,), float.
        column_of_unit: Array of shape (n_units,): the column of the weights that holds the unit's subject.
    """
    sums = class_sums_by_score(positive, -score, column_of_unit)

    def statistic(weights: np.ndarray) -> np.ndarray:
        positives, negatives = sums(weights)
        called = np.cumsum(positives + negatives, axis=1)
        precision = _divide(
            np.cumsum(positives, axis=1), called, empty=0.0
        )  # no weight so far: recall gains nothing either
        # Undefined with one class, like the AUC: without a negative it would be 1 for any score.
        both = np.where(negatives.sum(axis=1) > 0, positives.sum(axis=1), 0.0)
        return _divide(np.einsum("rg,rg->r", positives, precision), both)

    return statistic


def class_sums_by_score(
    positive: np.ndarray, score: np.ndarray, column_of_unit: np.ndarray
) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Return a function from weights to sums over positives and over negatives.

    Both sums have the shape (resamples, distinct scores), with the scores in ascending order.

    Args:
        positive: Array of shape (n_units,), dtype bool.
        score: Array of shape (n_units,), float.
        column_of_unit: Array of shape (n_units,): the column of the weights that holds the unit's subject.
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    sign, columns = positive[order].astype(np.float64), column_of_unit[order]

    def sums(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of_units = weights[:, columns]
        if len(starts) == len(columns):  # without ties each sum has one unit
            positives = of_units * sign
            return positives, of_units - positives
        everything = np.add.reduceat(of_units, starts, axis=1)
        positives = np.add.reduceat(of_units * sign, starts, axis=1)
        return positives, everything - positives

    return sums


def _divide(numerator: np.ndarray, denominator: np.ndarray, empty: float = np.nan) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(denominator.shape, empty), where=denominator > 0)


def _null_reason(truth: np.ndarray) -> NullReason | None:
    if len(truth) == 0:
        return NullReason.NO_UNITS
    return NullReason.ONE_CLASS if truth.min() == truth.max() else None


def _components(positive: np.ndarray, score: np.ndarray) -> _Components:
    n_positive, n_negative = int(positive.sum()), int((~positive).sum())
    of_units = np.empty(len(score))
    of_units[positive] = _number_below(score[positive], score[~positive]) / n_negative
    of_units[~positive] = 1 - _number_below(score[~positive], score[positive]) / n_positive
    return _Components(float(of_units[positive].mean()), of_units, positive)


def _number_below(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return how many of the others lie below each value. Equal ones count half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2


def _covariance(a: _Components, b: _Components, subjects: np.ndarray) -> float | None:
    """Return the covariance of two AUCs of the same units: DeLong's with one unit a subject, else Obuchowski's."""
    n_subjects = int(subjects.max()) + 1
    sums, variance = {}, 0.0
    for in_class in (True, False):
        units = a.positive == in_class
        n_clusters = count_subjects(subjects[units])
        if n_clusters < 2:
            return None
        for name, parts in (("a", a), ("b", b)):
            sums[in_class, name] = _subject_sums(parts, in_class, subjects)
        variance += n_clusters / (n_clusters - 1) * float(sums[in_class, "a"] @ sums[in_class, "b"])
    crossed = sums[True, "a"] @ sums[False, "b"] + sums[False, "a"] @ sums[True, "b"]
    return variance + n_subjects / (n_subjects - 1) * float(crossed)


def _subject_sums(parts: _Components, in_class: bool, subjects: np.ndarray) -> np.ndarray:
    """Return what each subject's units of one class add to the mean of that class's components."""
    units = parts.positive == in_class
    deviations = parts.of_units[units] - parts.auc
    return np.bincount(subjects[units], weights=deviations, minlength=int(subjects.max()) + 1) / units.sum()


def _satterthwaite(parts: _Components, subjects: np.ndarray) -> float:
    """Return Satterthwaite's degrees of freedom of the sum of the two classes' variances, at least 1."""
    total, uncertainty = 0.0, 0.0
    for in_class in (True, False):
        n_clusters = count_subjects(subjects[parts.positive == in_class])
        sums = _subject_sums(parts, in_class, subjects)
        variance = n_clusters / (n_clusters - 1) * float(sums @ sums)
        total, uncertainty = total + variance, uncertainty + variance**2 / (n_clusters - 1)
    return max(total**2 / uncertainty, 1.0) if uncertainty > 0 else 1.0


def _newcombe_delong_limits(
    auc: float, variance: float, n_positive: int, n_negative: int, level: float
) -> tuple[float, float]:
    """Return Newcombe's limits with a variance that moves from Hanley and McNeil's to DeLong's as evidence grows.

    DeLong's variance comes from the misordered pairs, so it is far too small where chance left few of them. The
    variance that Newcombe's method assumes does not depend on them, but is wrong for scores of unequal spread.
    """
    smaller = min(n_positive, n_negative)
    evidence = smaller * min(auc, 1 - auc)
    weight = evidence / (evidence + 1)
    assumed = _hanley_mcneil_variance(auc, n_positive, n_negative)
    factor = weight * variance / assumed + 1 - weight if assumed > 0 else 1.0
    quantile = float(special.stdtrit(max(smaller - 1, 1), (1 + level) / 2))
    return _newcombe_limits(auc, n_positive, n_negative, quantile * math.sqrt(factor))


def _hanley_mcneil_variance(theta: float, n_positive: int, n_negative: int) -> float:
    """Return Hanley and McNeil's (1982) variance of an AUC of θ, with Newcombe's mean of the two class sizes."""
    effective = (n_positive + n_negative) / 2 - 1
    spread = 1 + effective * ((1 - theta) / (2 - theta) + theta / (1 + theta))
    return theta * (1 - theta) * spread / (n_positive * n_negative)


def _newcombe_limits(auc: float, n_positive: int, n_negative: int, z: float) -> tuple[float, float]:
    """Return the limits where |auc − θ| = z · se(θ): Newcombe (2006), method 5, with Hanley & McNeil's variance."""
    n_positive, n_negative = max(n_positive, 1), max(n_negative, 1)

    def excess(theta: float) -> float:
        return (auc - theta) ** 2 - z**2 * _hanley_mcneil_variance(theta, n_positive, n_negative)

    margin = 1e-12  # at an AUC of exactly 0 or 1 the end itself is a root, but it is not the limit
    low = 0.0 if auc <= 0 else optimize.brentq(excess, 0.0, min(auc, 1 - margin))
    high = 1.0 if auc >= 1 else optimize.brentq(excess, max(auc, margin), 1.0)
    return float(low), float(high)
