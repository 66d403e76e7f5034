"""Rows of the table `curves`: ROC, precision-recall and decision curves."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import folds_of
from diagchd_batch.evaluation.performance.mean_curves import mean_curve_rows
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import Rater, Units
from diagchd_batch.statistics.net_benefit import net_benefits

MAX_CURVE_POINTS = 500
_THRESHOLDS = np.arange(1, 100) / 100
"""Threshold probabilities of a decision curve."""


def curve_rows(units: Units, rater: Rater) -> Iterator[Row]:
    """Compute the curves of a rater's score, with at most `MAX_CURVE_POINTS` points each.

    Args:
        units: The units with their reference labels.
        rater: A rater with scores. The model also gets a decision curve.

    Yields:
        One row for each point. There are no rows if the units with a score and a label are all of one class.
    """
    known = ~np.isnan(units.truth) & ~np.isnan(rater.scores)
    truth, score = units.truth[known], rater.scores[known]
    if len(truth) == 0 or truth.min() == truth.max():
        return
    common = {"unit": units.name, "subject_kind": rater.kind, "subject": rater.name}
    folds = folds_of(units, rater)
    if folds is None:
        yield from _roc_and_precision_recall_rows(common, truth, score)
    else:
        yield from mean_curve_rows(common, truth, score, folds[known])
    if rater.kind == "model":
        yield from decision_rows(common, truth, score, units.subject[known])


def _roc_and_precision_recall_rows(common: Row, truth: np.ndarray, score: np.ndarray) -> Iterator[Row]:
    order = np.argsort(-score, kind="stable")
    last_of_score = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    tp = np.cumsum(truth[order])[last_of_score]
    called = last_of_score + 1.0
    n_positive, n_negative = tp[-1], called[-1] - tp[-1]
    thresholds, kept = score[order][last_of_score], _evenly_spread(len(last_of_score))
    false_positive_rate = (called - tp) / n_negative
    roc = {**common, "curve": "roc", "definition": "x 1 − specificity, y sensitivity"}
    yield {**roc, "point": 0, "x": 0.0, "y": 0.0}
    for point, place in enumerate(kept, start=1):
        yield {
            **roc,
            "point": point,
            "threshold": float(thresholds[place]),
            "x": float(false_positive_rate[place]),
            "y": float(tp[place] / n_positive),
        }
    for point, place in enumerate(kept):
        yield {
            **common,
            "curve": "precision_recall",
            "point": point,
            "threshold": float(thresholds[place]),
            "x": float(tp[place] / n_positive),
            "y": float(tp[place] / called[place]),
            "definition": "x sensitivity, y PPV",
        }


def decision_rows(
    common: Row, truth: np.ndarray, score: np.ndarray, subject: np.ndarray, prevalence: float | None = None
) -> Iterator[Row]:
    """Compute the net benefit at each threshold probability.

    Args:
        common: The columns that all rows share.
        truth: [n] reference labels of both classes.
        score: [n] probabilities.
        subject: int64 [n], the subjects' numbers.
        prevalence: The prevalence to reweight to, or None for the curve as observed.

    Yields:
        One row of `curves` for each threshold.
    """
    share = float(truth.mean()) if prevalence is None else prevalence
    found = net_benefits(truth, score, _THRESHOLDS, subject, prevalence=prevalence)
    for point, (threshold, benefit) in enumerate(zip(_THRESHOLDS.tolist(), found, strict=True)):
        yield {
            **common,
            "curve": "decision" if prevalence is None else "decision_at_prevalence",
            "prevalence": prevalence,
            "point": point,
            "threshold": threshold,
            "x": threshold,
            "y": benefit.value,
            "ci_low": benefit.low,
            "ci_high": benefit.high,
            "ci_method": benefit.method,
            "reference_y": share - (1 - share) * threshold / (1 - threshold),
            "definition": "x threshold probability, y net benefit of acting on the score, reference_y on everyone",
        }


def _evenly_spread(n: int) -> np.ndarray:
    """Return at most `MAX_CURVE_POINTS` of the indices below n. The first and the last are among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_CURVE_POINTS)).round().astype(np.int64))
