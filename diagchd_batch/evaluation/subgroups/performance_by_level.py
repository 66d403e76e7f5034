"""Rows of the table `subgroups`: every level of every covariate with its interval, its difference, and the test.

Subgroups are a matter of few units, so the smallest levels come first.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases
from diagchd_batch.statistics.classification import estimate_score
from diagchd_batch.statistics.classification.cross_validated import cross_validated_auc
from diagchd_batch.statistics.estimate import Comparison, Estimate
from diagchd_batch.statistics.subgroups import auc_difference, level_difference

COMPARED = ("sensitivity", "specificity", "roc_auc")
"""Endpoints whose levels are compared."""

_OF_LEVEL = (
    "unit", "cluster", "study_score", "image_score", "top_k", "operating_point", "threshold", "subject", "endpoint",
    "covariate", "level", "n_units", "n_subjects", "n_positive", "n_negative", "value", "ci_low", "ci_high",
    "ci_method", "null_reason", "caution",
)  # fmt: skip
_OF_TEST = ("test", "statistic", "df1", "p", "p_adjusted")


def level_differences(units: Units, model: Rater, covariate: Covariate) -> Iterator[Row]:
    """Compare each level of a covariate with all other levels together.

    Args:
        units: The studies with their reference labels.
        model: The model at one operating point.
        covariate: The covariate over the same studies.

    Yields:
        For each level that has a unit, and each endpoint: the columns of `subgroups` about the difference.
    """
    part = complete_cases(units, model)
    kept, code = units.take(part.rows), covariate.code[part.rows]
    right = (model.call[part.rows] == kept.truth).astype(np.float64)
    score = model.scores[part.rows]
    for place, level in enumerate(covariate.levels):
        inside = code == place
        if not (covariate.code == place).any():
            continue
        aucs = [_auc(kept, score, rows) for rows in (inside, ~inside)]
        found = {
            name: level_difference(right[of_class], inside[of_class], kept.subject[of_class])
            for name, of_class in (("sensitivity", kept.truth == 1), ("specificity", kept.truth == 0))
        } | {"roc_auc": auc_difference(*aucs)}
        for endpoint, result in found.items():
            yield {"covariate": covariate.name, "level": level, "endpoint": endpoint, **_columns(result)}


def _auc(units: Units, score: np.ndarray, rows: np.ndarray) -> Estimate:
    """Return the AUC of some units; of out-of-fold scores the cross-validated one."""
    truth, scores, subject = units.truth[rows], score[rows], units.subject[rows]
    if units.folds is None:
        return estimate_score("auc", truth, scores, subject)
    return cross_validated_auc(truth, scores, units.folds[rows], subject)


def _columns(result: Comparison) -> Row:
    return {
        "others_value": result.comparator_value,
        "difference": result.difference,
        "difference_ci_low": result.low,
        "difference_ci_high": result.high,
        "difference_ci_method": result.method,
        "difference_null_reason": None if result.null_reason is None else str(result.null_reason),
    }


def performance_by_level(
    estimates: Iterable[Row], comparisons: Iterable[Row], differences: Iterable[Row], covariates: Sequence[str]
) -> list[Row]:
    """Join the figures of all levels with their differences and tests.

    Args:
        estimates: Rows of `estimates`.
        comparisons: Rows of `comparisons`, with adjusted p values.
        differences: What `level_differences` yields for every covariate.
        covariates: The names of the covariates.

    Returns:
        Rows of `subgroups`, the levels with the fewest units first.
    """
    tests = {(row.get("covariate"), row["endpoint"]): row for row in comparisons if row.get("comparator_kind") is None}
    of_difference = {(row["covariate"], row["level"], row["endpoint"]): row for row in differences}
    rows = []
    for row in estimates:
        key = (row.get("covariate"), row.get("level"), row["endpoint"])
        is_main = row.get("analysis_set") == "determinate" and row.get("subject_kind") == "model"
        if row.get("covariate") in covariates and is_main and key in of_difference:
            test = tests.get((row["covariate"], f"{row['endpoint']}_interaction"), {})
            own = {name: row.get(name) for name in _OF_LEVEL}
            rows.append({**own, **of_difference[key], **{name: test.get(name) for name in _OF_TEST}})
    order = {name: place for place, name in enumerate(covariates)}
    return sorted(rows, key=lambda row: (row["n_units"], order[row["covariate"]]))
