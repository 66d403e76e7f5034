"""Tables that describe rather than test: cross tables, curves, calibration bins, characteristics, worst cases."""

from collections.abc import Iterator, Sequence

import numpy as np

from diagchd_batch.evaluation.cohort.database import CohortDatabase
from diagchd_batch.evaluation.subgroups.covariates import Covariate
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units import COUNTED_BOTH_WAYS, EXCLUDED, Rater, Units
from diagchd_batch.statistics.calibration import calibration_bins, decision_curve
from diagchd_batch.statistics.classification.clustered import clustered_proportion
from diagchd_batch.statistics.classification.proportions import proportion

MAX_CURVE_POINTS = 500
CALIBRATION_BINS = 10
WORST_CASES = 20

_CALLS = ("negative", "positive", "indeterminate", "missing")
_LABELS = ("negative", "positive", "unknown")


def cross_rows(units: Units, rater: Rater, comparator: Rater | None, operating_point: str | None) -> Iterator[Row]:
    """How often the rater's and the comparator's calls meet, by reference label; None: the reference label alone."""
    shown = rater.reason != EXCLUDED
    label = np.where(np.isnan(units.truth), 2, np.nan_to_num(units.truth)).astype(np.int64)
    first = _call_codes(rater)
    second = label if comparator is None else _call_codes(comparator)
    cells = np.stack([label, first, second], axis=1)[shown]
    for (of_label, call, other), n in zip(*np.unique(cells, axis=0, return_counts=True), strict=True):
        yield {
            "unit": units.name,
            "operating_point": operating_point,
            "subject_kind": rater.kind,
            "subject": rater.name,
            "comparator_kind": "reference" if comparator is None else comparator.kind,
            "comparator": "reference" if comparator is None else comparator.name,
            "reference_label": _LABELS[of_label],
            "call": _CALLS[call],
            "comparator_call": _LABELS[other] if comparator is None else _CALLS[other],
            "n": int(n),
        }


def _call_codes(rater: Rater) -> np.ndarray:
    absent = np.where(np.isin(rater.reason, COUNTED_BOTH_WAYS), 2, 3)
    return np.where(rater.reason == 0, np.nan_to_num(rater.call), absent).astype(np.int64)


def curve_rows(units: Units, rater: Rater) -> Iterator[Row]:
    """ROC and precision-recall curves of a score, and for the model its decision curve; thinned to some points."""
    known = ~np.isnan(units.truth) & ~np.isnan(rater.scores)
    truth, score = units.truth[known], rater.scores[known]
    if len(truth) == 0 or truth.min() == truth.max():
        return
    common = {"unit": units.name, "subject_kind": rater.kind, "subject": rater.name}
    order = np.argsort(-score, kind="stable")
    last_of_score = np.flatnonzero(np.r_[np.diff(score[order]) != 0, True])
    tp = np.cumsum(truth[order])[last_of_score]
    called = last_of_score + 1.0
    n_positive, n_negative = tp[-1], called[-1] - tp[-1]
    thresholds, keep = score[order][last_of_score], _thinned(len(last_of_score))
    false_positive_rate = (called - tp) / n_negative
    yield {**common, "curve": "roc", "point": 0, "x": 0.0, "y": 0.0, "definition": "x 1 − specificity, y sensitivity"}
    for point, place in enumerate(keep, start=1):
        yield {
            **common,
            "curve": "roc",
            "point": point,
            "threshold": float(thresholds[place]),
            "x": float(false_positive_rate[place]),
            "y": float(tp[place] / n_positive),
            "definition": "x 1 − specificity, y sensitivity",
        }
    for point, place in enumerate(keep):
        yield {
            **common,
            "curve": "precision_recall",
            "point": point,
            "threshold": float(thresholds[place]),
            "x": float(tp[place] / n_positive),
            "y": float(tp[place] / called[place]),
            "definition": "x sensitivity, y PPV",
        }
    if rater.kind != "model":
        return
    decision = decision_curve(truth, score)
    for point, threshold in enumerate(decision.threshold):
        yield {
            **common,
            "curve": "decision",
            "point": point,
            "threshold": float(threshold),
            "x": float(threshold),
            "y": float(decision.net_benefit[point]),
            "reference_y": float(decision.net_benefit_all[point]),
            "definition": "x threshold probability, y net benefit of acting on the score, reference_y on everyone",
        }


def _thinned(n: int) -> np.ndarray:
    """At most MAX_CURVE_POINTS of n places, evenly spread, the first and last among them."""
    return np.unique(np.linspace(0, n - 1, min(n, MAX_CURVE_POINTS)).round().astype(np.int64))


