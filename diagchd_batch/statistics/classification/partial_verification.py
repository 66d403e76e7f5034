"""Sensitivity and specificity where only some units have a reference label, corrected by Begg and Greenes.

The correction assumes that, among units with the same call, those with a label are like those without one (missing at
random given the call). Then PPV and NPV of the labelled units hold for all, and Bayes' rule gives the rest.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.statistics.classification.clustered import proportion_of_subjects
from diagchd_batch.statistics.classification.combined_limits import Share, ratio_limits
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, check_level, complete, subject_codes
from diagchd_batch.statistics.resampling import totals_by_subject


def begg_greenes(
    truth: ArrayLike, call: ArrayLike, subjects: ArrayLike | None = None, level: float = 0.95
) -> tuple[Estimate, Estimate]:
    """Return sensitivity and specificity, corrected for units without a reference label.

    The odds of the sensitivity are PPV / (1 − NPV) × positive calls / negative calls. The limits combine Wilson's
    limits of PPV, of NPV and of the share of positive calls, on effective numbers of units where a subject has several.
    The standard error is the usual one; it does not enter the limits.

    Args:
        truth: One 0 or 1 a unit, missing where there is no reference label.
        call: One 0 or 1 a unit; units without a call are left out.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        Sensitivity and specificity. Null with `no_units`, with `one_class`, where all labelled units are of one class,
        or with `zero_denominator`, where there is no positive or no negative call with a label. Without an interval,
        `too_few_subjects`, where one subject has all labelled units of a call, several of them.

    Raises:
        StatisticsError: A value is neither 0, 1 nor missing.

    Source: Begg & Greenes (1983), Biometrics 39:207; standard error: Zhou (1993), Commun Stat Theory Methods 22:3177;
    limits: Donner & Zou (2012), Stat Methods Med Res 21:347.
    """
    check_level(level)
    truth, call = as_binary(truth, "truth"), as_binary(call, "call")
    complete(truth, call)
    called = ~np.isnan(call)
    codes = subject_codes(subjects, called)
    truth, call, n = truth[called], call[called], int(called.sum())
    n_subjects = int(codes.max()) + 1 if n else 0
    reason = None
    if n == 0 or np.isnan(truth).all():
        reason = NullReason.NO_UNITS
    elif np.nanmin(truth) == np.nanmax(truth):
        reason = NullReason.ONE_CLASS
    elif any(not np.any((call == value) & ~np.isnan(truth)) for value in (0, 1)):
        reason = NullReason.ZERO_DENOMINATOR
    if reason is not None:
        null = Estimate.null(reason, n, n_subjects=n_subjects)
        return null, null
    labelled = ~np.isnan(truth)
    columns = [call, 1 - call, np.ones(n)]
    for value in (1, 0):
        columns += [labelled & (call == value) & (truth == 1), labelled & (call == value)]
    totals = totals_by_subject(np.stack(columns, axis=1).astype(np.float64), codes).T
    positive, negative, units, hits, of_positive, missed, of_negative = totals
    ppv, false_omission, share, other_share = (
        proportion_of_subjects(k, of, level=level)
        for k, of in ((hits, of_positive), (missed, of_negative), (positive, units), (negative, units))
    )
    sensitivity = _share_of_calls(ppv, false_omission, share, n)
    specificity = _share_of_calls(_complement(false_omission), _complement(ppv), other_share, n)
    return replace(sensitivity, n_subjects=n_subjects), replace(specificity, n_subjects=n_subjects)


def _complement(estimate: Estimate) -> Estimate:
    value, low, high = (None if x is None else 1 - x for x in (estimate.value, estimate.high, estimate.low))
    return replace(estimate, value=value, low=low, high=high)


def _share_of_calls(inside: Estimate, outside: Estimate, share: Estimate, n: int) -> Estimate:
    """Return the share of a condition that a call finds.

    The condition has the share `inside` among the units with the call, `outside` among the others, and `share` of all
    units have the call.
    """
    ends = [_with_limits(estimate) for estimate in (inside, outside, share)]
    first, second, called = ends
    found, missed = called.value * first.value, (1 - called.value) * second.value
    if found + missed == 0:
        return Estimate.null(NullReason.ONE_CLASS, n)
    value = found / (found + missed)
    methods = [estimate.method for estimate in (inside, outside, share)]
    if None in methods:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS)
    odds = Share(*(x / (1 - x) for x in (called.value, called.low, called.high)))
    if found >= missed:  # of the two odds, the one whose denominator is not 0
        low, high = _odds_limits(second, first, odds)
        low, high = 1 / (1 + high), 1 / (1 + low)
    else:
        inverse = Share(1 / odds.value, 1 / odds.high, 1 / odds.low)
        low, high = (x / (1 + x) for x in _odds_limits(first, second, inverse))
    method = "combined_wilson_effective_n" if "wilson_effective_n" in methods else "combined_wilson"
    se = _standard_error(value, inside, outside, called.value, n) if method == "combined_wilson" else None
    return Estimate(value, se, min(low, value), max(high, value), n, method)


def _odds_limits(above: Share, below: Share, odds: Share) -> tuple[float, float]:
    """Return the limits of (above / below) / odds."""
    ratio = Share(above.value / below.value, *ratio_limits(above, below, 0.0))
    return ratio_limits(ratio, odds, 0.0)


def _with_limits(estimate: Estimate) -> Share:
    return Share(estimate.value or 0.0, estimate.low or 0.0, 1.0 if estimate.high is None else estimate.high)


def _standard_error(value: float, inside: Estimate, outside: Estimate, called: float, n: int) -> float | None:
    """Return Zhou's standard error; None where a share is 0."""
    if not inside.value or not outside.value:
        return None
    variance = 1 / (n * called * (1 - called))
    variance += sum((1 - (e.value or 0.0)) / ((e.value or 0.0) * (e.denominator or 1)) for e in (inside, outside))
    return value * (1 - value) * math.sqrt(variance)
