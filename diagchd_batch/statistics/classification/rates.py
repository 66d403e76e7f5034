"""Rates of calls against the reference standard, and the choice of interval and test for each of them.

Independent units (one a subject) have closed forms. If any subject has several of the units that a rate is taken over,
they do not hold, and the effective number of units, sign flips and exchanges within subjects replace them. `method`
and `test` of the result name the choice.
"""

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.clustered import clustered_paired_proportions, proportion_of_subjects
from diagchd_batch.statistics.classification.combined_limits import combine_limits
from diagchd_batch.statistics.classification.confusion import (
    PROPORTION_CELLS,
    RATES,
    Rate,
    confusion_cells,
    difference_bounds,
    rate_bounds,
)
from diagchd_batch.statistics.classification.predictive_values import paired_predictive_values
from diagchd_batch.statistics.classification.proportions import (
    IntervalMethod,
    paired_proportions,
)
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, complete, count_subjects, subject_codes
from diagchd_batch.statistics.randomisation import exchange_test
from diagchd_batch.statistics.resampling import (
    DEFAULT_RESAMPLES,
    subject_interval,
    totals_by_subject,
)


def estimate_rate(
    name: str,
    truth: ArrayLike,
    call: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    method: IntervalMethod = "wilson",
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return one rate, such as sensitivity, ppv, f1 or mcc, with its interval.

    Simple proportions: Wilson or Clopper-Pearson, on the effective number of units where a subject has several of the
    units that the rate is taken over. Balanced accuracy and likelihood ratios: limits combined from those of
    sensitivity and specificity (`combine_limits`). F1 and MCC: subject bootstrap.

    Args:
        name: A name of `confusion.RATES`.
        truth: One 0 or 1 a unit; units with a missing value are left out.
        call: One 0 or 1 a unit.
        subjects: One id a unit; without them every unit is its own subject.
        method: Interval of simple proportions: `wilson`, or `exact` for Clopper-Pearson.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `zero_denominator` or `no_units` if the rate does not exist.

    Raises:
        StatisticsError: The rate is unknown, or an argument cannot be taken.
    """
    _rate(name)
    truth, call = as_binary(truth, "truth"), as_binary(call, "call")
    known = complete(truth, call)
    if not known.any():
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    cells = totals_by_subject(confusion_cells(truth[known], call[known]), subject_codes(subjects, known))
    return rate_of_cells(name, cells, method=method, level=level, resamples=resamples, seed=seed)


def rate_of_cells(
    name: str,
    cells: np.ndarray,
    *,
    method: IntervalMethod = "wilson",
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return a rate like `estimate_rate`, from counts that are already summed within subjects.

    This saves time where many rates of a large cohort are needed.

    Args:
        name: A name of `confusion.RATES`.
        cells: Array of shape (n_subjects, 4): TP, FP, FN, TN. Every subject has a unit.
        method: As in `estimate_rate`.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.
    """
    rate, n = _rate(name), int(cells.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    if name in PROPORTION_CELLS:
        hits, units = (cells[:, columns].sum(axis=1) for columns in PROPORTION_CELLS[name])
        estimate = proportion_of_subjects(hits, units, method, level)
        return replace(estimate, n_subjects=int(np.count_nonzero(units))) if len(cells) < n else estimate
    if name in ("balanced_accuracy", "lr_positive", "lr_negative"):
        return combine_limits(name, cells, level)
    bounds = rate_bounds(name)
    return subject_interval(cells, rate, n=n, level=level, resamples=resamples, seed=seed, bounds=bounds)


def compare_rates(
    name: str,
    truth: ArrayLike,
    a: ArrayLike,
    b: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare a rate of two calls, a − b, on the units where truth and both calls are known.

    Sensitivity, specificity and accuracy get the exact McNemar test and Newcombe's interval, within the units that
    they are taken over. With several units a subject sign flips replace McNemar (`clustered_paired_proportions`). PPV
    and NPV: `paired_predictive_values`. The rest: subject bootstrap, and exchanges of the two calls within subjects.

    Args:
        name: A name of `confusion.RATES`.
        truth: One 0 or 1 a unit.
        a: One call (0 or 1) a unit.
        b: One call (0 or 1) a unit.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The comparison. Calls that never differ have the difference 0 without interval or test, `identical_calls`. Null
        with `no_units` or `zero_denominator`.

    Raises:
        StatisticsError: The rate is unknown, or an argument cannot be taken.
    """
    rate = _rate(name)
    truth, a, b = as_binary(truth, "truth"), as_binary(a, "a"), as_binary(b, "b")
    known = complete(truth, a, b)
    n = int(known.sum())
    if n == 0:
        return Comparison.null(NullReason.NO_UNITS, n_subjects=0)
    codes = subject_codes(subjects, known)
    truth, a, b = truth[known], a[known], b[known]
    if name in ("ppv", "npv"):
        pair = paired_predictive_values(truth, a, b, codes, level=level)
        return pair.ppv if name == "ppv" else pair.npv
    if name in PROPORTION_CELLS:
        units = {"sensitivity": truth == 1, "specificity": truth == 0, "accuracy": np.full(n, True)}[name]
        return _compare_correctness((a == truth)[units], (b == truth)[units], codes[units], level)
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    return _compare_by_bootstrap(rate, truth, a, b, codes, bounds=difference_bounds(name), **options)


def _rate(name: str) -> Rate:
    if name not in RATES:
        raise StatisticsError(f"unknown rate {name!r}: use one of {', '.join(RATES)}")
    return RATES[name]


def _compare_correctness(right_a: np.ndarray, right_b: np.ndarray, codes: np.ndarray, level: float) -> Comparison:
    if count_subjects(codes) == len(codes):  # no subject has two units that the rate is taken over
        return paired_proportions(
            int(np.sum(right_a & right_b)),
            int(np.sum(right_a & ~right_b)),
            int(np.sum(~right_a & right_b)),
            int(np.sum(~right_a & ~right_b)),
            level,
        )
    columns = np.stack([right_a, right_b, np.ones(len(right_a))], axis=1).astype(np.float64)
    totals = totals_by_subject(columns, codes)
    hits_a, hits_b, units = totals.T
    return clustered_paired_proportions(hits_a, hits_b, units, level)


def _compare_by_bootstrap(
    rate: Rate,
    truth: np.ndarray,
    a: np.ndarray,
    b: np.ndarray,
    codes: np.ndarray,
    *,
    bounds: tuple[float, float],
    level: float,
    resamples: int,
    seed: int,
) -> Comparison:
    cells_a, cells_b = (totals_by_subject(confusion_cells(truth, call), codes) for call in (a, b))
    n, n_subjects = len(truth), len(cells_a)
    value_a, value_b = (None if math.isnan(v := float(rate(cells.sum(axis=0)))) else v for cells in (cells_a, cells_b))
    known: dict[str, Any] = {"value": value_a, "comparator_value": value_b, "n_subjects": n_subjects}
    if value_a is None or value_b is None:
        return Comparison.null(NullReason.ZERO_DENOMINATOR, n, **known)
    if np.array_equal(a, b):
        return Comparison.null(NullReason.IDENTICAL_CALLS, n, difference=0.0, **known)

    def difference(totals: np.ndarray) -> np.ndarray:
        return rate(totals[..., :4]) - rate(totals[..., 4:])

    interval = subject_interval(
        np.hstack([cells_a, cells_b]),
        difference,
        n=n,
        level=level,
        resamples=resamples,
        seed=seed,
        difference=True,
        bounds=bounds,
    )
    return Comparison(
        difference=value_a - value_b,
        se=interval.se,
        low=interval.low,
        high=interval.high,
        n=n,
        method=interval.method,
        test="subject_exchange",
        p=exchange_test(cells_a, cells_b, rate, seed=seed),
        null_reason=interval.null_reason,
        resamples=interval.resamples,
        degenerate_resamples=interval.degenerate_resamples,
        **known,
    )
