"""Figures of a score as they would be at another prevalence, from a cohort that was enriched with diseased subjects.

A figure at a target prevalence weights the diseased so that they make up this share, and the healthy so that they make
up the rest. It assumes that the cohort's diseased and healthy are each like those of the target population. The
probabilities stay as they are. Where the share of the diseased is fixed, only the differences among the diseased and
those among the healthy make a figure uncertain, so the variance is that of a sample stratified by class.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.calibration import (
    MAX_ITERATIONS,
    MAX_STEP,
    PROBABILITY_MARGIN,
    CalibrationBin,
    as_probabilities,
    calibration_bins,
)
from diagchd_batch.statistics.classification.combined_limits import combine_limits
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, check_level, complete, count_subjects, subject_codes
from diagchd_batch.statistics.resampling import totals_by_subject

HEALTHY_AT_PREVALENCE = {
    "average_precision": 50,
    "brier": 10,
    "calibration_intercept": 10,
    "calibration_slope": 10,
}
"""Figure → the least number of healthy subjects, times the target prevalence, with which its interval was measured to
hold. With fewer, the few healthy who score highest, on whom the figure depends, are not in most cohorts."""

_Influence = tuple[float, np.ndarray]
"""A figure, and its derivative for each unit, before the division by the size of the unit's class."""


