"""The key figures shown when a run ends: how well the model ranks, calls and segments, each with its interval."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from diagchd_batch.report.formatting import count, counted, interval, number
from diagchd_batch.results.metrics_tables import read_metrics
from diagchd_batch.storage import Store

_SEGMENTATION = {"unit": "image", "analysis_set": "segmentation", "class": "all_classes"}
_STUDIES = {"unit": "study", "analysis_set": "determinate"}

_FIGURES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("AUC", {"endpoint": "roc_auc", **_STUDIES}, ""),
    ("sensitivity", {"endpoint": "sensitivity", "headline": True, **_STUDIES}, "diseased"),
    ("specificity", {"endpoint": "specificity", "headline": True, **_STUDIES}, "healthy"),
    ("mean IoU", {"endpoint": "iou_mean", **_SEGMENTATION}, ""),
)
"""Name of the figure, columns that identify its row in `estimates`, and the units in a proportion's denominator."""


@dataclass(frozen=True)
class KeyFigure:
    """A key figure of the model.

    Attributes:
        name: What is measured.
        value: The point estimate.
        low: The lower limit of the 95 % interval, or None if there is no interval.
        high: The upper limit.
        basis: What the figure was computed from, such as ``62 studies`` or ``18 of 22 diseased studies``.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    basis: str

    def __str__(self) -> str:
        limits = "" if self.low is None else f" ({interval(self.low, self.high)})"
        return f"{number(self.value)}{limits}, {self.basis}"


def key_figures(estimates: Iterable[dict[str, Any]]) -> Iterator[KeyFigure]:
    """Yield the key figures among rows of `estimates`. A figure without a value is skipped."""
    rows = [row for row in estimates if row["subject_kind"] == "model" and row["covariate"] is None]
    for name, wanted, denominator in _FIGURES:
        for row in rows:
            if all(row[column] == value for column, value in wanted.items()) and row["value"] is not None:
                is_of_folds = (row.get("definition") or "").startswith("cross-validated")
                shown = f"cross-validated {name}" if is_of_folds else name
                yield KeyFigure(shown, row["value"], row["ci_low"], row["ci_high"], _basis(row, denominator))
                break


def _basis(row: dict[str, Any], denominator: str) -> str:
    if not denominator:
        return counted(row["n_units"], row["unit"])
    return f"{count(row['numerator'])} of {counted(row['denominator'], row['unit'], denominator)}"


def read_key_figures(output: Store, run_id: str) -> list[KeyFigure]:
    """Return the key figures of a run, or an empty list if it was not evaluated.

    Args:
        output: The output.
        run_id: The run's id.
    """
    estimates = read_metrics(output, run_id, "estimates")
    return [] if estimates is None else list(key_figures(estimates.to_pylist()))
