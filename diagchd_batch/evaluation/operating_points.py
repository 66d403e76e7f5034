"""Operating points: the model's calls at a threshold, and which operating point is the headline."""

from collections.abc import Sequence
from itertools import chain, count

import numpy as np

from diagchd_batch.config.job_file import OperatingPoint
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import Rater

EVALUATED_COHORT = "evaluated cohort"
"""`chosen_on` of a threshold that was chosen on the evaluated cohort itself, which makes its results optimistic."""

DEFAULT_POINT = OperatingPoint(name="default", threshold=0.5, chosen_on="model card")


def choose_headline(points: Sequence[OperatingPoint]) -> tuple[list[OperatingPoint], OperatingPoint]:
    """Choose the operating point of the headline: the first that was not chosen on the evaluated cohort.

    Args:
        points: The operating points of the job file.

    Returns:
        The operating points to evaluate, and the one of the headline. If all given ones are optimistic, the model
        card's threshold comes first, under a name that is still free.
    """
    honest = [point for point in points if not _is_optimistic(point)]
    if honest:
        return list(points), honest[0]
    taken = {point.name.strip().casefold() for point in points}
    free = chain(("default", "model card", "arg-max"), (f"model card {number}" for number in count(2)))
    name = next(name for name in free if name not in taken)
    point = DEFAULT_POINT.model_copy(update={"name": name})
    return [point, *points], point


def point_columns(point: OperatingPoint) -> Row:
    """Return the columns that an operating point gives to its rows: name, threshold and whether it is optimistic."""
    return {"operating_point": point.name, "threshold": point.threshold, "optimistic": _is_optimistic(point)}


def model_rater(model: str, score: np.ndarray, reason: np.ndarray, point: OperatingPoint) -> Rater:
    """Return the model's calls at an operating point: positive at the threshold and above.

    Args:
        model: The model's name in tables.
        score: float64 [n], the units' scores.
        reason: int8 [n], why a unit has no call: an index into `units.REASONS`.
        point: The operating point.
    """
    call = np.where(reason == 0, (score >= point.threshold).astype(np.float64), np.nan)
    return Rater("model", model, call, reason, score)


def _is_optimistic(point: OperatingPoint) -> bool:
    return point.chosen_on.strip().casefold() == EVALUATED_COHORT
