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

_OF_DISEASED = ("sensitivity", "balanced_accuracy", "lr_positive", "lr_negative", "f1", "mcc")
_OF_SCORES = ("roc_auc", "average_precision", "calibration_intercept", "calibration_slope")
_REJECTIONS = {3: "7.3 %", 4: "6.5 %"}
"""Readers → the highest share of 400 cohorts without a difference in which a test rejected at 5 %."""


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
    endpoint, compared = row["endpoint"].removesuffix("_at_prevalence"), row.get("difference") is not None
    if endpoint in (*_OF_DISEASED, *_OF_SCORES) and diseased < MEASURED_FROM:
        return f"fewer than {MEASURED_FROM} diseased: how often such an interval holds the true value was not measured"
    if endpoint == "lr_positive" and not compared and healthy < 50:
        return "the interval of LR+ held the true value in 87.2 % of 1,000 cohorts with 20 healthy"
    if endpoint == "ppv" and compared and diseased <= 50 and diseased <= 0.05 * (diseased + healthy):
        return (
            "the test of PPV rejected in 8.8 % of 500 cohorts without a difference "
            "(20 diseased, prevalence 2 %); 5 % would be right"
        )
    repeats = row.get("cluster") == "subject"
    if endpoint == "roc_auc" and compared and repeats and diseased <= 20 and diseased <= 0.05 * (diseased + healthy):
        return (
            "the test of the AUC rejected in 9.2 % of 500 cohorts with repeat scans and without a difference "
            "(10 diseased, prevalence 1 %); 5 % would be right"
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
        f"readers in general from {n_readers} readers: tests rejected in up to {_REJECTIONS[n_readers]} of 400 cohorts "
        f"without a difference; a conclusion needs at least {READERS_FOR_GENERALISING} readers"
    )
