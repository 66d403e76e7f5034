"""The units of an analysis, who called them, and why a unit did not enter a figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

REASONS = (
    "",  # has a call
    "excluded",  # by the manifest
    "not_scored",  # the run has not reached it
    "failed",  # no frame could be scored
    "not_read",
    "indeterminate",
    "undecided",  # the readers' majority
    "reference_from_readers",  # the reference label is the readers' own: incorporation bias
    "without_reference",
)
EXCLUDED, NOT_SCORED, FAILED, NOT_READ, INDETERMINATE, UNDECIDED, REFERENCE_FROM_READERS, WITHOUT_REFERENCE = range(
    1, 9
)

COUNTED_BOTH_WAYS = (FAILED, INDETERMINATE, UNDECIDED)
"""Results that were tried and are not determinate: counted once as all wrong and once as all right."""


@dataclass(frozen=True)
class Units:
    """Studies, or images, of a cohort. Arrays have one entry a unit.

    subject: int64 from 0; truth: float64, 1 diseased, 0 healthy, NaN without reference label.
    elsewhere: planned units outside these arrays, by reason; they count as excluded from every figure.
    """

    name: str  # study, image
    subject: np.ndarray
    truth: np.ndarray
    elsewhere: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, rows: np.ndarray) -> "Units":
        """A part of the units that is a cohort of its own, such as a level of a covariate."""
        return Units(self.name, renumbered(self.subject[rows]), self.truth[rows])


@dataclass(frozen=True)
class Rater:
    """Calls of the model at an operating point, of a reader, or of the readers' majority.

    call: float64, 0/1, NaN where `reason` (int8, index into REASONS) is not 0. score: float64 or None, NaN where
    missing.
    """

    kind: str  # model, reader, majority
    name: str
    call: np.ndarray
    reason: np.ndarray
    score: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """`score` of a rater that gives scores."""
        assert self.score is not None, f"{self.name} gives no scores"
        return self.score

    def take(self, rows: np.ndarray) -> "Rater":
        score = None if self.score is None else self.score[rows]
        return replace(self, call=self.call[rows], reason=self.reason[rows], score=score)

    def counted_as(self, truth: np.ndarray, *, right: bool) -> "Rater":
        """The same rater with all that is not determinate called right, or wrong."""
        rows = np.isin(self.reason, COUNTED_BOTH_WAYS) & ~np.isnan(truth)
        call = np.where(rows, truth if right else 1 - truth, self.call)
        return replace(self, call=call, reason=np.where(rows, 0, self.reason).astype(np.int8))

    def n_indeterminate(self, truth: np.ndarray) -> int:
        return int(np.sum(np.isin(self.reason, COUNTED_BOTH_WAYS) & ~np.isnan(truth)))


@dataclass(frozen=True)
class Entered:
    """Which units entered a figure, and for what reasons the others did not."""

    rows: np.ndarray  # bool
    n_excluded: int
    excluded_reasons: str | None


def renumbered(subject: np.ndarray) -> np.ndarray:
    """The same subjects numbered without gaps, in the same order: statistics hold an array over all numbers."""
    present = np.bincount(subject) > 0
    return (np.cumsum(present) - 1)[subject]


def entered(units: Units, *raters: Rater, reference: bool = True) -> Entered:
    """Units with a call of every rater and, if `reference`, a reference label.

    Of several reasons the first counts, in the order of the flow: the raters' in their order, then the reference.
    """
    reason = np.zeros(len(units), dtype=np.int8)
    for rater in raters:
        reason = np.where(reason == 0, rater.reason, reason)
    if reference:
        reason = np.where((reason == 0) & np.isnan(units.truth), WITHOUT_REFERENCE, reason)
    counts = dict(units.elsewhere)
    for code, count in enumerate(np.bincount(reason, minlength=len(REASONS))):
        if code and count:
            counts[REASONS[code]] = counts.get(REASONS[code], 0) + int(count)
    order = {name: place for place, name in enumerate(REASONS)}
    named = sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    text = "; ".join(f"{name}={count}" for name, count in named if count)
    return Entered(reason == 0, sum(counts.values()), text or None)
