"""Chooses a package's operating points and calibration on out-of-fold scores, and measures them on other folds."""

from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from diagchd_batch.config.training_block import OperatingPointTarget, PackageConfig
from diagchd_batch.errors import StatisticsError
from diagchd_batch.model.packages.decision_files import (
    CHOSEN_ON,
    CalibrationFile,
    MeasuredMethod,
    OperatingPointsFile,
    PackagePoint,
)
from diagchd_batch.statistics.recalibration import SMALLEST_OF_CLASS, choose_recalibration, fit_recalibration
from diagchd_batch.statistics.thresholds import ChosenThreshold, choose_threshold
from diagchd_batch.training.out_of_fold import OutOfFoldScores

NOTE = (
    "Chosen on scores of single folds' models. For the ensemble of all folds it is approximate: check it on data of "
    "your own before use."
)

_LEAST_STEPS = 3
"""Isotonic regression on fewer groups would hardly rank studies any more."""

StudyScore = Literal["mean", "max", "median"]
"""A value of `evaluation.study_score`."""


def choose_operating_points(
    scores: OutOfFoldScores, config: PackageConfig, study_score: StudyScore, min_cell: int
) -> OperatingPointsFile:
    """Choose the thresholds of the package.

    Args:
        scores: The out-of-fold scores of studies.
        config: The block `training.package`.
        study_score: `evaluation.study_score`, which made the scores.
        min_cell: Rates that rest on 1 to below this number of right or of wrong calls are withheld.

    Returns:
        The file. It has no point if the studies with a label and a score have one class only.
    """
    known = ~np.isnan(scores.truth) & ~np.isnan(scores.score)
    truth, score, folds = scores.truth[known], scores.score[known], scores.folds[known]
    points = []
    for target in config.operating_points if len(np.unique(truth)) == 2 else ():
        chosen = _chosen(target, truth, score)
        rates = _rates_on_other_folds(target, truth, score, folds, min_cell)
        points.append(
            PackagePoint(
                name=target.name,
                rule=_in_words(target),
                threshold=float(np.float32(chosen.threshold)),
                sensitivity=rates[0],
                specificity=rates[1],
            )
        )
    return OperatingPointsFile(chosen_on=CHOSEN_ON, study_score=study_score, note=NOTE, points=points)


def choose_calibration(
    scores: OutOfFoldScores, config: PackageConfig, study_score: StudyScore, min_cell: int
) -> CalibrationFile | None:
    """Choose the calibration of the package, the one with the least log loss on folds that it was not fitted on.

    Args:
        scores: The out-of-fold scores of studies.
        config: The block `training.package`.
        study_score: `evaluation.study_score`, which made the scores.
        min_cell: Isotonic regression is left out if one of its steps would rest on 1 to below this number of studies
            with or without the disease.

    Returns:
        The file; None if no method is to be compared, or if the studies with a label cannot measure one.
    """
    if not config.calibration:
        return None
    known = ~np.isnan(scores.truth) & ~np.isnan(scores.score)
    truth, score = scores.truth[known], scores.score[known]
    methods = [one for one in config.calibration if one != "isotonic" or not _steps_show_few(truth, score, min_cell)]
    chosen, figures = choose_recalibration(methods, truth, score, scores.folds[known])
    if not figures:
        return None
    measured = [
        MeasuredMethod(**{name: _rounded(value) for name, value in asdict(one).items() if name != "n"})
        for one in figures
    ]
    return CalibrationFile(
        method=chosen.method,
        slope=chosen.slope,
        intercept=chosen.intercept,
        scores=[round(value, 4) for value in chosen.scores],
        values=[round(value, 4) for value in chosen.values],
        study_score=study_score,
        note=NOTE,
        measured=measured,
    )


def _steps_show_few(truth: np.ndarray, score: np.ndarray, min_cell: int) -> bool:
    """Return whether a step of isotonic regression would tell a small count of studies with or without the disease."""
    if len(np.unique(truth)) < 2 or min_cell > SMALLEST_OF_CLASS:
        return True
    return len(fit_recalibration("isotonic", truth, score).scores) < _LEAST_STEPS


def _chosen(target: OperatingPointTarget, truth: np.ndarray, score: np.ndarray) -> ChosenThreshold:
    return choose_threshold(
        truth,
        score,
        target.rule,
        at_least=target.at_least,
        false_negative_cost=target.false_negative_cost,
        prevalence=target.prevalence,
    )


def _rates_on_other_folds(
    target: OperatingPointTarget, truth: np.ndarray, score: np.ndarray, folds: np.ndarray, min_cell: int
) -> tuple[float | None, float | None]:
    """Return sensitivity and specificity where each fold is called at the threshold that the other folds give."""
    called = np.full(len(truth), np.nan)
    for fold in np.unique(folds):
        try:
            chosen = _chosen(target, truth[folds != fold], score[folds != fold])
        except StatisticsError:  # the other folds have one class
            continue
        called[folds == fold] = score[folds == fold] >= chosen.threshold
    return _share(called[truth == 1] == 1, min_cell), _share(called[truth == 0] == 0, min_cell)


def _share(right: np.ndarray, min_cell: int) -> float | None:
    """Return the share of True. It is withheld where it would tell a small count of right or of wrong calls."""
    n_right, n_wrong = int(right.sum()), int((~right).sum())
    if len(right) < min_cell or 0 < n_right < min_cell or 0 < n_wrong < min_cell:
        return None
    return round(n_right / len(right), 4)


def _in_words(target: OperatingPointTarget) -> str:
    if target.rule in ("sensitivity", "specificity"):
        return f"{target.rule} >= {target.at_least:g}"
    if target.rule == "youden":
        return "largest sensitivity + specificity"
    prevalence = "of the training studies" if target.prevalence is None else f"{target.prevalence:g}"
    return f"least cost, a missed case counting {target.false_negative_cost:g} false alarms; prevalence {prevalence}"


def _rounded(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