def estimate_at_prevalence(
    name: str,
    truth: ArrayLike,
    probability: ArrayLike,
    prevalence: float,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Estimate:
    """Return average precision, Brier score, calibration intercept or slope, reweighted to a target prevalence.

    The variance is linearised and stratified by class, and summed within subjects that have several units. Limits have
    Student's quantile on the subjects of the smaller class less one. Average precision and Brier score have their
    limits on the logit scale.

    Args:
        name: `average_precision`, `brier`, `calibration_intercept` or `calibration_slope`.
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].
        prevalence: Strictly between 0 and 1, taken as known without error.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `no_units` or `one_class`; a slope also with `separation` or `zero_variance`. Without an
        interval, `no_valid_interval`, where the healthy subjects times the prevalence are fewer than
        `HEALTHY_AT_PREVALENCE`; `too_few_subjects`, where there is one diseased subject; and `zero_variance`, where no
        unit changes the figure.

    Raises:
        StatisticsError: The name is unknown, the prevalence is not strictly between 0 and 1, or a probability lies
            outside [0, 1].

    Source: linearisation in strata: Binder (1983), Int Stat Rev 51:279, as R's survey package computes it (Lumley 2010,
    Complex Surveys, ch. 2 and 6).
    """
    if name not in _FIGURES:
        raise StatisticsError(f"unknown figure {name!r}: use one of {', '.join(_FIGURES)}")
    _check_prevalence(prevalence)
    check_level(level)
    truth, probability = as_binary(truth, "truth"), as_probabilities(probability)
    known = complete(truth, probability)
    codes = subject_codes(subjects, known)
    truth, probability, n = truth[known], probability[known], int(known.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    n_subjects = count_subjects(codes)
    if truth.min() == truth.max():
        return Estimate.null(NullReason.ONE_CLASS, n, n_subjects=n_subjects)
    found = _FIGURES[name](truth == 1, probability, prevalence)
    if isinstance(found, NullReason):
        return Estimate.null(found, n, n_subjects=n_subjects)
    value, derivative = found
    healthy, diseased = (count_subjects(codes[truth == label]) for label in (0, 1))
    if min(healthy, diseased) < 2:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=n_subjects)
    se = _stratified_standard_error(truth == 1, derivative, codes)
    is_share = name in ("average_precision", "brier")
    if se <= 1e-12 or (is_share and not 0 < value < 1):
        return Estimate(value, None, None, None, n, null_reason=NullReason.ZERO_VARIANCE, n_subjects=n_subjects)
    if healthy * prevalence < HEALTHY_AT_PREVALENCE[name]:
        return Estimate(value, se, None, None, n, null_reason=NullReason.NO_VALID_INTERVAL, n_subjects=n_subjects)
    half = float(special.stdtrit(min(healthy, diseased) - 1, (1 + level) / 2)) * se
    if not is_share:
        return Estimate(value, se, value - half, value + half, n, "stratified_linearised", n_subjects=n_subjects)
    reach = half / (value * (1 - value))
    low, high = (float(special.expit(special.logit(value) + sign * reach)) for sign in (-1, 1))
    return Estimate(value, se, low, high, n, "stratified_linearised_logit", n_subjects=n_subjects)


def calibration_bins_at_prevalence(
    truth: ArrayLike,
    probability: ArrayLike,
    prevalence: float,
    subjects: ArrayLike | None = None,
    *,
    bins: int = 10,
    level: float = 0.95,
) -> list[tuple[CalibrationBin, Estimate]]:
    """Return equal-width bins of the probability, with the share of the diseased at a target prevalence.

    By Bayes' rule it follows from the share of all diseased that are in the bin, and that of all healthy. The limits
    are those of the ratio of these two shares, as of a likelihood ratio.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].
        prevalence: Strictly between 0 and 1, taken as known without error.
        subjects: One id a unit; without them every unit is its own subject.
        bins: Number of bins.
        level: Confidence level, between 0 and 1.

    Returns:
        For each bin its counts as observed with its mean probability at the prevalence, and the share of the diseased
        with its interval. The share is null with `zero_denominator` in an empty bin. There are no bins if the units
        are of one class.

    Raises:
        StatisticsError: The prevalence is not strictly between 0 and 1, `bins` is less than 1, or a probability lies
            outside [0, 1].

    Source: limits of the ratio: Donner & Zou (2012), Stat Methods Med Res 21:347.
    """
    _check_prevalence(prevalence)
    truth, probability = as_binary(truth, "truth"), as_probabilities(probability)
    known = complete(truth, probability)
    codes = subject_codes(subjects, known)
    truth, probability = truth[known], probability[known]
    if len(truth) == 0 or truth.min() == truth.max():
        return []
    share = np.where(truth == 1, prevalence / truth.sum(), (1 - prevalence) / (1 - truth).sum())
    found = []
    for place, one in enumerate(calibration_bins(truth, probability, bins)):
        inside = (probability > one.low) & (probability <= one.high) | ((place == 0) & (probability == 0))
        observed = _share_in_bin(inside, truth, codes, prevalence, level)
        mean = float(np.average(probability[inside], weights=share[inside])) if one.n else None
        found.append((replace(one, mean_probability=mean, observed=observed.value), observed))
    return found


def predictive_values_at_prevalence(
    cells: np.ndarray, prevalence: float, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Return the PPV and NPV at a target prevalence, by Bayes' rule, from counts that are summed within subjects.

    Their limits follow from those of the likelihood ratios. They hold where few calls are wrong, unlike those of
    `predictive_values_at`, which other programs print.

    Args:
        cells: Array of shape (n_subjects, 4): TP, FP, FN, TN.
        prevalence: Strictly between 0 and 1, taken as known without error.
        level: Confidence level, between 0 and 1.

    Returns:
        PPV and NPV. Null with `no_units`, `one_class`, or `zero_denominator` (no such call at all). Without an
        interval, `too_few_subjects`, where one subject has all diseased or all healthy units, several of them.

    Raises:
        StatisticsError: The prevalence is not strictly between 0 and 1.

    Source: limits of the ratio: Donner & Zou (2012), Stat Methods Med Res 21:347.
    """
    _check_prevalence(prevalence)
    n, (tp, fp, fn, tn) = int(cells.sum()), cells.sum(axis=0) if len(cells) else np.zeros(4)
    if tp + fn == 0 or fp + tn == 0:
        null = Estimate.null(NullReason.NO_UNITS if n == 0 else NullReason.ONE_CLASS, n, n_subjects=len(cells))
        return null, null
    odds = prevalence / (1 - prevalence)
    ppv, npv = _by_bayes(cells, odds, level), _by_bayes(cells[:, [3, 2, 1, 0]], 1 / odds, level)
    return replace(ppv, n=n), replace(npv, n=n)


def _by_bayes(cells: np.ndarray, odds: float, level: float) -> Estimate:
    """Return P(condition | call) at given odds of the condition: odds × LR+ turned into a share.

    The columns are right calls, wrong calls, missed units with the condition, and units without condition and call.
    """
    right, wrong = cells[:, 0].sum(), cells[:, 1].sum()
    if right + wrong == 0:
        return Estimate.null(NullReason.ZERO_DENOMINATOR, int(cells.sum()), n_subjects=len(cells))
    if wrong == 0:  # the ratio is infinite, so its inverse is taken: the conditions change places
        cells, odds = cells[:, [1, 0, 3, 2]], 1 / odds
    ratio = combine_limits("lr_positive", cells, level)
    ends = [None if x is None else odds * x / (1 + odds * x) for x in (ratio.value, ratio.low, ratio.high)]
    if wrong == 0:
        ends = [None if end is None else 1 - end for end in (ends[0], ends[2], ends[1])]
    return replace(ratio, value=ends[0], low=ends[1], high=ends[2])


def _share_in_bin(
    inside: np.ndarray, truth: np.ndarray, codes: np.ndarray, prevalence: float, level: float
) -> Estimate:
    """Return the share of the diseased in a bin."""
    n = int(inside.sum())
    if n == 0:
        return Estimate.null(NullReason.ZERO_DENOMINATOR)
    columns = np.stack([truth * inside, (1 - truth) * inside, truth * ~inside, (1 - truth) * ~inside], axis=1)
    cells = totals_by_subject(columns, codes)
    return replace(_by_bayes(cells, prevalence / (1 - prevalence), level), n=n)


def _check_prevalence(prevalence: float) -> None:
    if not 0 < prevalence < 1:
        raise StatisticsError(f"prevalence must lie strictly between 0 and 1, got {prevalence!r}")


def _stratified_standard_error(diseased: np.ndarray, derivative: np.ndarray, codes: np.ndarray) -> float:
    """Return the standard error: in each class the derivatives less their mean, summed within subjects."""
    influence = np.empty(len(derivative))
    for inside in (diseased, ~diseased):
        n_subjects = count_subjects(codes[inside])
        factor = math.sqrt(n_subjects / (n_subjects - 1)) / int(inside.sum())
        influence[inside] = factor * (derivative[inside] - derivative[inside].mean())
    return float(np.sqrt(np.sum(np.bincount(codes, weights=influence) ** 2)))


def _brier(diseased: np.ndarray, probability: np.ndarray, prevalence: float) -> _Influence:
    derivative = np.where(diseased, prevalence * (1 - probability) ** 2, (1 - prevalence) * probability**2)
    return float(derivative[diseased].mean() + derivative[~diseased].mean()), derivative


def _average_precision(diseased: np.ndarray, probability: np.ndarray, prevalence: float) -> _Influence:
    """Return the sum over thresholds of precision × gain in recall, at the target prevalence."""
    order = np.argsort(-probability, kind="stable")
    is_diseased = diseased[order]
    ends = np.flatnonzero(np.r_[np.diff(probability[order]) != 0, True])  # the last unit of each distinct score
    group = np.zeros(len(order), dtype=np.int64)
    group[ends[:-1] + 1] = 1
    group = np.cumsum(group)
    recall = np.cumsum(is_diseased)[ends] / is_diseased.sum()
    false_share = np.cumsum(~is_diseased)[ends] / (~is_diseased).sum()
    hit, false = prevalence * recall, (1 - prevalence) * false_share
    precision = hit / (hit + false)
    gain = np.diff(recall, prepend=0.0)
    # A unit changes the precision at its own and at every lower threshold.
    by_recall = prevalence * false / (hit + false) ** 2
    by_false_share = -(1 - prevalence) * hit / (hit + false) ** 2
    of_diseased = precision + np.cumsum((gain * by_recall)[::-1])[::-1]
    of_healthy = np.cumsum((gain * by_false_share)[::-1])[::-1]
    derivative = np.empty(len(order))
    derivative[order] = np.where(is_diseased, of_diseased[group], of_healthy[group])
    return float(gain @ precision), derivative


def _intercept(diseased: np.ndarray, probability: np.ndarray, prevalence: float) -> _Influence | NullReason:
    logit = _logit(probability)
    return _logistic(diseased, np.ones((len(logit), 1)), logit, prevalence)


def _slope(diseased: np.ndarray, probability: np.ndarray, prevalence: float) -> _Influence | NullReason:
    logit = _logit(probability)
    if logit.min() == logit.max():
        return NullReason.ZERO_VARIANCE
    of_diseased, of_healthy = logit[diseased], logit[~diseased]
    if of_diseased.min() >= of_healthy.max() or of_diseased.max() <= of_healthy.min():
        return NullReason.SEPARATION
    return _logistic(diseased, np.column_stack([np.ones(len(logit)), logit]), np.zeros(len(logit)), prevalence)


def _logit(probability: np.ndarray) -> np.ndarray:
    return special.logit(np.clip(probability, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN))


def _logistic(
    diseased: np.ndarray, design: np.ndarray, offset: np.ndarray, prevalence: float
) -> _Influence | NullReason:
    """Fit a weighted logistic regression by Newton's method, and return its last coefficient."""
    share = np.where(diseased, prevalence, 1 - prevalence)
    weight = share / np.where(diseased, diseased.sum(), (~diseased).sum())
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_ITERATIONS):
        risk = special.expit(design @ coefficients + offset)
        information = (design * (weight * risk * (1 - risk))[:, np.newaxis]).T @ design
        score = design * (diseased - risk)[:, np.newaxis]
        if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < len(information):
            return NullReason.SEPARATION
        step = np.linalg.solve(information, weight @ score)
        if np.abs(step).max() <= 1e-10 * max(1.0, float(np.abs(coefficients).max())):
            return float(coefficients[-1]), share * np.linalg.solve(information, score.T)[-1]
        coefficients += np.clip(step, -MAX_STEP, MAX_STEP)
    return NullReason.SEPARATION


_FIGURES: dict[str, Callable[[np.ndarray, np.ndarray, float], _Influence | NullReason]] = {
    "average_precision": _average_precision,
    "brier": _brier,
    "calibration_intercept": _intercept,
    "calibration_slope": _slope,
}