def calibration_rows(units: Units, model: Rater) -> Iterator[Row]:
    """Bins of equal width with the share of diseased and its interval."""
    known = ~np.isnan(units.truth) & ~np.isnan(model.scores)
    truth, score = units.truth[known], model.scores[known]
    _, subject = np.unique(units.subject[known], return_inverse=True)
    clustered = len(subject) > 0 and subject.max() + 1 < len(subject)
    for place, part in enumerate(calibration_bins(truth, score, CALIBRATION_BINS)):
        if clustered:
            inside = (score > part.low) & (score <= part.high) | ((place == 0) & (score == 0))
            positive = np.bincount(subject[inside], weights=truth[inside])
            observed = clustered_proportion(positive, np.bincount(subject[inside]).astype(np.float64))
        else:
            observed = proportion(part.n_positive, part.n)
        yield {
            "unit": units.name,
            "subject": model.name,
            "bins": CALIBRATION_BINS,
            "bin": place,
            "score_low": part.low,
            "score_high": part.high,
            "n": part.n,
            "n_positive": part.n_positive,
            "mean_score": part.mean_probability,
            "observed": part.observed,
            "ci_low": observed.low,
            "ci_high": observed.high,
            "ci_method": observed.method,
            "null_reason": None if observed.null_reason is None else str(observed.null_reason),
        }


def characteristic_rows(units: Units, covariates: Sequence[Covariate]) -> Iterator[Row]:
    """Number and share of every level, and the distribution of numbers, for all studies and by reference label."""
    groups = {
        "all": np.ones(len(units), dtype=bool),
        "positive": units.truth == 1,
        "negative": units.truth == 0,
        "without_reference": np.isnan(units.truth),
    }
    for group, rows in groups.items():
        n = int(rows.sum())
        yield {"variable": "studies", "group": group, "statistic": "n", "value": float(n), "n": n}
        for covariate in covariates:
            common = {"variable": covariate.name, "group": group, "n": n}
            counts = np.bincount(covariate.code[rows], minlength=len(covariate.levels))
            for level, count in zip(covariate.levels, counts, strict=True):
                yield {**common, "level": level, "statistic": "n", "value": float(count)}
                share = {"value": float(count / n)} if n else {"null_reason": "no_units"}
                yield {**common, "level": level, "statistic": "share", **share}
            if covariate.number is not None:
                yield from _number_rows(common, covariate.number[rows])


def _number_rows(common: Row, numbers: np.ndarray) -> Iterator[Row]:
    known = numbers[~np.isnan(numbers)]
    statistics: dict[str, float | None] = {name: None for name in _NUMBER_STATISTICS}
    if len(known):
        quantiles = np.quantile(known, [0, 0.25, 0.5, 0.75, 1])
        sd = known.std(ddof=1) if len(known) > 1 else None
        statistics = dict(zip(_NUMBER_STATISTICS, [known.mean(), sd, *quantiles], strict=True))
    for name, value in statistics.items():
        row = {**common, "n": len(known), "statistic": name}
        yield row | ({"null_reason": "no_units"} if value is None else {"value": float(value)})


_NUMBER_STATISTICS = ("mean", "sd", "minimum", "q1", "median", "q3", "maximum")


def worst_study_rows(database: CohortDatabase, threshold: float) -> Iterator[Row]:
    """The diseased studies with the lowest scores and the healthy ones with the highest, on the wrong side."""
    for kind, label, wrong, order in (
        ("false_negative", 1, "score < ?", "score"),
        ("false_positive", 0, "score >= ?", "score DESC"),
    ):
        found = database.rows(
            f"SELECT study_id, score AS value, CAST(label AS TINYINT) AS reference_label FROM results "
            f"WHERE status = 'analysed' AND label = {label} AND {wrong} ORDER BY {order}, study LIMIT {WORST_CASES}",
            [threshold],
        )
        words = "diseased, score below" if label else "healthy, score at or above"
        for rank, row in enumerate(found, start=1):
            definition = f"study's score; {words} the threshold {threshold:g}"
            yield {"kind": kind, "rank": rank, **row, "definition": definition}


def worst_image_rows(database: CohortDatabase) -> Iterator[Row]:
    """The images with the lowest mean Dice of septum and heart; needs the view `overlap`."""
    found = database.rows(
        "SELECT study_id, image_id, frame, dice_foreground AS value, CAST(label AS TINYINT) AS reference_label "
        "FROM overlap JOIN planned USING (study) JOIN labels USING (study) WHERE dice_foreground IS NOT NULL "
        f"ORDER BY dice_foreground, image_id, frame LIMIT {WORST_CASES}"
    )
    for rank, row in enumerate(found, start=1):
        definition = "image's mean Dice of septum and heart"
        yield {"kind": "low_dice", "rank": rank, "class": "foreground", **row, "definition": definition}
