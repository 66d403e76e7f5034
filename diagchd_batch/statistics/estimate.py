"""What every statistic returns: a value, or a null with its reason.

Nothing in this package returns NaN to its caller. A quantity that does not exist for the data at hand is `None`, and
`null_reason` says why; a zero denominator is never turned into a zero.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NullReason(StrEnum):
    """Why a value, or the interval or test beside it, is absent."""

    NO_UNITS = "no_units"  # nothing was left to compute from
    ZERO_DENOMINATOR = "zero_denominator"  # e.g. PPV of a test that never calls positive
    ONE_CLASS = "one_class"  # only diseased or only healthy units
    ONE_RATER = "one_rater"  # no unit has two ratings
    ONE_READER = "one_reader"  # a variance between readers needs two
    ONE_LEVEL = "one_level"  # a covariate with fewer than two levels
    CONSTANT_RATINGS = "constant_ratings"  # every rating is the same category: agreement by chance is certain
    IDENTICAL_CALLS = "identical_calls"  # the two tests never differ
    ZERO_VARIANCE = "zero_variance"  # value known, but its interval would have no width
    TOO_FEW_SUBJECTS = "too_few_subjects"  # the variance needs more subjects (of each class)
    DEGENERATE_RESAMPLES = "degenerate_resamples"  # the statistic is undefined in most resamples
    SEPARATION = "separation"  # the logistic fit has no finite solution
    NO_VALID_INTERVAL = "no_valid_interval"  # no interval of known coverage exists for this statistic
    BOTH_EMPTY = "both_empty"  # neither mask holds the class
    ONE_EMPTY = "one_empty"  # one of the two masks does not hold the class


@dataclass(frozen=True, slots=True)
class Estimate:
    """One quantity with its confidence interval.

    value: the point estimate; None if it does not exist (see `null_reason`).
    se: standard error; None where the method has none (score intervals) or it cannot be computed.
    low, high: confidence limits; None if there is no value, or if an interval cannot be given (see `null_reason`).
    n: units that entered (studies, images, subjects × 1: whatever the rows of the input are).
    method: how the interval was made, e.g. `wilson`, `delong`, `subject_bootstrap_percentile`.
    null_reason: why the value, or where the value exists the interval, is absent.
    numerator, denominator: of proportions.
    n_subjects: independent subjects among the units, where subjects were given.
    resamples, degenerate_resamples: of a bootstrap; the degenerate ones (one class, zero denominator) are left out.
    """

    value: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int
    method: str | None = None
    null_reason: NullReason | None = None
    numerator: int | None = None
    denominator: int | None = None
    n_subjects: int | None = None
    resamples: int | None = None
    degenerate_resamples: int | None = None

    @classmethod
    def null(cls, reason: NullReason, n: int = 0, **fields: Any) -> "Estimate":
        """No value, with the reason; `fields` may name counts (numerator, denominator, n_subjects)."""
        return cls(None, None, None, None, n, null_reason=reason, **fields)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two quantities on the same units, always as `value` − `comparator_value`.

    low, high: confidence limits of `difference`, made by `method`.
    test, statistic, df1, df2, p: the test of no difference; `statistic` and the degrees of freedom are None where the
    test has none (exact tests).
    null_reason: why the difference, or where it exists its interval or test, is absent.
    n, n_subjects, resamples, degenerate_resamples: as in `Estimate`.
    """

    value: float | None
    comparator_value: float | None
    difference: float | None
    se: float | None
    low: float | None
    high: float | None
    n: int
    method: str | None = None
    test: str | None = None
    statistic: float | None = None
    df1: float | None = None
    df2: float | None = None
    p: float | None = None
    null_reason: NullReason | None = None
    n_subjects: int | None = None
    resamples: int | None = None
    degenerate_resamples: int | None = None

    @classmethod
    def null(cls, reason: NullReason, n: int = 0, **fields: Any) -> "Comparison":
        """No difference, with the reason; `fields` may name what is known (value, comparator_value, n_subjects)."""
        known: dict[str, Any] = {"value": None, "comparator_value": None, "difference": None} | fields
        return cls(se=None, low=None, high=None, n=n, null_reason=reason, **known)
