"""Calibration of the model's probabilities: rows of `estimates` and of the table `calibration`."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import score_rater
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases
from diagchd_batch.statistics.calibration import (
    calibration_bins,
    calibration_intercept,
    calibration_slope,
    expected_calibration_error,
)
from diagchd_batch.statistics.classification import estimate_score
from diagchd_batch.statistics.classification.clustered import clustered_proportion
from diagchd_batch.statistics.classification.proportions import proportion

CALIBRATED = "_calibrated"
"""Suffix of endpoints about probabilities to which the package's calibration was applied."""

CALIBRATION_BINS = 10
"""Number of bins, all of equal width."""


def calibration_estimate_rows(rows: RowBuilder, units: Units, model: Rater, suffix: str = "") -> Iterator[Row]:
    """Estimate intercept and slope of the logistic recalibration, and the expected calibration error.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        model: The model with its probabilities.
        suffix: What the names of the endpoints end with.

    Yields:
        Three rows of `estimates`.
    """
    part = complete_cases(units, model)
    here = rows.for_raters(units, model).with_counts(units, part).with_columns(analysis_set="determinate")
    truth, score, subject = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    yield here.estimate(f"calibration_intercept{suffix}", calibration_intercept(truth, score, subject))
    yield here.estimate(f"calibration_slope{suffix}", calibration_slope(truth, score, subject))
    bins = f"{CALIBRATION_BINS} bins"
    error = expected_calibration_error(truth, score, CALIBRATION_BINS)
    yield here.estimate(f"expected_calibration_error{suffix}", error, covariate="bins", level=bins)


def calibrated_estimate_rows(rows: RowBuilder, units: Units, model: Rater) -> Iterator[Row]:
    """Estimate the Brier score and the calibration of probabilities to which the package's calibration was applied.

    The figures of the uncalibrated probabilities have the same names without the suffix `CALIBRATED`.

    Args:
        rows: Columns that all rows share.
        units: The units with their reference labels.
        model: The model with its calibrated probabilities.

    Yields:
        Four rows of `estimates`.
    """
    part = complete_cases(units, score_rater(model))
    here = rows.for_raters(units, model).with_counts(units, part).with_columns(analysis_set="determinate")
    known = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    yield here.estimate(f"brier{CALIBRATED}", estimate_score("brier", *known, **rows.settings.bootstrap))
    yield from calibration_estimate_rows(rows, units, model, CALIBRATED)


def calibration_rows(units: Units, model: Rater, *, calibrated: bool = False) -> Iterator[Row]:
    """Compute the share of diseased units in each bin of the probability, with its interval.

    Args:
        units: The units with their reference labels.
        model: The model with its probabilities.
        calibrated: Whether the package's calibration was applied to them.

    Yields:
        One row of `calibration` for each bin.
    """
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
            "calibrated": calibrated,
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
