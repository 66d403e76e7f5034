"""Abstention at study level: rows of the table `abstention`, and of `estimates` on the area under each curve.

A measure of uncertainty is worth something if the errors fall faster than at random when the most uncertain studies are
left out. An oracle, which leaves out the wrong calls first, shows how far they could fall. Where models of different
folds gave the scores, the same share of each fold is kept.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from diagchd_batch.evaluation.database import CohortDatabase
from diagchd_batch.evaluation.performance.accuracy import folds_of
from diagchd_batch.evaluation.tables.definitions import CROSS_VALIDATED
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import NOT_SCORED, Rater, Units, complete_cases
from diagchd_batch.statistics.classification.cross_validated import cross_validated_abstention_area
from diagchd_batch.statistics.classification.risk_coverage import abstention_area, abstention_curve

RANDOM, ORACLE = "random", "oracle"
MAX_POINTS = 100

_OF_FRAMES = {"chd_probability_sd": "{0}", "mask_disagreement": "{0}", "view_score": "1 - {0}"}
"""Columns of the scores that tell an uncertainty → the uncertainty, which is higher where less is certain."""

_MEAN = "CAST(sum(CAST({0} AS DECIMAL(18, 12))) AS DOUBLE) / count({0})"
"""A mean over decimals, whose sums do not depend on the order in which DuckDB's threads add."""


def study_uncertainties(database: CohortDatabase) -> dict[str, np.ndarray]:
    """Return the uncertainty of each planned study by each measure that the scores have.

    A study's uncertainty is the mean over its images, and an image's is the mean over its scored frames.

    Args:
        database: A database with the tables `frames` and `planned`.

    Returns:
        Name of the column → float64 [n], higher where less is certain, NaN where the study has no value. The studies
        are sorted by token.
    """
    counts = ", ".join(f"count({name}) AS {name}" for name in _OF_FRAMES)
    (found,) = database.rows(f"SELECT {counts} FROM frames WHERE status = 'ok'")
    names = [name for name, n in found.items() if n]
    if not names:
        return {}
    means = ", ".join(f"{_MEAN.format(name)} AS {name}" for name in names)
    frames = "(SELECT * FROM frames WHERE status = 'ok')"
    if database.has_clips:
        frames = f"(SELECT study, {means} FROM {frames} GROUP BY study, image_id)"
    shown = ", ".join(f"{_OF_FRAMES[name].format(name)} AS {name}" for name in names)
    columns = database.arrays(
        f"SELECT {shown} FROM planned LEFT JOIN (SELECT study, {means} FROM {frames} GROUP BY study) USING (study) "
        "ORDER BY study"
    )
    return {name: column.astype(np.float64) for name, column in columns.items()}


def abstention_rows(
    rows: RowBuilder, units: Units, model: Rater, threshold: float, measured: dict[str, np.ndarray]
) -> tuple[list[Row], list[Row]]:
    """Compute the curves of error, sensitivity and specificity against the share of studies that are kept.

    Args:
        rows: Columns that all rows share, among them those of the operating point.
        units: The studies with their reference labels.
        model: The model at the operating point.
        threshold: The operating point's threshold.
        measured: Further uncertainties, from `study_uncertainties`.

    Returns:
        Rows of `abstention`, and rows of `estimates`. None if no study has a label and a call.
    """
    part = complete_cases(units, model)
    if not part.rows.any():
        return [], []
    uncertainties = {"score_margin": -np.abs(model.scores - threshold), **measured}
    if threshold != 0.5:  # at 0.5 the entropy has the order of the margin
        uncertainties["score_entropy"] = -np.abs(model.scores - 0.5)
    wrong = np.where(part.rows, (model.call != units.truth).astype(np.float64), np.nan)
    references = {RANDOM: np.zeros(len(units)), ORACLE: wrong}
    curves, areas = [], []
    for name, values in {**uncertainties, **references}.items():
        known = part.rows & ~np.isnan(values)
        if known.any():
            curves += list(_curve(rows, units, model, name, values, known))
            areas.append(_area(rows, units, model, name, values, known))
    return curves, areas


def _curve(
    rows: RowBuilder, units: Units, model: Rater, name: str, values: np.ndarray, known: np.ndarray
) -> Iterator[Row]:
    n = int(known.sum())
    n_kept = np.unique(np.linspace(1, n, min(n, MAX_POINTS)).round().astype(np.int64))
    folds = folds_of(units, model)
    curve = abstention_curve(
        units.truth[known], model.call[known], values[known], n_kept, None if folds is None else folds[known]
    )
    for point, kept in enumerate(n_kept):
        yield {
            "unit": units.name,
            "subject": model.name,
            "operating_point": rows.common["operating_point"],
            "threshold": rows.common["threshold"],
            "uncertainty": name,
            "point": point,
            "n_kept": int(kept),
            "kept": float(kept / n),
            "error_rate": float(curve.error[point]),
            "sensitivity": float(curve.sensitivity[point]),
            "specificity": float(curve.specificity[point]),
        }


def _area(rows: RowBuilder, units: Units, model: Rater, name: str, values: np.ndarray, known: np.ndarray) -> Row:
    with_call = complete_cases(units, model).rows
    reason = np.where(with_call & ~known, NOT_SCORED, model.reason).astype(np.int8)
    here = rows.for_raters(units, model).with_counts(units, complete_cases(units, replace(model, reason=reason)))
    here = here.with_columns(analysis_set="determinate", covariate="uncertainty", level=name)
    columns, subject = (units.truth[known], model.call[known], values[known]), units.subject[known]
    options = rows.settings.bootstrap | ({"resamples": 0} if name in (RANDOM, ORACLE) else {})
    folds = folds_of(units, model)
    if folds is None:
        return here.estimate("abstention_area", abstention_area(*columns, subject, **options))
    result = cross_validated_abstention_area(*columns, folds[known], subject, **options)
    return here.estimate("abstention_area", result, definition=CROSS_VALIDATED["abstention_area"])
