"""Rows of `comparison_tests`: paired tests of two runs, and the agreement of their calls."""

from collections.abc import Iterator
from dataclasses import replace

from diagchd_batch.evaluation.performance.accuracy import auc_difference, comparison_rows, score_rater
from diagchd_batch.evaluation.readers.agreement import pair_rows
from diagchd_batch.evaluation.tables.definitions import CROSS_VALIDATED
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases


def paired_rows(rows: RowBuilder, units: Units, second: Rater, first: Rater, *, has_reference: bool) -> Iterator[Row]:
    """Test second − first run against the reference standard, and estimate the agreement of their calls.

    Args:
        rows: Columns that all rows share.
        units: The second run's studies.
        second: The second run at an operating point.
        first: The first run at the same operating point, over the same studies.
        has_reference: Whether any study has a reference label. Without, only agreement is estimated.

    Yields:
        Rows of `comparison_tests`.
    """
    if has_reference:
        # Scores do not depend on the operating point. `score_test_row` compares them once.
        yield from comparison_rows(rows, units, replace(second, score=None), replace(first, score=None), headline=False)
    yield from pair_rows(rows.with_columns(analysis_set="agreement"), units, second, first)


def score_test_row(rows: RowBuilder, units: Units, second: Rater, first: Rater) -> Row:
    """Test the second run's AUC − the first run's AUC.

    Args:
        rows: Columns that all rows share.
        units: The second run's studies with their reference labels.
        second: The second run.
        first: The first run over the same studies.

    Returns:
        A row of `comparison_tests`.
    """
    scored = score_rater(second), score_rater(first)
    part = complete_cases(units, *scored)
    here = rows.for_raters(units, second, first).with_counts(units, part).with_columns(analysis_set="determinate")
    columns = {} if units.folds is None else {"definition": CROSS_VALIDATED["roc_auc"]}
    return here.comparison("roc_auc", auc_difference(units, part, *scored, **rows.settings.bootstrap), **columns)
