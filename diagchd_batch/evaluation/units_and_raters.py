"""The units of an analysis (studies or images), the raters who call them, and why a unit is missing from a figure."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from diagchd_batch.statistics.multireader.reader_groups import counted_as

REASONS = (
    "",  # the unit has a call
    "excluded",  # by the manifest
    "not_scored",  # the run has not reached the study yet
    "failed",  # no frame could be scored
    "not_read",
    "indeterminate",
    "undecided",  # the readers' majority
    "reference_from_readers",  # the label was made of the readers' calls: incorporation bias
    "without_reference",
    "not_evaluable",  # the view check says that no image shows a view that can be judged
)
"""Why a unit has no call, in the order of the flow. Arrays hold the index into this tuple."""

EXCLUDED, NOT_SCORED, FAILED, NOT_READ, INDETERMINATE, UNDECIDED, REFERENCE_FROM_READERS, WITHOUT_REFERENCE = range(
    1, 9
)
NOT_EVALUABLE = 9

INDETERMINATE_REASONS = (FAILED, INDETERMINATE, UNDECIDED, NOT_EVALUABLE)
"""Results that were attempted without success. Sensitivity analyses count them once as wrong and once as right."""


@dataclass(frozen=True)
class Units:
    """The studies or images of a cohort.

    Attributes:
        name: `study` or `image`.
        subject: int64 [n], the subject's number from 0.
        truth: float64 [n], 1 diseased, 0 healthy, NaN without a reference label.
        other_exclusions: Numbers of planned units that are not in these arrays, by reason. They count as excluded from
            every figure.
        folds: int64 [n], the fold of a training that scored the unit, -1 without one; None unless the scores are out of
            fold. Scores of different folds have different scales.
    """

    name: str
    subject: np.ndarray
    truth: np.ndarray
    other_exclusions: Mapping[str, int] = field(default_factory=dict)
    folds: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.subject)

    def take(self, rows: np.ndarray) -> "Units":
        """Return the selected units as a cohort of their own, such as a level of a covariate.

        Args:
            rows: bool [n], or int64 indices.

        Returns:
            The units with subjects numbered anew and without `other_exclusions`.
        """
        folds = None if self.folds is None else self.folds[rows]
        return Units(self.name, _renumber_subjects(self.subject[rows]), self.truth[rows], folds=folds)


@dataclass(frozen=True)
class Rater:
    """The calls of the model at an operating point, of a reader, or of the readers' majority.

    Attributes:
        kind: `model`, `reader`, `majority`, `readers_mean`, `readers` or `session`.
        name: The name shown in tables.
        call: float64 [n], 1 positive, 0 negative, NaN where `reason` is not 0.
        reason: int8 [n], why there is no call: an index into `REASONS`, 0 where there is one.
        score: float64 [n], NaN where missing; None for a rater without scores.
    """

    kind: str
    name: str
    call: np.ndarray
    reason: np.ndarray
    score: np.ndarray | None = None

    @property
    def scores(self) -> np.ndarray:
        """The scores of a rater that has them: float64 [n]."""
        assert self.score is not None, f"{self.name} gives no scores"
        return self.score

    def take(self, rows: np.ndarray) -> "Rater":
        """Return the rater over the selected units.

        Args:
            rows: bool [n], or int64 indices.
        """
        score = None if self.score is None else self.score[rows]
        return replace(self, call=self.call[rows], reason=self.reason[rows], score=score)

    def with_indeterminate_as(self, truth: np.ndarray, *, correct: bool) -> "Rater":
        """Return the rater with every indeterminate result replaced by a correct or a wrong call.

        Args:
            truth: float64 [n], the reference labels. Units without a label stay as they are.
            correct: Whether the new calls are correct.
        """
        return self._with_calls(np.isin(self.reason, INDETERMINATE_REASONS), truth, correct)

    def with_unread_as(self, truth: np.ndarray, *, correct: bool) -> "Rater":
        """Return the reader with every unit that he or she did not read replaced by a correct or a wrong call.

        Args:
            truth: float64 [n], the reference labels. Units without a label stay as they are.
            correct: Whether the new calls are correct.
        """
        return self._with_calls(self.reason == NOT_READ, truth, correct)

    def _with_calls(self, rows: np.ndarray, truth: np.ndarray, correct: bool) -> "Rater":
        rows = rows & ~np.isnan(truth)
        call = counted_as(truth, self.call, rows, right=correct)
        return replace(self, call=call, reason=np.where(rows, 0, self.reason).astype(np.int8))

    def n_indeterminate(self, truth: np.ndarray) -> int:
        """Count the indeterminate results among the units with a reference label.

        Args:
            truth: float64 [n], the reference labels.
        """
        return int(np.sum(np.isin(self.reason, INDETERMINATE_REASONS) & ~np.isnan(truth)))

    def n_unread(self, truth: np.ndarray) -> int:
        """Count the units with a reference label that the reader did not read.

        Args:
            truth: float64 [n], the reference labels.
        """
        return int(np.sum((self.reason == NOT_READ) & ~np.isnan(truth)))


@dataclass(frozen=True)
class CompleteCases:
    """The units that enter a figure, and why the others do not.

    Attributes:
        rows: bool [n], which units enter.
        n_excluded: Number of planned units that do not.
        excluded_reasons: Their numbers by reason, as in `failed=1; not_read=3`; None if there are none.
    """

    rows: np.ndarray
    n_excluded: int
    excluded_reasons: str | None


def complete_cases(units: Units, *raters: Rater, reference: bool = True) -> CompleteCases:
    """Select the units that have a call of every rater and a reference label.

    A unit that lacks several things counts under the first reason: the raters in their order, then the label.

    Args:
        units: The units.
        raters: The raters over these units.
        reference: Whether a reference label is needed, too.

    Returns:
        The selected units, and the numbers of the others by reason.
    """
    reason = np.zeros(len(units), dtype=np.int8)
    for rater in raters:
        reason = np.where(reason == 0, rater.reason, reason)
    if reference:
        reason = np.where((reason == 0) & np.isnan(units.truth), WITHOUT_REFERENCE, reason)
    counts = dict(units.other_exclusions)
    for code, count in enumerate(np.bincount(reason, minlength=len(REASONS))):
        if code and count:
            counts[REASONS[code]] = counts.get(REASONS[code], 0) + int(count)
    order = {name: place for place, name in enumerate(REASONS)}
    named = sorted(counts.items(), key=lambda item: order.get(item[0], len(order)))
    text = "; ".join(f"{name}={count}" for name, count in named if count)
    return CompleteCases(reason == 0, sum(counts.values()), text or None)


def known_folds(folds: np.ndarray) -> np.ndarray | None:
    """Return the folds as `Units` has them, or None if no unit has one.

    Args:
        folds: float64 [n], NaN for a unit without a fold.
    """
    return None if np.isnan(folds).all() else np.nan_to_num(folds, nan=-1).astype(np.int64)


def _renumber_subjects(subject: np.ndarray) -> np.ndarray:
    """Number subjects without gaps, in the same order. Statistics allocate one entry for each number."""
    present = np.bincount(subject) > 0
    return (np.cumsum(present) - 1)[subject]
