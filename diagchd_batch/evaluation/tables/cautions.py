"""Cautions beside figures whose interval or test was measured to be wrong, or was not measured, at the cohort's size.

The measurements are in docs/statistics.md (`python -m tools.coverage`). A caution stands beside a figure if the cell of
the study that is nearest to the cohort did not pass: its coverage lay below 93 %, or its rejections above 5 %, by more
than 3.5 of the simulation's own standard errors. Intervals that cover more than 98.5 % are wide but safe, and get none.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

FAILED_CELLS_FILE = Path(__file__).with_name("failed_cells.csv")
"""The cells of the study that did not pass. `python -m tools.coverage render` writes it."""

MEASURED_FROM = 10
"""The smallest number of diseased that was measured."""
MEASURED_SIZES = (10, 20, 50, 100, 200, 500)
"""The numbers of diseased of the study's cells."""
MEASURED_PREVALENCES = (0.01, 0.02, 0.1, 0.33)
"""The prevalences of the study's cells."""
MEASURED_TARGETS = (0.01, 0.05)
"""The prevalences to which figures were reweighted."""
READERS_FOR_GENERALISING = 5
"""With fewer readers, a statement about readers in general carries a caution."""

_OF_DISEASED = (
    *("sensitivity", "sensitivity_corrected", "specificity_corrected"),
    *("balanced_accuracy", "lr_positive", "lr_negative", "f1", "mcc"),
)
_OF_SCORES = ("roc_auc", "average_precision", "calibration_intercept", "calibration_slope")
_REJECTIONS = {3: "11.4 %", 4: "7.6 %"}
"""Readers → the highest share of 1,000 cohorts without a difference in which a test rejected at 5 %."""


class FailedCell(NamedTuple):
    """A figure under conditions in which its interval or test was measured to be wrong.

    Attributes:
        figure: The name of the figure in the study, as in docs/statistics.md.
        methods: The methods of the interval or the test.
        repeats: Whether subjects have repeat scans.
        diseased: The number of diseased subjects.
        healthy: The number of healthy subjects.
        true_value: The true value, in words. It is the worst of those that were simulated.
        share: The share of the cohorts in which the interval held the true value, or the test rejected.
        cohorts: The number of cohorts with a result.
    """

    figure: str
    methods: str
    repeats: bool
    diseased: int
    healthy: int
    true_value: str
    share: float
    cohorts: int


@cache
def failed_cells() -> tuple[FailedCell, ...]:
    """Return the cells of the study that did not pass."""
    with FAILED_CELLS_FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            FailedCell(
                row["figure"],
                row["methods"],
                row["repeats"] == "1",
                int(row["diseased"]),
                int(row["healthy"]),
                row["true_value"],
                float(row["share"]),
                int(row["cohorts"]),
            )
            for row in csv.DictReader(file)
        )


def caution(row: Mapping[str, Any], failed: Sequence[FailedCell] | None = None) -> str | None:
    """Return what is known against the interval or test of a row of `estimates` or `comparisons`, or None.

    Args:
        row: The row's columns, of which `n_positive` and `n_negative` may be missing.
        failed: The cells of the study that did not pass; those of the package by default.
    """
    if row.get("ci_low") is None and row.get("p") is None:
        return None
    diseased, healthy = row.get("n_positive"), row.get("n_negative")
    if diseased is None or healthy is None:
        return None
    if row["endpoint"].removesuffix("_at_prevalence") in (*_OF_DISEASED, *_OF_SCORES) and diseased < MEASURED_FROM:
        return f"fewer than {MEASURED_FROM} diseased: how often such an interval holds the true value was not measured"
    if not diseased or not healthy:
        return None
    size = min(MEASURED_SIZES, key=lambda measured: abs(math.log(measured / diseased)))
    prevalence = _nearest(MEASURED_PREVALENCES, diseased / (diseased + healthy))
    conditions = row.get("cluster") == "subject", size, round(size / prevalence) - size
    figures = list(_figures(row))
    found = [
        cell
        for cell in (failed_cells() if failed is None else failed)
        if cell.figure in figures
        and (cell.repeats, cell.diseased, cell.healthy) == conditions
        and row.get("test" if cell.figure.startswith("test") else "ci_method") in (None, *cell.methods.split())
    ]
    if not found:
        return _earlier_caution(row, diseased, healthy)
    worst = min(found, key=lambda cell: (figures.index(cell.figure), cell.share))
    scans = " and repeat scans" if worst.repeats else ""
    what = "rejected a true hypothesis" if worst.figure.startswith(_TESTS) else "held the true value"
    return (
        f"the {'test' if worst.figure.startswith(_TESTS) else 'interval'} {what} in {100 * worst.share:.1f} % of "
        f"{worst.cohorts:,} simulated cohorts with {worst.diseased} diseased and {worst.healthy} healthy{scans}, "
        f"where the {worst.true_value.replace(' ', ' was ')} ({worst.figure})"
    )


def _earlier_caution(row: Mapping[str, Any], diseased: int, healthy: int) -> str | None:
    """Return what earlier runs showed whose single results were not kept. Remove a case once its cells are measured."""
    endpoint, rare = row["endpoint"], diseased <= 0.05 * (diseased + healthy)
    if endpoint == "brier_at_prevalence" and diseased < 50:
        return (
            "the interval of the Brier score at a prevalence of 1 % held the true value in 87.5 % of 400 cohorts with "
            "20 diseased and an AUC of 0.8"
        )
    single = row.get("difference") is None
    if endpoint == "npv" and single and row.get("cluster") == "subject" and diseased <= 30 and rare:
        return (
            "the interval of NPV held the true value in 91.0 % of 2,000 cohorts with repeat scans, 20 diseased and a "
            "sensitivity of 0.99, at a prevalence of 2 %"
        )
    return None


_TESTS = ("test", "non-inferiority")


def _nearest(measured: Sequence[float], prevalence: float) -> float:
    def logit(share: float) -> float:
        return math.log(share / (1 - share))

    return min(measured, key=lambda other: abs(logit(other) - logit(prevalence)))


def _figures(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names that the row's interval and test have in the study."""
    endpoint, compared = row["endpoint"], row.get("difference") is not None
    name = "auc" if endpoint == "roc_auc" else endpoint
    if compared:
        if row.get("ci_low") is not None:
            yield f"level − others, {name}" if row.get("covariate") else f"difference of {name}"
        if row.get("p") is not None and not row.get("covariate"):
            yield f"test of {name}"
    elif endpoint.endswith("_at_prevalence"):
        name = endpoint.removesuffix("_at_prevalence")
        target = _nearest(MEASURED_TARGETS, float(row.get("level") or MEASURED_TARGETS[0]))
        yield f"{name.upper() if name in ('ppv', 'npv') else name} at a prevalence of {target:g}"
    elif endpoint.endswith("_corrected"):
        yield f"corrected {endpoint.removesuffix('_corrected')}"
    else:
        yield name
        if name == "auc":
            yield "auc, unequal spread"


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
