"""Whether predicted probabilities mean what they say."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.proportions import normal_quantile
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, complete, count_subjects, subject_codes

#: Distance from 0 and 1 that probabilities keep before the logit: one step of the float32 in which they are stored.
PROBABILITY_MARGIN = float(np.finfo(np.float32).eps)

MAX_ITERATIONS = 200
MAX_STEP = 4.0  # on the logit scale; it keeps Newton's first steps from overshooting


def calibration_intercept(
    truth: ArrayLike, probability: ArrayLike, subjects: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Return the calibration in the large: the intercept of a logistic fit with the probability's logit as offset.

    0 is ideal. A positive value means that the predicted risk is too low on average. The interval is Wald's. If a
    subject has several units, it has the cluster-robust variance, and Student's quantile on the subjects of the smaller
    class less one.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `no_units` or `one_class`.

    Raises:
        StatisticsError: A probability lies outside [0, 1].

    Source: Cox (1958), Biometrika 45:562; Van Calster et al. (2019), BMC Med 17:230.
    """
    truth, logit, codes = _prepared(truth, probability, subjects)
    null = _null_reason(truth)
    if null:
        return Estimate.null(null, len(truth))
    return _fit(truth, np.ones((len(truth), 1)), logit, codes, 0, level)


def calibration_slope(
    truth: ArrayLike, probability: ArrayLike, subjects: ArrayLike | None = None, level: float = 0.95
) -> Estimate:
    """Return the slope of a logistic fit on the logit of the probability.

    1 is ideal; below 1 the probabilities are too extreme (overfitted).

    Args:
        truth: As in `calibration_intercept`.
        probability: As in `calibration_intercept`.
        subjects: As in `calibration_intercept`.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `no_units`, `one_class`, `separation` (a threshold divides the classes, so that the fit
        has no finite slope) or `zero_variance` (all probabilities are equal).

    Source: as in `calibration_intercept`.
    """
    truth, logit, codes = _prepared(truth, probability, subjects)
    null = _null_reason(truth)
    if null:
        return Estimate.null(null, len(truth))
    if logit.min() == logit.max():
        return Estimate.null(NullReason.ZERO_VARIANCE, len(truth))
    of_diseased, of_healthy = logit[truth == 1], logit[truth == 0]
    if of_diseased.min() >= of_healthy.max() or of_diseased.max() <= of_healthy.min():
        return Estimate.null(NullReason.SEPARATION, len(truth))
    return _fit(truth, np.column_stack([np.ones(len(truth)), logit]), None, codes, 1, level)


@dataclass(frozen=True, slots=True)
class CalibrationBin:
    """The units with a probability in (low, high]; the first bin includes 0. The means are None in an empty bin."""

    low: float
    high: float
    n: int
    n_positive: int
    mean_probability: float | None
    observed: float | None


def calibration_bins(truth: ArrayLike, probability: ArrayLike, bins: int = 10) -> list[CalibrationBin]:
    """Return equal-width bins of the probability. A value on an edge belongs to the lower bin, as in scikit-learn.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].
        bins: Number of bins.

    Raises:
        StatisticsError: `bins` is less than 1, or a probability lies outside [0, 1].
    """
    if bins < 1:
        raise StatisticsError(f"at least one bin is needed, got {bins}")
    truth, probability = as_binary(truth, "truth"), as_probabilities(probability)
    known = complete(truth, probability)
    truth, probability = truth[known], probability[known]
    edges = np.linspace(0.0, 1.0, bins + 1)
    index = np.searchsorted(edges[1:-1], probability)
    n, positive, total = (np.bincount(index, weights=w, minlength=bins) for w in (None, truth, probability))
    return [
        CalibrationBin(
            float(edges[i]),
            float(edges[i + 1]),
            int(n[i]),
            int(positive[i]),
            float(total[i] / n[i]) if n[i] else None,
            float(positive[i] / n[i]) if n[i] else None,
        )
        for i in range(bins)
    ]


