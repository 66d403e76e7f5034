"""Maps that make predicted probabilities mean what they say: temperature, Platt scaling and isotonic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special
from sklearn.isotonic import IsotonicRegression

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.calibration import PROBABILITY_MARGIN, expected_calibration_error
from diagchd_batch.statistics.inputs import as_binary, as_column, complete

Method = Literal["none", "temperature", "platt", "isotonic"]

SMALLEST_GROUP = 20
"""Isotonic regression first averages groups of at least this number of units, so that no step shows a single unit."""

SMALLEST_OF_CLASS = 10
"""Each group also has at least this number of units of each class, unless there are fewer in all."""

_LOGARITHM_LIMITS = (-1.4, 4.7)
"""Limits of the logarithm of a slope's inverse: temperatures from 0.25 to 110."""
_INTERCEPT_LIMITS = (-20.0, 20.0)
_LARGEST_BELOW_ONE = 1 - 2.0**-53
_SMALLEST_ABOVE_ZERO = 1e-300


@dataclass(frozen=True, slots=True)
class Recalibration:
    """A map from probabilities to better calibrated ones. It never decreases.

    Attributes:
        method: How it was fitted; `none` leaves probabilities as they are.
        slope: Factor of the logit. For a temperature T it is 1 / T. Not used by `isotonic`.
        intercept: What is added to the logit. Not used by `isotonic`.
        scores: For `isotonic`: increasing probabilities.
        values: For `isotonic`: the calibrated probability of each entry of `scores`. Between entries it is
            interpolated, and beyond them it is constant.
    """

    method: Method = "none"
    slope: float = 1.0
    intercept: float = 0.0
    scores: tuple[float, ...] = ()
    values: tuple[float, ...] = ()

    def apply(self, probability: ArrayLike) -> np.ndarray:
        """Return the calibrated probabilities, float64 [n].

        Args:
            probability: Probabilities within [0, 1]; NaN stays NaN.
        """
        column = as_column(probability, "probability")
        if self.method == "none":
            return column
        if self.method == "isotonic":
            calibrated = np.interp(column, self.scores, self.values)
            return np.where(np.isnan(column), np.nan, calibrated)
        clipped = np.clip(column, _SMALLEST_ABOVE_ZERO, _LARGEST_BELOW_ONE)  # fine enough to keep the order of float32
        return special.expit(self.slope * special.logit(clipped) + self.intercept)


def fit_recalibration(method: Method, truth: ArrayLike, probability: ArrayLike) -> Recalibration:
    """Fit a map on units whose truth is known. Their probabilities must come from models that did not see them.

    Args:
        method: `temperature` divides the logit by one number, so the order of units stays. `platt` also shifts it.
            `isotonic` fits steps that never decrease.
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, within [0, 1].

    Returns:
        The map.

    Raises:
        StatisticsError: The units have one class only, or a probability lies outside [0, 1].

    Source: Guo, Pleiss, Sun & Weinberger (2017), ICML 1321; Platt (1999), Advances in Large Margin Classifiers 61, with
    his smoothed targets; Zadrozny & Elkan (2002), KDD 694.
    """
    truth, probability = _known(truth, probability)
    if method == "none":
        return Recalibration()
    if len(truth) == 0 or truth.min() == truth.max():
        raise StatisticsError("calibration needs units of both classes")
    if method == "isotonic":
        return _isotonic(truth, probability)
    logit = special.logit(np.clip(probability, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN))
    if method == "temperature":
        found = optimize.minimize_scalar(
            lambda logarithm: _log_loss(truth, np.exp(-logarithm) * logit), bounds=_LOGARITHM_LIMITS, method="bounded"
        )
        return Recalibration("temperature", slope=float(np.exp(-found.x)))
    positive = truth.sum()
    smoothed = np.where(truth == 1, (positive + 1) / (positive + 2), 1 / (len(truth) - positive + 2))
    found = optimize.minimize(
        lambda x: _log_loss(smoothed, np.exp(-x[0]) * logit + x[1]),
        x0=np.zeros(2),
        bounds=[_LOGARITHM_LIMITS, _INTERCEPT_LIMITS],
        method="L-BFGS-B",
    )
    return Recalibration("platt", slope=float(np.exp(-found.x[0])), intercept=float(found.x[1]))


@dataclass(frozen=True, slots=True)
class MethodFigures:
    """How well a method calibrates units that it was not fitted on.

    Attributes:
        method: The method.
        log_loss: Mean negative log likelihood.
        brier: Mean squared error.
        expected_calibration_error: With 10 bins of equal width.
        n: Number of units.
    """

    method: Method
    log_loss: float
    brier: float
    expected_calibration_error: float
    n: int


