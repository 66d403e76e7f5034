"""Scores against the reference standard: AUC, average precision and Brier score with their intervals."""

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.auc import average_precision_under_weights, delong_interval
from diagchd_batch.statistics.classification.proportions import normal_quantile
from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, complete, count_subjects, subject_codes
from diagchd_batch.statistics.resampling import (
    BOOTSTRAP_SUBJECTS_LIMIT,
    DEFAULT_RESAMPLES,
    acceleration_under_weights,
    bootstrap_estimate,
    resample_weights,
    subject_interval,
    totals_by_subject,
)


def estimate_score(
    name: str,
    truth: ArrayLike,
    score: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the AUC, average precision or Brier score of a score, with its interval.

    AUC: `delong_interval` with `scale="score"`, summed within subjects. Average precision and Brier score: subject
    bootstrap. Above `BOOTSTRAP_SUBJECTS_LIMIT` subjects average precision has the logit interval on the positive
    subjects, and the Brier score the linearised interval.

    Args:
        name: `auc`, `average_precision` or `brier`.
        truth: One 0 or 1 a unit; units with a missing value are left out.
        score: One number a unit; for the Brier score a probability.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`; AUC and average precision also with `one_class`.

    Raises:
        StatisticsError: The name is unknown, or the Brier score gets a value outside [0, 1].

    Source: Brier (1950), Mon Weather Rev 78:1; logit interval: Boyd, Eng & Page (2013), ECML PKDD 451.
    """
    if name not in ("auc", "average_precision", "brier"):
        raise StatisticsError(f"unknown score measure {name!r}: use 'auc', 'average_precision' or 'brier'")
    truth, score = as_binary(truth, "truth"), as_column(score, "score")
    known = complete(truth, score)
    truth, score, n = truth[known], score[known], int(known.sum())
    codes = subject_codes(subjects, known)
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    n_subjects = int(codes.max()) + 1
    if name == "brier":
        return _brier(truth, score, codes, level=level, resamples=resamples, seed=seed)
    if truth.min() == truth.max():
        return Estimate.null(NullReason.ONE_CLASS, n, n_subjects=n_subjects)
    if name == "auc":
        return delong_interval(truth, score, codes, level, scale="score")
    statistic = average_precision_under_weights(truth == 1, score, codes)
    value = float(statistic(np.ones((1, n_subjects)))[0])
    if n_subjects > BOOTSTRAP_SUBJECTS_LIMIT:
        return _average_precision_logit(value, n, count_subjects(codes[truth == 1]), n_subjects, level)
    if n_subjects == 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=1)
    each = np.ones(n_subjects)
    return bootstrap_estimate(
        value,
        resample_weights(each, statistic, resamples, seed),
        level=level,
        n=n,
        n_subjects=n_subjects,
        accelerated_by=acceleration_under_weights(each, statistic),
    )


def _brier(
    truth: np.ndarray, score: np.ndarray, codes: np.ndarray, *, level: float, resamples: int, seed: int
) -> Estimate:
    if np.any((score < 0) | (score > 1)):
        raise StatisticsError("the Brier score needs probabilities between 0 and 1")
    totals = totals_by_subject(np.stack([(score - truth) ** 2, np.ones(len(truth))], axis=1), codes)

    def mean(sums: np.ndarray) -> np.ndarray:
        return sums[..., 0] / sums[..., 1]

    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    return subject_interval(totals, mean, n=len(truth), bounds=(0.0, 1.0), **options)


def _average_precision_logit(value: float, n: int, n_positive: int, n_subjects: int, level: float) -> Estimate:
    if value >= 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.ZERO_VARIANCE, n_subjects=n_subjects)
    logit = math.log(value / (1 - value))
    half = normal_quantile(level) / math.sqrt(n_positive * value * (1 - value))
    low, high = (1 / (1 + math.exp(-limit)) for limit in (logit - half, logit + half))
    return Estimate(value, None, low, high, n, method="logit_positive_subjects", n_subjects=n_subjects)
