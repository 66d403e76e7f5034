"""The few figures that a run's end shows: how well the model ranks, calls and segments, each with its interval."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from diagchd_batch.report.formatting import count, counted, interval, number
from diagchd_batch.results.derived import read_metrics
from diagchd_batch.storage import Store

_OF_SEGMENTATION = {"unit": "image", "analysis_set": "segmentation", "class": "all_classes"}
_OF_STUDIES = {"unit": "study", "analysis_set": "determinate"}

_FIGURES: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("AUC", {"endpoint": "roc_auc", **_OF_STUDIES}, ""),
    ("sensitivity", {"endpoint": "sensitivity", "headline": True, **_OF_STUDIES}, "diseased"),
    ("specificity", {"endpoint": "specificity", "headline": True, **_OF_STUDIES}, "healthy"),
    ("mean IoU", {"endpoint": "iou_mean", **_OF_SEGMENTATION}, ""),
)
"""Name, the row of `estimates`, and for a proportion which units its denominator counts."""


@dataclass(frozen=True)
class KeyFigure:
    """A figure of the model; limits are None where it has no interval. `basis` says of what: ``62 studies``, and of a
    proportion ``18 of 22 diseased studies``.
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
    """Of the rows of the table `estimates`; a figure that the run has no value of is left out."""
    rows = [row for row in estimates if row["subject_kind"] == "model" and row["covariate"] is None]
    for name, wanted, counts in _FIGURES:
        for row in rows:
            if all(row[column] == value for column, value in wanted.items()) and row["value"] is not None:
                yield KeyFigure(name, row["value"], row["ci_low"], row["ci_high"], _basis(row, counts))
                break


def _basis(row: dict[str, Any], counts: str) -> str:
    if not counts:
        return counted(row["n_units"], row["unit"])
    return f"{count(row['numerator'])} of {counted(row['denominator'], row['unit'], counts)}"


def read_key_figures(output: Store, run_id: str) -> list[KeyFigure]:
    """Of a run; empty where it was not evaluated."""
    estimates = read_metrics(output, run_id, "estimates")
    return [] if estimates is None else list(key_figures(estimates.to_pylist()))
