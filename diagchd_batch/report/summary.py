"""The few figures that a run's end shows: how well the model ranks, calls and segments, each with its interval."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow.parquet as pq

from diagchd_batch.report.formatting import count, interval, number
from diagchd_batch.results import layout
from diagchd_batch.storage import Storage

_OF_SEGMENTATION = {"unit": "image", "analysis_set": "segmentation", "class": "all_classes"}
_OF_STUDIES = {"unit": "study", "analysis_set": "determinate"}

_FIGURES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("AUC", {"endpoint": "roc_auc", **_OF_STUDIES}),
    ("sensitivity", {"endpoint": "sensitivity", "headline": True, **_OF_STUDIES}),
    ("specificity", {"endpoint": "specificity", "headline": True, **_OF_STUDIES}),
    ("mean IoU", {"endpoint": "iou_mean", **_OF_SEGMENTATION}),
)

_PLURALS = {"study": "studies", "image": "images"}


@dataclass(frozen=True)
class KeyFigure:
    """A figure of the model over `n` units ("study" or "image"); limits are None where it has no interval."""

    name: str
    value: float
    low: float | None
    high: float | None
    unit: str
    n: int

    @property
    def units(self) -> str:
        """What `n` counts, in words."""
        return self.unit if self.n == 1 else _PLURALS[self.unit]

    def __str__(self) -> str:
        limits = "" if self.low is None else f" ({interval(self.low, self.high)})"
        return f"{number(self.value)}{limits}, {count(self.n)} {self.units}"


def key_figures(estimates: Iterable[dict[str, Any]]) -> Iterator[KeyFigure]:
    """Of the rows of the table `estimates`; a figure that the run has no value of is left out."""
    rows = [row for row in estimates if row["subject_kind"] == "model" and row["covariate"] is None]
    for name, wanted in _FIGURES:
        for row in rows:
            if all(row[column] == value for column, value in wanted.items()) and row["value"] is not None:
                yield KeyFigure(name, row["value"], row["ci_low"], row["ci_high"], row["unit"], row["n_units"])
                break


def read_key_figures(output: Storage, run_id: str) -> list[KeyFigure]:
    """Of a run; empty where it was not evaluated."""
    key = layout.metrics_file(run_id, "estimates")
    if output.stat(key) is None:
        return []
    return list(key_figures(pq.read_table(io.BytesIO(output.read(key))).to_pylist()))
