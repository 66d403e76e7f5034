"""Subgroups: the model within each level of a covariate, and one test for each covariate that all levels are alike."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import call_rows
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.subgroups.training_folds import TRAINING_FOLD
from diagchd_batch.evaluation.tables.definitions import CROSS_VALIDATED
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases
from diagchd_batch.statistics.classification import estimate_score
from diagchd_batch.statistics.classification.cross_validated import cross_validated_auc
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.subgroups import InteractionTest, heterogeneity_test, interaction_test

SUBGROUP_RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def level_rows(rows: RowBuilder, units: Units, model: Rater, covariate: Covariate) -> Iterator[Row]:
    """Estimate counts, rates and AUC of the model in each level that has a unit. `missing` is a level.

    Args:
        rows: Columns that all rows share.
        units: The studies with their reference labels.
        model: The model at one operating point.
        covariate: The covariate over the same studies.

    Yields:
        Rows of `estimates` for each level.
    """
    for code, level in enumerate(covariate.levels):
        inside = covariate.code == code
        if not inside.any():
            continue
        here = rows.with_columns(covariate=covariate.name, level=level)
        part, rater = units.take(inside), model.take(inside)
        yield from call_rows(here, part, rater, headline=False, rates=SUBGROUP_RATES)
        yield _auc_row(here, part, rater)[0]


def lesion_rows(rows: RowBuilder, units: Units, model: Rater, diagnosis: Covariate) -> Iterator[Row]:
    """Estimate the sensitivity by diagnosis, over the diseased studies.

    Args:
        rows: Columns that all rows share.
        units: The studies with their reference labels.
        model: The model at one operating point.
        diagnosis: The diagnosis over the same studies.

    Yields:
        A row of `estimates` for each diagnosis that a diseased study has.
    """
    for code, level in enumerate(diagnosis.levels):
        inside = (diagnosis.code == code) & (units.truth == 1)
        if inside.any():
            here = rows.with_columns(covariate=diagnosis.name, level=level)
            part, rater = units.take(inside), model.take(inside)
            yield from call_rows(here, part, rater, headline=False, rates=("sensitivity",))


def interaction_rows(rows: RowBuilder, units: Units, model: Rater, covariate: Covariate) -> Iterator[Row]:
    """Test whether sensitivity, specificity and AUC are the same in all levels.

    Args:
        rows: Columns that all rows share.
        units: The studies with their reference labels.
        model: The model at one operating point.
        covariate: The covariate over the same studies.

    Yields:
        Three rows of `comparisons`.
    """
    part = complete_cases(units, model)
    here = (
        rows.for_raters(units, model)
        .with_counts(units, part)
        .with_columns(analysis_set="determinate", covariate=covariate.name)
    )
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    right = (model.call[part.rows] == truth).astype(np.float64)
    levels = np.array(covariate.levels, dtype=object)[covariate.code[part.rows]]
    for endpoint, of_class in (("sensitivity", truth == 1), ("specificity", truth == 0)):
        yield _interaction_row(here, endpoint, interaction_test(right[of_class], levels[of_class], subject[of_class]))
    aucs = []
    for code in range(len(covariate.levels)):
        inside = covariate.code == code
        if inside.any():
            aucs.append(_auc_row(here, units.take(inside), model.take(inside))[1])
    yield _interaction_row(here, "roc_auc", heterogeneity_test(aucs))


def _auc_row(rows: RowBuilder, units: Units, model: Rater) -> tuple[Row, Estimate]:
    part = complete_cases(units, model)
    here = (
        rows.for_raters(units, model)
        .with_counts(units, part)
        .with_columns(analysis_set="determinate", operating_point=None, threshold=None)
    )
    truth, score, subject = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    if units.folds is None:
        result = estimate_score("auc", truth, score, subject, **rows.settings.bootstrap)
        return here.estimate("roc_auc", result), result
    result = cross_validated_auc(truth, score, units.folds[part.rows], subject, **rows.settings.bootstrap)
    return here.estimate("roc_auc", result, definition=CROSS_VALIDATED["roc_auc"]), result


def _interaction_row(rows: RowBuilder, endpoint: str, result: InteractionTest) -> Row:
    return rows.without_value(
        f"{endpoint}_interaction",
        "test_only" if result.null_reason is None else str(result.null_reason),
        test=result.test,
        statistic=result.statistic,
        df1=result.df,
        p=result.p,
        family=TRAINING_FOLD if rows.common["covariate"] == TRAINING_FOLD else f"subgroups: {endpoint}",
    )
