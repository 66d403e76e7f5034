"""Builds rows of `estimates` and `comparisons`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.cautions import caution
from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.evaluation.units_and_raters import CompleteCases, Rater, Units
from diagchd_batch.statistics.classification.proportions import IntervalMethod
from diagchd_batch.statistics.estimate import Comparison, Estimate
from diagchd_batch.statistics.inputs import count_subjects

Row = dict[str, Any]

EXPLORATORY = "exploratory"
"""The `role` of every comparison but the primary one."""

_BOOTSTRAP_METHODS = ("bootstrap", "exchange", "sign_flip")


@dataclass(frozen=True)
class Settings:
    """Settings that all figures of an evaluation share.

    Attributes:
        score: How frames make a study's score.
        resamples: Number of bootstrap resamples.
        seed: Seed of the bootstrap.
        proportion_interval: The interval of single proportions.
    """

    score: ScoreDefinition
    resamples: int
    seed: int
    proportion_interval: IntervalMethod = "wilson"

    @property
    def bootstrap(self) -> dict[str, Any]:
        """Keyword arguments of the statistics that resample."""
        return {"resamples": self.resamples, "seed": self.seed}

    @property
    def rate(self) -> dict[str, Any]:
        """Keyword arguments of the estimate of a rate."""
        return self.bootstrap | {"method": self.proportion_interval}


@dataclass(frozen=True)
class RowBuilder:
    """Builds rows that share columns.

    Attributes:
        settings: The evaluation's settings.
        common: The shared columns.
        definitions: Definitions of endpoints beside those of `tables.definitions`.
    """

    settings: Settings
    common: Mapping[str, Any] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)

    def with_columns(self, **columns: Any) -> "RowBuilder":
        """Return a builder with further shared columns.

        Args:
            columns: Values by column. A trailing underscore is dropped: ``class_`` is the column `class`.
        """
        return replace(self, common={**self.common, **{name.rstrip("_"): value for name, value in columns.items()}})

    def for_raters(self, units: Units, rater: Rater, comparator: Rater | None = None) -> "RowBuilder":
        """Return a builder for figures about a rater, or about a rater and a comparator.

        Args:
            units: The units of the figures.
            rater: The rater.
            comparator: The rater to compare with.
        """
        columns: Row = {"unit": units.name, "subject_kind": rater.kind, "subject": rater.name}
        if comparator is not None:
            columns |= {"comparator_kind": comparator.kind, "comparator": comparator.name}
        return self.with_columns(**columns)

    def with_counts(self, units: Units, part: CompleteCases) -> "RowBuilder":
        """Return a builder with the counts of the units that enter the figures.

        Args:
            units: The units.
            part: Which of them enter.
        """
        truth, n_units = units.truth[part.rows], int(part.rows.sum())
        subjects = count_subjects(units.subject[part.rows])
        return self.with_columns(
            cluster="subject" if subjects < n_units else "none",
            n_units=n_units,
            n_subjects=subjects,
            n_positive=int(np.sum(truth == 1)),
            n_negative=int(np.sum(truth == 0)),
            n_excluded=part.n_excluded,
            excluded_reasons=part.excluded_reasons,
        )

    def estimate(self, endpoint: str, estimate: Estimate, **columns: Any) -> Row:
        """Return a row of `estimates`.

        Args:
            endpoint: A key of the definitions.
            estimate: The figure.
            columns: Further columns, which take precedence.
        """
        row = self._row(endpoint, estimate) | {
            "numerator": estimate.numerator,
            "denominator": estimate.denominator,
            "n_denominator_subjects": estimate.n_subjects if estimate.denominator is not None else None,
        }
        return _with_caution(row | columns)

    def comparison(self, endpoint: str, comparison: Comparison, **columns: Any) -> Row:
        """Return a row of `comparisons`.

        Args:
            endpoint: A key of the definitions.
            comparison: The figure.
            columns: Further columns, which take precedence.
        """
        row = self._row(endpoint, comparison) | {
            "comparator_value": comparison.comparator_value,
            "difference": comparison.difference,
            "test": comparison.test,
            "statistic": comparison.statistic,
            "df1": comparison.df1,
            # Null stands for infinitely many degrees of freedom: the normal distribution.
            "df2": None if comparison.df2 is None or math.isinf(comparison.df2) else comparison.df2,
            "p": comparison.p,
        }
        return _with_caution(row | columns)

    def count(self, endpoint: str, value: float | None, **columns: Any) -> Row:
        """Return a row of a plain number, which has no interval.

        Args:
            endpoint: A key of the definitions.
            value: The number.
            columns: Further columns, which take precedence.
        """
        return self.estimate(
            endpoint, Estimate(value, None, None, None, 0), **columns, null_reason=COUNT_HAS_NO_INTERVAL
        )

    def without_value(self, endpoint: str, reason: str, **columns: Any) -> Row:
        """Return a row of a figure that has no value.

        Args:
            endpoint: A key of the definitions.
            reason: The `null_reason`.
            columns: Further columns, which take precedence.
        """
        return self.estimate(endpoint, Estimate(None, None, None, None, 0), **columns, null_reason=reason)

    def _row(self, endpoint: str, result: Estimate | Comparison) -> Row:
        resampled = result.resamples is not None or _is_random(result)
        return {
            **self.settings.score.columns,
            "role": EXPLORATORY,
            "headline": False,
            **self.common,
            "endpoint": endpoint,
            "value": result.value,
            "se": result.se,
            "ci_low": result.low,
            "ci_high": result.high,
            "ci_method": result.method,
            "null_reason": None if result.null_reason is None else str(result.null_reason),
            "resamples": result.resamples,
            "degenerate_resamples": result.degenerate_resamples,
            "seed": self.settings.seed if resampled else None,
            "definition": self.definitions.get(endpoint) or DEFINITIONS[endpoint],
        }


COUNT_HAS_NO_INTERVAL = "count"


def _with_caution(row: Row) -> Row:
    """Return the row with the caution that its figure needs. One that the caller gave takes precedence."""
    return row if row.get("caution") else {**row, "caution": caution(row)}


def _is_random(result: Estimate | Comparison) -> bool:
    test = getattr(result, "test", None)
    return any(word in (result.method or "") or word in (test or "") for word in _BOOTSTRAP_METHODS)