def expected_calibration_error(truth: ArrayLike, probability: ArrayLike, bins: int = 10) -> Estimate:
    """Return the mean over units of |observed share − mean probability| of the unit's bin.

    The value depends on the bins, so report them beside it. There is no interval (`no_valid_interval`): the error is
    biased upwards in finite samples, and the bootstrap inherits the bias.

    Args:
        truth: As in `calibration_bins`.
        probability: As in `calibration_bins`.
        bins: Number of equal-width bins.

    Returns:
        The estimate. Null with `no_units`.

    Source: Naeini, Cooper & Hauskrecht (2015), AAAI 2901.
    """
    table = calibration_bins(truth, probability, bins)
    n = sum(b.n for b in table)
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS)
    gaps = [
        b.n * abs(b.observed - b.mean_probability)
        for b in table
        if b.observed is not None and b.mean_probability is not None
    ]
    value = sum(gaps) / n
    return Estimate(value, None, None, None, n, null_reason=NullReason.NO_VALID_INTERVAL)


def _prepared(
    truth: ArrayLike, probability: ArrayLike, subjects: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    truth, probability = as_binary(truth, "truth"), as_probabilities(probability)
    known = complete(truth, probability)
    codes = subject_codes(subjects, known)
    clipped = np.clip(probability[known], PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
    return truth[known], np.log(clipped) - np.log1p(-clipped), codes


def as_probabilities(values: ArrayLike) -> np.ndarray:
    """Return a float64 copy of one probability a unit; missing values become NaN.

    Args:
        values: Numbers within [0, 1] and missing values.

    Raises:
        StatisticsError: A value is no number, or lies outside [0, 1].
    """
    column = as_column(values, "probability")
    if np.any((column < 0) | (column > 1)):
        raise StatisticsError("probability must lie between 0 and 1; calibration of other scores is not defined")
    return column


def _null_reason(truth: np.ndarray) -> NullReason | None:
    if len(truth) == 0:
        return NullReason.NO_UNITS
    return NullReason.ONE_CLASS if truth.min() == truth.max() else None


def _fit(
    truth: np.ndarray, design: np.ndarray, offset: np.ndarray | None, codes: np.ndarray, which: int, level: float
) -> Estimate:
    """Fit a logistic regression by Newton's method; with several units a subject the variance is cluster robust.

    The result equals that of statsmodels' GLM, which needs a gigabyte for a million units. Source of the variance with
    its small-sample factor: Cameron & Miller (2015), J Hum Resour 50:317, equation 12.
    """
    n, n_subjects = len(truth), int(codes.max()) + 1
    clustered = n_subjects < n
    coefficients = np.zeros(design.shape[1])
    for _ in range(MAX_ITERATIONS):
        risk = special.expit(design @ coefficients + (0.0 if offset is None else offset))
        information = (design * (risk * (1 - risk))[:, np.newaxis]).T @ design
        residual = truth - risk
        if not np.isfinite(information).all() or np.linalg.matrix_rank(information) < len(information):
            return Estimate.null(NullReason.SEPARATION, n, n_subjects=n_subjects)
        step = np.linalg.solve(information, design.T @ residual)
        if np.abs(step).max() <= 1e-10 * max(1.0, float(np.abs(coefficients).max())):
            break
        coefficients += np.clip(step, -MAX_STEP, MAX_STEP)
    else:
        return Estimate.null(NullReason.SEPARATION, n, n_subjects=n_subjects)
    covariance = np.linalg.inv(information)
    if clustered and n_subjects > 1:
        scores = np.stack([np.bincount(codes, weights=column * residual) for column in design.T], axis=1)
        factor = n_subjects / (n_subjects - 1) * (n - 1) / (n - design.shape[1])
        covariance = factor * covariance @ (scores.T @ scores) @ covariance
    value, se = float(coefficients[which]), math.sqrt(max(float(covariance[which, which]), 0.0))
    if n_subjects < 2 or se <= 1e-12:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=n_subjects)
    half, method = normal_quantile(level) * se, "wald"
    if clustered:  # the robust variance of few subjects of a class is itself uncertain
        smaller = min(count_subjects(codes[truth == label]) for label in (0, 1))
        half, method = float(special.stdtrit(max(smaller - 1, 1), (1 + level) / 2)) * se, "wald_cluster_robust"
    return Estimate(value, se, value - half, value + half, n, method, n_subjects=n_subjects)
