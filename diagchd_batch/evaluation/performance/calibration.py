"""Whether the model's probabilities mean what they say."""

from collections.abc import Iterator

from diagchd_batch.evaluation.performance.describe import CALIBRATION_BINS
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import Rater, Units, entered
from diagchd_batch.statistics.calibration import calibration_intercept, calibration_slope, expected_calibration_error


def calibration_estimate_rows(rows: Rows, units: Units, model: Rater) -> Iterator[Row]:
    """Intercept and slope of the logistic recalibration, and the expected calibration error."""
    part = entered(units, model)
    here = rows.of(units, model).over(units, part).having(analysis_set="determinate")
    truth, score, subject = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    yield here.estimate("calibration_intercept", calibration_intercept(truth, score, subject))
    yield here.estimate("calibration_slope", calibration_slope(truth, score, subject))
    bins = f"{CALIBRATION_BINS} bins"
    error = expected_calibration_error(truth, score, CALIBRATION_BINS)
    yield here.estimate("expected_calibration_error", error, covariate="bins", level=bins)
