"""Rows of `estimates` and `comparisons` about calls and scores against the reference standard."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from diagchd_batch.evaluation.tables.definitions import CROSS_VALIDATED
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import NOT_READ, CompleteCases, Rater, Units, complete_cases
from diagchd_batch.statistics.classification import (
    compare_rates,
    delong_paired,
    estimate_score,
)
from diagchd_batch.statistics.classification.confusion import RATES
from diagchd_batch.statistics.classification.cross_validated import (
    cross_validated_auc,
    cross_validated_auc_difference,
    cross_validated_average_precision,
)
from diagchd_batch.statistics.classification.partial_verification import begg_greenes
from diagchd_batch.statistics.classification.rates import rate_of_cells
from diagchd_batch.statistics.estimate import Comparison
from diagchd_batch.statistics.target_prevalence import predictive_values_at_prevalence

COUNTS = ("tp", "fp", "fn", "tn")
HEADLINE_RATES = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")


def indeterminate_variants(units: Units, *raters: Rater) -> Iterator[tuple[str, tuple[Rater, ...]]]:
    """Yield the raters as they are, then with indeterminate results counted as wrong and as right.

    Args:
        units: The units with their reference labels.
        raters: The raters. If none of them has an indeterminate result, only the first variant is yielded.

    Yields:
        The name of the analysis set and the raters of this variant.
    """
    yield "determinate", raters
    if any(rater.n_indeterminate(units.truth) for rater in raters):
        yield "indeterminate_wrong", tuple(rater.with_indeterminate_as(units.truth, correct=False) for rater in raters)
        yield "indeterminate_right", tuple(rater.with_indeterminate_as(units.truth, correct=True) for rater in raters)


def call_rows(
    rows: RowBuilder, units: Units, rater: Rater, *, headline: bool, rates: Sequence[str] = tuple(RATES)
) -> Iterator[Row]:
    """Estimate the counts and rates of a rater's calls.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: The rater.
        headline: Whether the main figures belong to the headline table.
        rates: Names of the rates, from `statistics.classification.confusion.RATES`.

    Yields:
        Rows of `estimates` for each analysis set of `indeterminate_variants`.
    """
    for analysis_set, (variant,) in indeterminate_variants(units, rater):
        part = complete_cases(units, variant)
        here = rows.for_raters(units, rater).with_counts(units, part).with_columns(analysis_set=analysis_set)
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
    """Count true and false calls by subject.

    Args:
        truth: [n] reference labels, 0 or 1.
        call: [n] calls, 0 or 1.
        subject: int [n], the subjects' numbers from 0.

    Returns:
        float64 [subjects, 4]: TP, FP, FN, TN. Subjects without a unit are left out.
    """
    cell = (2 * (call == 0) + (truth == 0)).astype(np.int64)
    cells = np.bincount(4 * subject + cell, minlength=4 * (int(subject.max(initial=-1)) + 1)).reshape(-1, 4)
    return cells[cells.any(axis=1)].astype(np.float64)


def prevalence_rows(rows: RowBuilder, units: Units, rater: Rater) -> Iterator[Row]:
    """Estimate the prevalence among the units that the rater called.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: The rater.

    Yields:
        A row of `estimates`.
    """
    part = complete_cases(units, rater)
    here = rows.for_raters(units, rater).with_counts(units, part).with_columns(analysis_set="determinate")
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    # The prevalence is the PPV of calling everyone positive.
    everyone = subject_cells(truth, np.ones(len(truth)), subject)
    yield here.estimate("prevalence", rate_of_cells("ppv", everyone, **rows.settings.rate))


def other_prevalence_rows(rows: RowBuilder, units: Units, rater: Rater, prevalences: Sequence[float]) -> Iterator[Row]:
    """Estimate the PPV and NPV that the rater's sensitivity and specificity imply at other prevalences.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: The rater.
        prevalences: The prevalences, between 0 and 1.

    Yields:
        Rows of `estimates`, one for each prevalence and measure.
    """
    part = complete_cases(units, rater)
    here = (
        rows.for_raters(units, rater)
        .with_counts(units, part)
        .with_columns(analysis_set="determinate", covariate="prevalence")
    )
    cells = subject_cells(units.truth[part.rows], rater.call[part.rows], units.subject[part.rows])
    for prevalence in prevalences:
        values = predictive_values_at_prevalence(cells, prevalence)
        for endpoint, value in zip(("ppv_at_prevalence", "npv_at_prevalence"), values, strict=True):
            yield here.estimate(endpoint, value, level=f"{prevalence:g}")


def corrected_rows(rows: RowBuilder, units: Units, rater: Rater) -> Iterator[Row]:
    """Estimate sensitivity and specificity with a correction for units without a reference label.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: The rater.

    Yields:
        Two rows of `estimates`. There are none if all units with a call have a label, or none has.
    """
    part = complete_cases(units, rater, reference=False)
    truth = units.truth[part.rows]
    if not np.isnan(truth).any() or np.isnan(truth).all():
        return
    here = rows.for_raters(units, rater).with_counts(units, part).with_columns(analysis_set="partly_labelled")
    found = begg_greenes(truth, rater.call[part.rows], units.subject[part.rows])
    for name, result in zip(("sensitivity", "specificity"), found, strict=True):
        yield here.estimate(f"{name}_corrected", result)


def auc_and_brier_rows(rows: RowBuilder, units: Units, rater: Rater) -> Iterator[Row]:
    """Estimate AUC and average precision of a rater's scores, and the Brier score of the model's probabilities.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: A rater with scores.

    Yields:
        Rows of `estimates`, one for each measure.
    """
    scored = score_rater(rater)
    part = complete_cases(units, scored)
    here = rows.for_raters(units, rater).with_counts(units, part).with_columns(analysis_set="determinate")
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    score = scored.scores[part.rows]
    measures = {"roc_auc": "auc", "average_precision": "average_precision"}
    if rater.kind == "model":
        measures["brier"] = "brier"
    folds = folds_of(units, rater)
    for endpoint, measure in measures.items():
        if folds is None or measure == "brier":
            result = estimate_score(measure, truth, score, subject, **rows.settings.bootstrap)
            yield here.estimate(endpoint, result)
        else:
            result = _WITHIN_FOLDS[endpoint](truth, score, folds[part.rows], subject, **rows.settings.bootstrap)
            yield here.estimate(endpoint, result, definition=CROSS_VALIDATED[endpoint])


_WITHIN_FOLDS = {"roc_auc": cross_validated_auc, "average_precision": cross_validated_average_precision}


def folds_of(units: Units, *raters: Rater) -> np.ndarray | None:
    """Return the folds of the units if a rater's scores come from models of different folds, else None.

    Args:
        units: The units.
        raters: The raters. The scores of readers have no folds.
    """
    return units.folds if any(rater.kind in ("model", "run") for rater in raters) else None


def auc_difference(units: Units, part: CompleteCases, first: Rater, second: Rater, **bootstrap: Any) -> Comparison:
    """Return the difference of the AUCs of two raters, within folds if a rater's scores are out of fold.

    Args:
        units: The units with their reference labels.
        part: Which of them enter.
        first: A rater with scores.
        second: Another one.
        bootstrap: Number and seed of the resamples.
    """
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    scores = first.scores[part.rows], second.scores[part.rows]
    folds = folds_of(units, first, second)
    if folds is None:
        return delong_paired(truth, *scores, subject, quantile="student")
    return cross_validated_auc_difference(truth, *scores, folds[part.rows], subject, **bootstrap)


def comparison_rows(
    rows: RowBuilder, units: Units, rater: Rater, comparator: Rater, *, headline: bool
) -> Iterator[Row]:
    """Compare two raters on the units that both called. Differences are `rater` − `comparator`.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        rater: The first rater.
        comparator: The second rater. If both have scores, their AUCs are compared, too.
        headline: Whether the main figures belong to the headline table.

    Yields:
        Rows of `comparisons`.
    """
    for analysis_set, (first, second) in indeterminate_variants(units, rater, comparator):
        part = complete_cases(units, first, second)
        here = (
            rows.for_raters(units, rater, comparator).with_counts(units, part).with_columns(analysis_set=analysis_set)
        )
        shown = headline and analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        calls = first.call[part.rows], second.call[part.rows]
        for rate in HEADLINE_RATES:
            result = compare_rates(rate, truth, *calls, subject, **rows.settings.bootstrap)
            yield here.comparison(rate, result, headline=shown)
    if rater.score is not None and comparator.score is not None:
        first, second = score_rater(rater), score_rater(comparator)
        part = complete_cases(units, first, second)
        here = rows.for_raters(units, rater, comparator).with_counts(units, part)
        result = auc_difference(units, part, first, second, **rows.settings.bootstrap)
        columns = {"definition": CROSS_VALIDATED["roc_auc"]} if folds_of(units, rater, comparator) is not None else {}
        yield here.with_columns(analysis_set="determinate").comparison("roc_auc", result, **columns)


def score_rater(rater: Rater) -> Rater:
    """Return the rater with the units that have a score in place of those that have a call.

    Args:
        rater: A rater with scores. A unit without a score gets the reason `not_read`, unless it has another one.
    """
    missing = np.isnan(rater.scores)
    reason = np.where(missing & (rater.reason == 0), NOT_READ, np.where(missing, rater.reason, 0))
    return Rater(rater.kind, rater.name, rater.call, reason.astype(np.int8), rater.score)