def compare_methods(
    methods: Sequence[Method], truth: ArrayLike, probability: ArrayLike, folds: ArrayLike
) -> list[MethodFigures]:
    """Measure methods of calibration out of fold: each is fitted on all folds but one and applied to that one.

    Args:
        methods: The methods. `none` is measured too.
        truth: One 0 or 1 a unit; units with a missing value are left out.
        probability: One probability a unit, from a model that was not trained on its fold.
        folds: One number a unit.

    Returns:
        The figures of `none`, then of each method. Empty if fewer than two folds can be left out, because the others
        would have one class only.

    Raises:
        StatisticsError: A probability lies outside [0, 1].
    """
    truth, probability, folds = _known(truth, probability, folds)
    numbers = np.unique(folds)
    usable = [number for number in numbers if len(np.unique(truth[folds != number])) == 2]
    if len(usable) < 2:
        return []
    inside = np.isin(folds, usable)
    figures = []
    for method in dict.fromkeys(("none", *methods)):
        calibrated = probability.copy()
        for number in usable:
            fitted = fit_recalibration(method, truth[folds != number], probability[folds != number])
            calibrated[folds == number] = fitted.apply(probability[folds == number])
        figures.append(_figures(method, truth[inside], calibrated[inside]))
    return figures


def choose_recalibration(
    methods: Sequence[Method], truth: ArrayLike, probability: ArrayLike, folds: ArrayLike
) -> tuple[Recalibration, list[MethodFigures]]:
    """Return the map of the method with the least log loss out of fold, fitted on all units, and all figures.

    If no method does better than leaving probabilities as they are, or none can be measured, the map is `none`.

    Args:
        methods: The methods to choose from.
        truth: As in `compare_methods`.
        probability: As in `compare_methods`.
        folds: As in `compare_methods`.
    """
    figures = compare_methods(methods, truth, probability, folds)
    if not figures:
        return Recalibration(), []
    best = min(figures, key=lambda figure: figure.log_loss)
    return fit_recalibration(best.method, truth, probability), figures


def _known(truth: ArrayLike, probability: ArrayLike, *others: ArrayLike) -> tuple[np.ndarray, ...]:
    truth, probability = as_binary(truth, "truth"), as_column(probability, "probability")
    if np.any((probability < 0) | (probability > 1)):
        raise StatisticsError("probability must lie between 0 and 1; calibration of other scores is not defined")
    known = complete(truth, probability)
    return truth[known], probability[known], *(np.asarray(other)[known] for other in others)


def _log_loss(target: np.ndarray, logit: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, logit) - target * logit))


def _isotonic(truth: np.ndarray, probability: np.ndarray) -> Recalibration:
    """Fit steps on the means of groups of neighbouring units. Units with one probability stay together."""
    order = np.argsort(probability, kind="stable")
    truth, probability = truth[order], probability[order]
    starts, n_before, positives_before = [0], 0, 0
    positives = np.concatenate([[0], np.cumsum(truth)])
    for place in np.flatnonzero(np.diff(probability)) + 1:
        n, of_class = place - n_before, positives[place] - positives_before
        if n >= SMALLEST_GROUP and SMALLEST_OF_CLASS <= of_class <= n - SMALLEST_OF_CLASS:
            starts.append(int(place))
            n_before, positives_before = place, positives[place]
    left = positives[-1] - positives_before
    if len(starts) > 1 and not SMALLEST_OF_CLASS <= left <= len(truth) - n_before - SMALLEST_OF_CLASS:
        starts.pop()  # the last group is too small, so it joins the one before
    sizes = np.diff([*starts, len(truth)])
    scores = np.add.reduceat(probability, starts) / sizes
    shares = np.add.reduceat(truth, starts) / sizes
    fitted = IsotonicRegression().fit_transform(scores, shares, sample_weight=sizes)
    return Recalibration("isotonic", scores=tuple(scores.tolist()), values=tuple(fitted.tolist()))


def _figures(method: Method, truth: np.ndarray, probability: np.ndarray) -> MethodFigures:
    clipped = np.clip(probability, PROBABILITY_MARGIN, 1 - PROBABILITY_MARGIN)
    error = expected_calibration_error(truth, probability)
    return MethodFigures(
        method,
        log_loss=_log_loss(truth, special.logit(clipped)),
        brier=float(np.mean((probability - truth) ** 2)),
        expected_calibration_error=float(error.value or 0.0),
        n=len(truth),
    )
