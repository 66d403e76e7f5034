"""Rows of the table `cohort_characteristics`: the distribution of each covariate, overall and by reference label."""

from collections.abc import Iterator, Sequence

import numpy as np

from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import Units

_NUMBER_STATISTICS = ("mean", "sd", "q1", "median", "q3")
"""No extremes, because these are the numbers of single studies."""


def characteristic_rows(units: Units, covariates: Sequence[Covariate]) -> Iterator[Row]:
    """Describe the cohort.

    Args:
        units: The studies that are not excluded.
        covariates: Their covariates.

    Yields:
        Number and share of every level, and the distribution of numeric covariates, for all studies, the diseased, the
        healthy, and those without a reference label.
    """
    groups = {
        "all": np.ones(len(units), dtype=bool),
        "positive": units.truth == 1,
        "negative": units.truth == 0,
        "without_reference": np.isnan(units.truth),
    }
    for group, rows in groups.items():
        n = int(rows.sum())
        yield {"variable": "studies", "group": group, "statistic": "n", "value": float(n), "n": n}
        for covariate in covariates:
            common = {"variable": covariate.name, "group": group, "n": n}
            counts = np.bincount(covariate.code[rows], minlength=len(covariate.levels))
            for level, count in zip(covariate.levels, counts, strict=True):
                yield {**common, "level": level, "statistic": "n", "value": float(count)}
                share = {"value": float(count / n)} if n else {"null_reason": "no_units"}
                yield {**common, "level": level, "statistic": "share", **share}
            if covariate.number is not None:
                yield from _number_rows(common | {"unit": covariate.unit}, covariate.number[rows])


def _number_rows(common: Row, numbers: np.ndarray) -> Iterator[Row]:
    known = numbers[~np.isnan(numbers)]
    statistics: dict[str, float | None] = {name: None for name in _NUMBER_STATISTICS}
    if len(known):
        quantiles = np.quantile(known, [0.25, 0.5, 0.75])
        sd = known.std(ddof=1) if len(known) > 1 else None
        statistics = dict(zip(_NUMBER_STATISTICS, [known.mean(), sd, *quantiles], strict=True))
    for name, value in statistics.items():
        row = {**common, "n": len(known), "statistic": name}
        yield row | ({"null_reason": "no_units"} if value is None else {"value": float(value)})
