"""The model's scores reweighted to other prevalences: rows of `estimates` and of `curves`.

A cohort is often enriched with diseased subjects. These rows stand beside the figures as observed.
"""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import subject_cells
from diagchd_batch.evaluation.performance.calibration import CALIBRATION_BINS
from diagchd_batch.evaluation.performance.curves import decision_rows
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases
from diagchd_batch.statistics.target_prevalence import (
    calibration_bins_at_prevalence,
    estimate_at_prevalence,
    predictive_values_at_prevalence,
)

REWEIGHTED = ("average_precision", "brier", "calibration_intercept", "calibration_slope")
"""Figures that are reweighted. Their endpoints end in `_at_prevalence`."""

_PREVALENCES = (*(mantissa * 10.0**power for power, mantissa in product((-3, -2, -1), (1, 2, 3, 5))),)
"""Prevalences of the curves of PPV and NPV, from 0.1 to 50 %."""


def predictive_value_rows(units: Units, model: Rater, threshold: float, prevalences: Sequence[float]) -> Iterator[Row]:
    """Compute PPV and NPV over many prevalences, by Bayes' rule.

    Args:
        units: The units with their reference labels.
        model: The model at an operating point.
        threshold: Its threshold.
        prevalences: Prevalences to compute beside the usual ones.

    Yields:
        Rows of `curves`: `ppv_by_prevalence` and `npv_by_prevalence`. There are none if the units are of one class.
    """
    part = complete_cases(units, model)
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    if len(truth) == 0 or truth.min() == truth.max():
        return
    cells = subject_cells(truth, model.call[part.rows], subject)
    common = {"unit": units.name, "subject_kind": model.kind, "subject": model.name, "threshold": threshold}
    shown = sorted({round(prevalence, 12) for prevalence in (*_PREVALENCES, *prevalences)})
    found = [predictive_values_at_prevalence(cells, prevalence) for prevalence in shown]
    for place, curve in enumerate(("ppv_by_prevalence", "npv_by_prevalence")):
        for point, (prevalence, values) in enumerate(zip(shown, found, strict=True)):
            yield {
                **common,
                "curve": curve,
                "point": point,
                "x": prevalence,
                "y": values[place].value,
                "ci_low": values[place].low,
                "ci_high": values[place].high,
                "ci_method": values[place].method,
                "definition": "x prevalence, y predictive value by Bayes' rule",
            }


def reweighted_score_rows(rows: RowBuilder, units: Units, model: Rater, prevalences: Sequence[float]) -> Iterator[Row]:
    """Estimate average precision, Brier score, calibration intercept and slope at other prevalences.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        model: The model with its probabilities.
        prevalences: The prevalences, between 0 and 1.

    Yields:
        Rows of `estimates`, one for each prevalence and figure.
    """
    part = complete_cases(units, model)
    here = (
        rows.for_raters(units, model)
        .with_counts(units, part)
        .with_columns(analysis_set="determinate", covariate="prevalence")
    )
    truth, score, subject = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    # Average precision ranks all units together, which scores of different folds do not allow.
    names = REWEIGHTED if units.folds is None else [name for name in REWEIGHTED if name != "average_precision"]
    for prevalence in prevalences:
        for name in names:
            result = estimate_at_prevalence(name, truth, score, prevalence, subject)
            yield here.estimate(f"{name}_at_prevalence", result, level=f"{prevalence:g}")


def reweighted_curve_rows(units: Units, model: Rater, prevalences: Sequence[float]) -> Iterator[Row]:
    """Compute the calibration curve and the decision curve at other prevalences.

    Args:
        units: The units with their reference labels.
        model: The model with its probabilities.
        prevalences: The prevalences, between 0 and 1.

    Yields:
        One row of `curves` for each prevalence and bin that is not empty, and for each prevalence and threshold. There
        are none if the units are of one class.
    """
    known = ~np.isnan(units.truth) & ~np.isnan(model.scores)
    truth, score, subject = units.truth[known], model.scores[known], units.subject[known]
    if len(truth) == 0 or truth.min() == truth.max():
        return
    common = {"unit": units.name, "subject_kind": model.kind, "subject": model.name}
    for prevalence in prevalences:
        yield from decision_rows(common, truth, score, subject, prevalence)
        found = calibration_bins_at_prevalence(truth, score, prevalence, subject, bins=CALIBRATION_BINS)
        for place, (part, observed) in enumerate(found):
            if part.n:
                yield {
                    **common,
                    "curve": "calibration_at_prevalence",
                    "prevalence": prevalence,
                    "point": place,
                    "x": part.mean_probability,
                    "y": observed.value,
                    "ci_low": observed.low,
                    "ci_high": observed.high,
                    "ci_method": observed.method,
                    "definition": "x mean score, y share of diseased units, of a bin of the table calibration",
                }
