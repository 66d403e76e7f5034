"""Abstention: the share of wrong calls among the units that are kept when the most uncertain ones are left out."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.statistics.estimate import Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_column, complete, subject_codes
from diagchd_batch.statistics.resampling import (
    DEFAULT_RESAMPLES,
    acceleration_under_weights,
    bootstrap_estimate,
    resample_weights,
)

INTERVAL_SUBJECTS_LIMIT = 5_000
"""Above this number of subjects the area has no interval. Each resample would sort out all units again."""


@dataclass(frozen=True, slots=True)
class AbstentionCurve:
    """What is left of the errors where the most certain units are kept. Arrays are float64 [points].

    Units of equal uncertainty are kept in random order; the values are those that are expected.

    Attributes:
        n_kept: Numbers of kept units, ascending.
        error: Share of wrong calls among them.
        sensitivity: TP / (TP + FN) among them, NaN where no diseased unit is kept.
        specificity: TN / (TN + FP) among them, NaN where no healthy unit is kept.
    """

    n_kept: np.ndarray
    error: np.ndarray
    sensitivity: np.ndarray
    specificity: np.ndarray


def abstention_curve(
    truth: ArrayLike,
    call: ArrayLike,
    uncertainty: ArrayLike,
    n_kept: Sequence[int] | np.ndarray,
    folds: ArrayLike | None = None,
) -> AbstentionCurve:
    """Return error, sensitivity and specificity of the most certain units.

    A constant uncertainty gives the curve of units that are left out at random. An uncertainty of 1 for wrong calls and
    0 for right ones gives that of an oracle.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        call: One 0 or 1 a unit.
        uncertainty: One number a unit. The units with the lowest are kept first.
        n_kept: Numbers of units to keep, from 1 to the number of complete units.
        folds: One number or name a unit, if models of different folds gave the uncertainties. Then the same share of
            each fold is kept, so that uncertainties of different folds are never compared. None for one model.

    Source: El-Yaniv & Wiener (2010), J Mach Learn Res 11:1605 (risk and coverage).
    """
    columns = as_binary(truth, "truth"), as_binary(call, "call"), as_column(uncertainty, "uncertainty")
    known = complete(*columns)
    numbers = np.zeros(len(known)) if folds is None else np.asarray(folds)
    truth, call, uncertainty, numbers = (column[known] for column in (*columns, numbers))
    n = np.asarray(n_kept, np.float64)
    n_right, positive, tp = np.zeros((3, len(n)))
    for fold in np.unique(numbers):
        inside = numbers == fold
        kept = _kept_counts(truth[inside], call[inside], uncertainty[inside], n * inside.mean())
        n_right, positive, tp = n_right + kept[0], positive + kept[1], tp + kept[2]
    return AbstentionCurve(n, 1 - n_right / n, _share(tp, positive), _share(n_right - tp, n - positive))


def _kept_counts(truth: np.ndarray, call: np.ndarray, uncertainty: np.ndarray, n_kept: np.ndarray) -> np.ndarray:
    """Return the expected numbers of right calls, diseased units and TP among the kept units, as ``[3, points]``."""
    order = np.argsort(uncertainty, kind="stable")
    truth, call, uncertainty = truth[order], call[order], uncertainty[order]
    ends = np.flatnonzero(np.r_[np.diff(uncertainty) != 0, True]) + 1
    right = (call == truth).astype(np.float64)
    counted = (right, truth, right * truth)
    return np.stack([np.interp(n_kept, np.r_[0, ends], np.r_[0, np.cumsum(one)[ends - 1]]) for one in counted])


def abstention_area(
    truth: ArrayLike,
    call: ArrayLike,
    uncertainty: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """Return the area under the curve of error against the share of kept units, with its subject bootstrap interval.

    It is the mean of the error over all numbers of kept units, from 1 to all. Less is better; where units are left out
    at random it is the error of all units. Above `INTERVAL_SUBJECTS_LIMIT` subjects there is no interval.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        call: One 0 or 1 a unit.
        uncertainty: One number a unit. The units with the lowest are kept first.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples; 0 for no interval.
        seed: Seed of the resamples.

    Returns:
        The estimate. Null with `no_units`.

    Source: Geifman, Uziel & El-Yaniv (2019), ICLR (area under the risk-coverage curve).
    """
    columns = as_binary(truth, "truth"), as_binary(call, "call"), as_column(uncertainty, "uncertainty")
    known = complete(*columns)
    truth, call, uncertainty = (column[known] for column in columns)
    codes, n = subject_codes(subjects, known), int(known.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS, n_subjects=0)
    statistic = AreaUnderWeights(truth != call, uncertainty, codes)
    n_subjects = int(codes.max()) + 1
    each = np.ones(n_subjects)
    value = float(statistic(each[None])[0])
    if n_subjects == 1 or n_subjects > INTERVAL_SUBJECTS_LIMIT or resamples == 0:
        reason = NullReason.TOO_FEW_SUBJECTS if n_subjects == 1 else NullReason.NO_VALID_INTERVAL
        return Estimate(value, None, None, None, n, null_reason=reason, n_subjects=n_subjects)
    return bootstrap_estimate(
        value,
        resample_weights(each, statistic, resamples, seed),
        level=level,
        n=n,
        n_subjects=n_subjects,
        accelerated_by=acceleration_under_weights(each, statistic),
    )


class AreaUnderWeights:
    """Computes the area for whole-numbered weights of subjects.

    Args:
        wrong: bool ``[n]``, whether the call of a unit is wrong.
        uncertainty: float64 ``[n]``.
        codes: int64 ``[n]``, the number of each unit's subject, from 0.
    """

    def __init__(self, wrong: np.ndarray, uncertainty: np.ndarray, codes: np.ndarray) -> None:
        order = np.argsort(uncertainty, kind="stable")
        self._wrong, self._codes = wrong[order].astype(np.float64), codes[order]
        self._ends = np.flatnonzero(np.r_[np.diff(uncertainty[order]) != 0, True])
        self._harmonic = np.zeros(1)

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        """Return the areas, float64 ``[r]``, for weights ``[r, subjects]``; NaN where all weights are 0."""
        of_units = weights[:, self._codes]
        n_until = np.cumsum(of_units, axis=1)[:, self._ends]
        wrong_until = np.cumsum(of_units * self._wrong, axis=1)[:, self._ends]
        n, wrong = (np.diff(until, axis=1, prepend=0) for until in (n_until, wrong_until))
        rate = np.divide(wrong, n, out=np.zeros_like(n), where=n > 0)
        # Of k units kept, those of earlier groups are all there, and a tied group's errors come at its rate:
        # error(k) = rate + (wrong before − n before · rate) / k, summed over k by harmonic numbers.
        n_before, wrong_before = n_until - n, wrong_until - wrong
        per_place = self._harmonic_numbers(n_until) - self._harmonic_numbers(n_before)
        area = (n * rate + (wrong_before - n_before * rate) * per_place).sum(axis=1)
        total = n_until[:, -1]
        return np.divide(area, total, out=np.full(len(total), np.nan), where=total > 0)

    def _harmonic_numbers(self, n: np.ndarray) -> np.ndarray:
        most = int(n.max(initial=0))
        if most >= len(self._harmonic):
            self._harmonic = np.r_[0.0, np.cumsum(1 / np.arange(1, most + 1))]
        return self._harmonic[n.astype(np.int64)]


def _share(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 1e-9)
