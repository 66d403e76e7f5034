"""Rows of `estimates` and `comparisons`: what a group of figures has in common, and one figure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.evaluation.units import Entered, Rater, Units
from diagchd_batch.statistics.classification.proportions import IntervalMethod
from diagchd_batch.statistics.estimate import Comparison, Estimate
from diagchd_batch.statistics.inputs import count_subjects

Row = dict[str, Any]

EXPLORATORY = "exploratory"

_BOOTSTRAP_METHODS = ("bootstrap", "exchange", "sign_flip")


@dataclass(frozen=True)
class Settings:
    """What all figures of an evaluation share."""

    study_score: str
    resamples: int
    seed: int
    proportion_interval: IntervalMethod = "wilson"

    @property
    def bootstrap(self) -> dict[str, Any]:
        """Keyword arguments of the statistics that resample."""
        return {"resamples": self.resamples, "seed": self.seed}

    @property
    def rate(self) -> dict[str, Any]:
        """Keyword arguments of one rate's estimate."""
        return self.bootstrap | {"method": self.proportion_interval}


@dataclass(frozen=True)
class Rows:
    """Makes rows that share `common` columns; `settings` are those of the evaluation."""

    settings: Settings
    common: Mapping[str, Any] = field(default_factory=dict)
    definitions: Mapping[str, str] = field(default_factory=dict)  # beside the evaluation's own

    def having(self, **columns: Any) -> "Rows":
        """The same with further common columns; a trailing underscore (``class_``) is dropped."""
        return replace(self, common={**self.common, **{name.rstrip("_"): value for name, value in columns.items()}})

    def of(self, units: Units, rater: Rater, comparator: Rater | None = None) -> "Rows":
        """Common columns of figures about `rater`, or of `rater` against `comparator`, over `units`."""
        columns: Row = {"unit": units.name, "subject_kind": rater.kind, "subject": rater.name}
        if comparator is not None:
            columns |= {"comparator_kind": comparator.kind, "comparator": comparator.name}
        return self.having(**columns)

    def over(self, units: Units, part: Entered) -> "Rows":
        """Common columns that count the units that entered."""
        truth, n_units = units.truth[part.rows], int(part.rows.sum())
        subjects = count_subjects(units.subject[part.rows])
        return self.having(
            cluster="subject" if subjects < n_units else "none",
            n_units=n_units,
            n_subjects=subjects,
            n_positive=int(np.sum(truth == 1)),
            n_negative=int(np.sum(truth == 0)),
            n_excluded=part.n_excluded,
            excluded_reasons=part.excluded_reasons,
        )

    def estimate(self, endpoint: str, estimate: Estimate, **columns: Any) -> Row:
        row = self._row(endpoint, estimate) | {
            "numerator": estimate.numerator,
            "denominator": estimate.denominator,
        }
        return row | columns

    def comparison(self, endpoint: str, comparison: Comparison, **columns: Any) -> Row:
        row = self._row(endpoint, comparison) | {
            "comparator_value": comparison.comparator_value,
            "difference": comparison.difference,
            "test": comparison.test,
            "statistic": comparison.statistic,
            "df1": comparison.df1,
            "df2": None if comparison.df2 is None or math.isinf(comparison.df2) else comparison.df2,  # null: normal
            "p": comparison.p,
        }
        return row | columns

    def count(self, endpoint: str, value: float | None, **columns: Any) -> Row:
        """A plain number, which has no interval."""
        return self.estimate(
            endpoint, Estimate(value, None, None, None, 0), **columns, null_reason=COUNT_HAS_NO_INTERVAL
        )

    def absent(self, endpoint: str, reason: str, **columns: Any) -> Row:
        """A figure that was asked for and cannot be given."""
        return self.estimate(endpoint, Estimate(None, None, None, None, 0), **columns, null_reason=reason)

    def _row(self, endpoint: str, result: Estimate | Comparison) -> Row:
        resampled = result.resamples is not None or _is_random(result)
        return {
            "study_score": self.settings.study_score,
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


def _is_random(result: Estimate | Comparison) -> bool:
    test = getattr(result, "test", None)
    return any(word in (result.method or "") or word in (test or "") for word in _BOOTSTRAP_METHODS)
