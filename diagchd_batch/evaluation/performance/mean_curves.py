"""ROC and precision-recall curves of out-of-fold scores: means over the folds' curves (vertical averages).

Source: Fawcett (2006), Pattern Recognit Lett 27:861, section 7.
"""

from collections.abc import Iterator
from typing import Literal

import numpy as np

from diagchd_batch.evaluation.tables.rows import Row

_MAX_POINTS = 1_000
_ROUNDING = 1e-12


def mean_curve_rows(common: Row, truth: np.ndarray, score: np.ndarray, folds: np.ndarray) -> Iterator[Row]:
    """Compute the means over the folds' curves at each x. The areas below them are the cross-validated measures.

    Their points have no threshold, because the scores of different folds have different scales.

    Args:
        common: The columns that all rows share.
        truth: [n] reference labels.
        score: [n] scores.
        folds: int64 [n], the fold whose model gave the score.

    Yields:
        Rows of `curves`: ROC and precision-recall curve. There are none if no fold has both classes.
    """
    roc: list[tuple[np.ndarray, np.ndarray]] = []
    precision: list[tuple[np.ndarray, np.ndarray]] = []
    pairs, positives = [], []
    for fold in np.unique(folds):
        inside = folds == fold
        n_positive, n_negative = int(truth[inside].sum()), int((1 - truth[inside]).sum())
        if not n_positive or not n_negative:
            continue
        order = np.argsort(-score[inside], kind="stable")
        last_of_score = np.flatnonzero(np.r_[np.diff(score[inside][order]) != 0, True])
        tp = np.cumsum(truth[inside][order])[last_of_score]
        called = last_of_score + 1.0
        roc.append((np.r_[0.0, (called - tp) / n_negative], np.r_[0.0, tp / n_positive]))
        precision.append((tp / n_positive, tp / called))
        pairs.append(n_positive * n_negative)
        positives.append(n_positive)
    if not roc:
        return
    rates = np.unique(np.concatenate([x for x, _ in roc]))
    # At an x where a curve rises steeply it has several points; the mean has the lowest and the highest of them.
    low, high = (
        np.average([_at(curve, rates, side) for curve in roc], axis=0, weights=pairs) for side in ("left", "right")
    )
    x, y = np.repeat(rates, 2), np.stack([low, high], axis=1).ravel()
    kept = _spread(len(x))
    for point, place in enumerate(kept):
        definition = "x 1 − specificity, y sensitivity; mean of the folds' curves, weighted by their pairs"
        yield {
            **common,
            "curve": "roc",
            "point": point,
            "x": float(x[place]),
            "y": float(y[place]),
            "definition": definition,
        }
    recalls = np.unique(np.concatenate([x[x > 0] for x, _ in precision]))
    steps = [values[np.searchsorted(x, recalls - _ROUNDING)] for x, values in precision]
    mean = np.average(steps, axis=0, weights=positives)
    for point, place in enumerate(_spread(len(recalls))):
        definition = "x sensitivity, y PPV; mean of the folds' curves, weighted by their diseased units"
        yield {
            **common,
            "curve": "precision_recall",
            "point": point,
            "x": float(recalls[place]),
            "y": float(mean[place]),
            "definition": definition,
        }


def _at(curve: tuple[np.ndarray, np.ndarray], rates: np.ndarray, side: Literal["left", "right"]) -> np.ndarray:
    """Return the lowest (left) or highest (right) y of a ROC curve at each x. Lines between its points are straight."""
    x, y = curve
    place = np.searchsorted(x, rates, side=side)
    met = np.isin(rates, x)
    own = y[np.clip(place if side == "left" else place - 1, 0, len(y) - 1)]
    return np.where(met, own, np.interp(rates, x, y))


def _spread(n: int) -> np.ndarray:
    """Return at most `_MAX_POINTS` of the indices below n. The first and the last are among them."""
    return np.unique(np.linspace(0, n - 1, min(n, _MAX_POINTS)).round().astype(np.int64))
