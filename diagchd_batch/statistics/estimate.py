"""The two results that every statistic returns: a quantity with its interval, and a comparison of two quantities.

No function of this package returns NaN. A quantity that does not exist for the data is `None`, and `null_reason` says
why. A zero denominator never becomes a zero.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class NullReason(StrEnum):
    """The reason why a value, or the interval or the test beside it, is absent."""

    NO_UNITS = "no_units"  # no unit is left to compute from
    ZERO_DENOMINATOR = "zero_denominator"  # for example the PPV of a test that never calls positive
    ONE_CLASS = "one_class"  # only diseased or only healthy units
    ONE_RATER = "one_rater"  # no unit has two ratings
    ONE_READER = "one_reader"  # a variance between readers needs two
    ONE_LEVEL = "one_level"  # a covariate with fewer than two levels
    CONSTANT_RATINGS = "constant_ratings"  # all ratings are one category, so agreement by chance is certain
    IDENTICAL_CALLS = "identical_calls"  # the two tests never differ
    IDENTICAL_RANKS = "identical_ranks"  # scores differ, but no unit changes its place among those of the other class
    ZERO_VARIANCE = "zero_variance"  # the value is known, but its interval would have no width
    TOO_FEW_SUBJECTS = "too_few_subjects"  # the variance needs more subjects (of each class)
    DEGENERATE_RESAMPLES = "degenerate_resamples"  # the statistic is undefined in most resamples
    SEPARATION = "separation"  # the logistic fit has no finite solution
    NO_VALID_INTERVAL = "no_valid_interval"  # no interval of known coverage exists for this statistic
    BOTH_EMPTY = "both_empty"  # neither mask holds the class
    ONE_EMPTY = "one_empty"  # one of the two masks does not hold the class


@dataclass(frozen=True, slots=True)
class Estimate:
    """One quantity with its confidence interval.

    Attributes:
        value: Point estimate, or None if it does not exist (see `null_reason`).
        se: Standard error, or None if the method has none (score intervals) or it cannot be computed.
        low: Lower confidence limit, or None if there is no value or no interval (see `null_reason`).
        high: Upper confidence limit, or None like `low`.
        n: Number of units that entered. A unit is whatever a row of the input is: a study, an image, a subject.
        method: Name of the interval's method, for example `wilson`, `delong` or `subject_bootstrap_bca`.
        null_reason: Reason why the value is absent or, where the value exists, why the interval is absent.
        numerator: Number of successes; given for proportions only.
        denominator: Number of units that the proportion is taken over; given for proportions only.
        n_subjects: Number of independent subjects among the units, if subjects were given.
        resamples: Number of bootstrap resamples that were drawn.
        degenerate_resamples: Number of resamples left out because the statistic is undefined there, for example
            because the resample holds one class only.
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
        """Return a result without a value.

        Args:
            reason: Why the value does not exist.
            n: Number of units that entered.
            **fields: Counts and values that are known all the same.
        """
        return cls(None, None, None, None, n, null_reason=reason, **fields)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two quantities on the same units. A difference is always `value` − `comparator_value`.

    Attributes:
        value: First quantity, or None if it does not exist.
        comparator_value: Second quantity, or None if it does not exist.
        difference: `value` − `comparator_value`.
        se: Standard error of the difference, or None if the method has none.
        low: Lower confidence limit of the difference.
        high: Upper confidence limit of the difference.
        n: Number of units that entered.
        method: Name of the interval's method.
        test: Name of the test of no difference.
        statistic: Test statistic; None for exact tests, which have none.
        df1: Numerator degrees of freedom, or the only ones.
        df2: Denominator degrees of freedom.
        p: Two-sided p value of the test.
        null_reason: Reason why the difference is absent or, where it exists, why its interval or test is absent.
        n_subjects: As in `Estimate`.
        resamples: As in `Estimate`.
        degenerate_resamples: As in `Estimate`.
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
        """Return a comparison without a difference.

        Args:
            reason: Why there is none.
            n: The number of units.
            **fields: What is known nevertheless: `value`, `comparator_value` or `n_subjects`.

        Returns:
            The comparison. Every result that `fields` does not name is None.
        """
        known: dict[str, Any] = {"value": None, "comparator_value": None, "difference": None} | fields
        return cls(se=None, low=None, high=None, n=n, null_reason=reason, **known)
