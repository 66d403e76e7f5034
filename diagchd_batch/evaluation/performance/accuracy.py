"""Calls and scores against the reference standard: the rows of one rater, and of one rater against another."""

from collections.abc import Iterator, Sequence

import numpy as np

from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import NOT_READ, Rater, Units, entered
from diagchd_batch.statistics.classification import (
    compare_rates,
    delong_paired,
    estimate_score,
    predictive_values_at,
)
from diagchd_batch.statistics.classification.confusion import RATES, Confusion, sensitivity, specificity
from diagchd_batch.statistics.classification.rates import rate_of_cells
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.resampling import TotalsStatistic, subject_interval

COUNTS = ("tp", "fp", "fn", "tn")
HEADLINE_RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")


def variants(units: Units, *raters: Rater) -> Iterator[tuple[str, tuple[Rater, ...]]]:
    """The raters as they are, then, where any result is not determinate, all such counted as wrong and as right."""
    yield "determinate", raters
    if any(rater.n_indeterminate(units.truth) for rater in raters):
        yield "indeterminate_wrong", tuple(rater.counted_as(units.truth, right=False) for rater in raters)
        yield "indeterminate_right", tuple(rater.counted_as(units.truth, right=True) for rater in raters)


def call_rows(
    rows: Rows, units: Units, rater: Rater, *, headline: bool, rates: Sequence[str] = tuple(RATES)
) -> Iterator[Row]:
    """Counts and rates of a rater's calls, each with its interval."""
    for analysis_set, (variant,) in variants(units, rater):
        part = entered(units, variant)
        here = rows.of(units, rater).over(units, part).having(analysis_set=analysis_set)
        shown = headline and analysis_set == "determinate"
        truth, call, subject = units.truth[part.rows], variant.call[part.rows], units.subject[part.rows]
        cells = subject_cells(truth, call, subject)
        for cell, count in zip(COUNTS, cells.sum(axis=0), strict=True):
            yield here.count(cell, float(count), headline=shown)
        for rate in rates:
            result = rate_of_cells(rate, cells, **rows.settings.rate)
            yield here.estimate(rate, result, headline=shown and rate in HEADLINE_RATES)
        if analysis_set == "determinate":
            yield here.count("indeterminate", float(rater.n_indeterminate(units.truth)))


def subject_cells(truth: np.ndarray, call: np.ndarray, subject: np.ndarray) -> np.ndarray:
    """subjects × 4 (TP, FP, FN, TN) of units with truth and call 0 or 1; subjects without a unit are left away."""
    cell = (2 * (call == 0) + (truth == 0)).astype(np.int64)
    cells = np.bincount(4 * subject + cell, minlength=4 * (int(subject.max(initial=-1)) + 1)).reshape(-1, 4)
    return cells[cells.any(axis=1)].astype(np.float64)


def prevalence_rows(rows: Rows, units: Units, rater: Rater) -> Iterator[Row]:
    """The prevalence among the rater's units."""
    part = entered(units, rater)
    here = rows.of(units, rater).over(units, part).having(analysis_set="determinate")
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    everyone = subject_cells(truth, np.ones(len(truth)), subject)  # prevalence is the PPV of calling everyone positive
    yield here.estimate("prevalence", rate_of_cells("ppv", everyone, **rows.settings.rate))


def other_prevalence_rows(rows: Rows, units: Units, rater: Rater, prevalences: Sequence[float]) -> Iterator[Row]:
    """PPV and NPV that the rater's sensitivity and specificity imply at other prevalences.

    Independent units: logit intervals (`predictive_values_at`); several a subject: the subject bootstrap.
    """
    part = entered(units, rater)
    here = rows.of(units, rater).over(units, part).having(analysis_set="determinate", covariate="prevalence")
    cells = subject_cells(units.truth[part.rows], rater.call[part.rows], units.subject[part.rows])
    table = Confusion(*(int(count) for count in cells.sum(axis=0)))
    for prevalence in prevalences:
        values: tuple[Estimate, ...] = predictive_values_at(table, prevalence)
        if len(cells) < table.n:
            values = tuple(
                subject_interval(cells, implied, n=table.n, **rows.settings.bootstrap)
                if value.value is not None
                else value
                for value, implied in zip(values, _implied_at(prevalence), strict=True)
            )
        for endpoint, value in zip(("ppv_at_prevalence", "npv_at_prevalence"), values, strict=True):
            yield here.estimate(endpoint, value, level=f"{prevalence:g}")


def _implied_at(prevalence: float) -> tuple[TotalsStatistic, TotalsStatistic]:
    """PPV and NPV by Bayes' rule as functions of counts; NaN where there is no such call."""

    def ppv(counts: np.ndarray) -> np.ndarray:
        return _share(prevalence * sensitivity(counts), (1 - prevalence) * (1 - specificity(counts)))

    def npv(counts: np.ndarray) -> np.ndarray:
        return _share((1 - prevalence) * specificity(counts), prevalence * (1 - sensitivity(counts)))

    return ppv, npv


def _share(right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    right, total = np.asarray(right), np.asarray(right + wrong)
    return np.divide(right, total, out=np.full(total.shape, np.nan), where=total > 0)


def score_rows(rows: Rows, units: Units, rater: Rater) -> Iterator[Row]:
    """AUC, average precision and, for the model's probability, the Brier score."""
    scored = scored_by(rater)
    part = entered(units, scored)
    here = rows.of(units, rater).over(units, part).having(analysis_set="determinate")
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    score = scored.scores[part.rows]
    measures = {"roc_auc": "auc", "average_precision": "average_precision"}
    if rater.kind == "model":
        measures["brier"] = "brier"
    for endpoint, measure in measures.items():
        yield here.estimate(endpoint, estimate_score(measure, truth, score, subject, **rows.settings.bootstrap))


def comparison_rows(rows: Rows, units: Units, rater: Rater, comparator: Rater, *, headline: bool) -> Iterator[Row]:
    """`rater` − `comparator` on the units that both called."""
    for analysis_set, (first, second) in variants(units, rater, comparator):
        part = entered(units, first, second)
        here = rows.of(units, rater, comparator).over(units, part).having(analysis_set=analysis_set)
        shown = headline and analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        calls = first.call[part.rows], second.call[part.rows]
        for rate in HEADLINE_RATES:
            result = compare_rates(rate, truth, *calls, subject, **rows.settings.bootstrap)
            yield here.comparison(rate, result, headline=shown)
    if rater.score is not None and comparator.score is not None:
        first, second = scored_by(rater), scored_by(comparator)
        part = entered(units, first, second)
        here = rows.of(units, rater, comparator).over(units, part)
        scores = first.scores[part.rows], second.scores[part.rows]
        result = delong_paired(units.truth[part.rows], *scores, units.subject[part.rows])
        yield here.having(analysis_set="determinate").comparison("roc_auc", result)


def scored_by(rater: Rater) -> Rater:
    """The rater with units that have a score in place of units that have a call; without a score is `not_read`."""
    missing = np.isnan(rater.scores)
    reason = np.where(missing & (rater.reason == 0), NOT_READ, np.where(missing, rater.reason, 0))
    return Rater(rater.kind, rater.name, rater.call, reason.astype(np.int8), rater.score)
