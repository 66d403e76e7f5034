"""Cautions beside figures whose interval or test was measured to be wrong, or was not measured, at the cohort's size.

The measurements are in docs/statistics.md (`python -m tools.coverage`). A caution stands beside a figure of a cohort
that resembles a cell in which the coverage lay below 93 %, or the rejections above 5 %, by more than 3.5 of the
simulation's own standard errors. Intervals that cover more than 98.5 % are wide but safe, and get none.
"""

from collections.abc import Mapping
from typing import Any

MEASURED_FROM = 10
"""The smallest number of diseased that was measured."""
READERS_FOR_GENERALISING = 5
"""With fewer readers, a statement about readers in general carries a caution."""

_OF_DISEASED = (
    *("sensitivity", "sensitivity_corrected", "specificity_corrected"),
    *("balanced_accuracy", "lr_positive", "lr_negative", "f1", "mcc"),
)
_OF_SCORES = ("roc_auc", "average_precision", "calibration_intercept", "calibration_slope")
_REJECTIONS = {3: "11.4 %", 4: "7.6 %"}
"""Readers → the highest share of 1,000 cohorts without a difference in which a test rejected at 5 %."""


def caution(row: Mapping[str, Any]) -> str | None:
    """Return what is known against the interval or test of a row of `estimates` or `comparisons`, or None.

    Args:
        row: The row's columns, of which `n_positive` and `n_negative` may be missing.
    """
    if row.get("ci_low") is None and row.get("p") is None:
        return None
    diseased, healthy = row.get("n_positive"), row.get("n_negative")
    if diseased is None or healthy is None:
        return None
    endpoint, compared = row["endpoint"], row.get("difference") is not None
    if endpoint.removesuffix("_at_prevalence") in (*_OF_DISEASED, *_OF_SCORES) and diseased < MEASURED_FROM:
        return f"fewer than {MEASURED_FROM} diseased: how often such an interval holds the true value was not measured"
    return None if compared else _caution_of_rate(endpoint, diseased, healthy, row.get("cluster") == "subject")


def _caution_of_rate(endpoint: str, diseased: int, healthy: int, repeats: bool) -> str | None:
    """Return what is known against the interval of a rate of one rater."""
    rare = diseased <= 0.05 * (diseased + healthy)
    if endpoint == "lr_positive" and healthy < 50:
        return (
            "the interval of LR+ held the true value in 63.0 % of the cohorts with 20 healthy and a specificity of "
            "0.99 that had one, and in 89.7 % at a specificity of 0.97"
        )
    if endpoint == "lr_positive" and healthy <= 110:
        return (
            "the interval of LR+ held the true value in 90.1 % of the cohorts with 90 healthy and a specificity of "
            "0.99 that had one"
        )
    if endpoint == "balanced_accuracy" and diseased <= 15 and healthy < 50:
        return (
            "the interval of balanced accuracy held the true value in 91.2 % of 2,000 cohorts with 10 diseased and 20 "
            "healthy"
        )
    if endpoint == "brier_at_prevalence" and diseased < 50:
        return (
            "the interval of the Brier score at a prevalence of 1 % held the true value in 87.5 % of 400 cohorts with "
            "20 diseased and an AUC of 0.8"
        )
    if endpoint == "npv" and repeats and diseased <= 30 and rare:
        return (
            "the interval of NPV held the true value in 91.0 % of 2,000 cohorts with repeat scans, 20 diseased and a "
            "sensitivity of 0.99, at a prevalence of 2 %"
        )
    return None


def caution_for_readers(n_readers: int) -> str | None:
    """Return the caution of a figure about readers in general, or None if there are enough readers.

    Args:
        n_readers: The number of readers in the study.
    """
    if n_readers >= READERS_FOR_GENERALISING or n_readers not in _REJECTIONS:
        return None
    return (
        f"readers in general from {n_readers} readers: tests rejected in up to {_REJECTIONS[n_readers]} of 1,000 "
        f"cohorts without a difference; a conclusion needs at least {READERS_FOR_GENERALISING} readers"
    )
