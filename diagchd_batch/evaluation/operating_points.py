"""The model as a rater at an operating point; which operating point leads, and which are optimistic."""

from collections.abc import Sequence

import numpy as np

from diagchd_batch.config.models import OperatingPoint
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units import Rater

EVALUATED_COHORT = "evaluated cohort"
"""`chosen_on` of a threshold that was chosen on the cohort it is evaluated on."""

DEFAULT_POINT = OperatingPoint(name="default", threshold=0.5, chosen_on="model card")


def is_optimistic(point: OperatingPoint) -> bool:
    return point.chosen_on.strip().casefold() == EVALUATED_COHORT


def with_headline(points: Sequence[OperatingPoint]) -> tuple[list[OperatingPoint], OperatingPoint]:
    """The operating points to evaluate, and the one of the headline: the first that was not chosen on this cohort.

    Where all were, the model card's threshold joins them, under a name of its own.
    """
    honest = [point for point in points if not is_optimistic(point)]
    if honest:
        return list(points), honest[0]
    taken = {point.name for point in points}
    name = next(name for name in ("default", "model card", "arg-max") if name not in taken or name == "arg-max")
    point = DEFAULT_POINT.model_copy(update={"name": name})
    return [point, *points], point


def point_columns(point: OperatingPoint) -> Row:
    """The columns that an operating point gives to its rows."""
    return {"operating_point": point.name, "threshold": point.threshold, "optimistic": is_optimistic(point)}


def at_operating_point(model: str, score: np.ndarray, reason: np.ndarray, point: OperatingPoint) -> Rater:
    """The model's calls: positive at the threshold and above."""
    call = np.where(reason == 0, (score >= point.threshold).astype(np.float64), np.nan)
    return Rater("model", model, call, reason, score)
