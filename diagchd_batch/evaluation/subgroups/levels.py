"""The model within the levels of each covariate, and one test per covariate and endpoint that all levels are alike."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import call_rows
from diagchd_batch.evaluation.subgroups.covariates import Covariate
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import Rater, Units, entered
from diagchd_batch.statistics.classification import estimate_score
from diagchd_batch.statistics.estimate import Estimate
from diagchd_batch.statistics.subgroups import InteractionTest, heterogeneity_test, interaction_test

SUBGROUP_RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy")


def level_rows(rows: Rows, units: Units, model: Rater, covariate: Covariate) -> Iterator[Row]:
    """Counts, rates and AUC of the model in each level that has a unit; `missing` is a level."""
    for code, level in enumerate(covariate.levels):
        inside = covariate.code == code
        if not inside.any():
            continue
        here = rows.having(covariate=covariate.name, level=level)
        part, rater = units.take(inside), model.take(inside)
        yield from call_rows(here, part, rater, headline=False, rates=SUBGROUP_RATES)
        yield _auc_row(here, part, rater)[0]


def lesion_rows(rows: Rows, units: Units, model: Rater, diagnosis: Covariate) -> Iterator[Row]:
    """Sensitivity by diagnosis, over the diseased units."""
    for code, level in enumerate(diagnosis.levels):
        inside = (diagnosis.code == code) & (units.truth == 1)
        if inside.any():
            here = rows.having(covariate=diagnosis.name, level=level)
            part, rater = units.take(inside), model.take(inside)
            yield from call_rows(here, part, rater, headline=False, rates=("sensitivity",))


def interaction_rows(rows: Rows, units: Units, model: Rater, covariate: Covariate) -> Iterator[Row]:
    """For `comparisons`: is the sensitivity, the specificity, the AUC the same in all levels?"""
    part = entered(units, model)
    here = rows.of(units, model).over(units, part).having(analysis_set="determinate", covariate=covariate.name)
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


def _auc_row(rows: Rows, units: Units, model: Rater) -> tuple[Row, Estimate]:
    part = entered(units, model)
    here = (
        rows.of(units, model).over(units, part).having(analysis_set="determinate", operating_point=None, threshold=None)
    )
    truth, score, subject = units.truth[part.rows], model.scores[part.rows], units.subject[part.rows]
    result = estimate_score("auc", truth, score, subject, **rows.settings.bootstrap)
    return here.estimate("roc_auc", result), result


def _interaction_row(rows: Rows, endpoint: str, result: InteractionTest) -> Row:
    return rows.absent(
        f"{endpoint}_interaction",
        "test_only" if result.null_reason is None else str(result.null_reason),
        test=result.test,
        statistic=result.statistic,
        df1=result.df,
        p=result.p,
        family=f"subgroups: {endpoint}",
    )
