"""Chooses the threshold of a score for a wanted sensitivity or specificity, Youden's index or the least cost."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.inputs import as_binary, as_column, complete

Rule = Literal["sensitivity", "specificity", "youden", "cost"]


@dataclass(frozen=True, slots=True)
class ChosenThreshold:
    """A threshold and what it reaches on the units that it was chosen on, which is optimistic.

    Attributes:
        threshold: Units with this score or a higher one are called positive.
        sensitivity: Share of the positives that are called positive.
        specificity: Share of the negatives that are called negative.
    """

    threshold: float
    sensitivity: float
    specificity: float


def choose_threshold(
    truth: ArrayLike,
    score: ArrayLike,
    rule: Rule,
    *,
    at_least: float | None = None,
    false_negative_cost: float | None = None,
    prevalence: float | None = None,
) -> ChosenThreshold:
    """Return the best threshold by a rule. It lies in the middle between two scores, so it is nobody's score.

    Args:
        truth: One 0 or 1 a unit; units with a missing value are left out.
        score: One number within [0, 1] a unit; a higher one means positive.
        rule: `sensitivity` and `specificity` reach `at_least` with the best of the other. `youden` has the largest
            sum of both. `cost` has the least expected cost, where a false alarm costs 1.
        at_least: The sensitivity or specificity to reach, within (0, 1].
        false_negative_cost: Cost of a missed positive unit, for `cost`.
        prevalence: Prevalence for which the cost is expected; by default that of the units.

    Returns:
        The threshold. Of several that are equally good, it is the lowest, which misses the fewest positives.

    Raises:
        StatisticsError: The units have one class only, or the rule lacks its number.
    """
    truth, score = as_binary(truth, "truth"), as_column(score, "score")
    known = complete(truth, score)
    truth, score = truth[known], score[known]
    if len(truth) == 0 or truth.min() == truth.max():
        raise StatisticsError("choosing a threshold needs units of both classes")
    levels = np.unique(score)
    # The call is positive for all units, then for those above each gap, then for none.
    thresholds = np.concatenate([[min(0.0, levels[0])], (levels[1:] + levels[:-1]) / 2, [np.nextafter(levels[-1], 2)]])
    positive, negative = np.sort(score[truth == 1]), np.sort(score[truth == 0])
    sensitivity = 1 - np.searchsorted(positive, thresholds, side="left") / len(positive)
    specificity = np.searchsorted(negative, thresholds, side="left") / len(negative)
    if rule in ("sensitivity", "specificity"):
        if at_least is None:
            raise StatisticsError(f"the rule {rule} needs at_least")
        reached, other = (sensitivity, specificity) if rule == "sensitivity" else (specificity, sensitivity)
        merit = np.where(reached >= at_least - 1e-12, other, -1.0)
    elif rule == "youden":
        merit = sensitivity + specificity
    else:
        if false_negative_cost is None:
            raise StatisticsError("the rule cost needs false_negative_cost")
        share = float(truth.mean()) if prevalence is None else prevalence
        merit = -(false_negative_cost * share * (1 - sensitivity) + (1 - share) * (1 - specificity))
    best = int(np.flatnonzero(merit >= merit.max() - 1e-12)[0])
    return ChosenThreshold(float(np.clip(thresholds[best], 0, 1)), float(sensitivity[best]), float(specificity[best]))
