"""Rows of `comparison_drift`: how far scores moved between two runs."""

from collections.abc import Iterator, Sequence

import numpy as np

from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units
from diagchd_batch.statistics.resampling import subject_interval, totals_by_subject


def drift_rows(
    rows: RowBuilder, units: Units, second: Rater, first: Rater, covariates: Sequence[Covariate], point: str
) -> Iterator[Row]:
    """Describe second − first score over all studies scored by both runs, and by level of each covariate.

    Args:
        rows: Holds the settings of the bootstrap.
        units: The second run's studies.
        second: The second run at an operating point.
        first: The first run at the same operating point, over the same studies.
        covariates: Covariates over the same studies.
        point: The operating point's name.

    Yields:
        Rows of `comparison_drift`.
    """
    yield _drift_row(rows, units, second, first, point)
    for covariate in covariates:
        for code, level in enumerate(covariate.levels):
            inside = covariate.code == code
            if inside.any():
                row = _drift_row(rows, units.take(inside), second.take(inside), first.take(inside), point)
                yield {**row, "covariate": covariate.name, "level": level}


def _drift_row(rows: RowBuilder, units: Units, second: Rater, first: Rater, point: str) -> Row:
    both = (second.reason == 0) & (first.reason == 0)
    subject, first_score, second_score = units.take(both).subject, first.scores[both], second.scores[both]
    difference = second_score - first_score
    n = len(difference)
    totals = totals_by_subject(np.stack([difference, np.ones(n)], axis=1), subject)
    mean = subject_interval(
        totals, lambda sums: sums[..., 0] / sums[..., 1], n=n, bounds=(-1.0, 1.0), **rows.settings.bootstrap
    )
    return {
        "operating_point": point,
        "n_units": n,
        "n_subjects": len(totals),
        "first_mean": float(first_score.mean()) if n else None,
        "second_mean": float(second_score.mean()) if n else None,
        "mean_difference": mean.value,
        "ci_low": mean.low,
        "ci_high": mean.high,
        "ci_method": mean.method,
        "null_reason": None if mean.null_reason is None else str(mean.null_reason),
        "sd_difference": float(difference.std(ddof=1)) if n > 1 else None,
        "largest_difference": float(np.abs(difference).max()) if n else None,
        "n_flips": int(np.sum(first.call[both] != second.call[both])),
        "resamples": mean.resamples,
        "seed": rows.settings.seed if mean.resamples else None,
        "definition": DEFINITIONS["drift"],
    }
