"""Bounds for studies that a reader did not read: all counted as wrong calls of that reader, and all as right ones.

A study counts as unread by a reader if another reader read it. Readers who skip hard studies look better than they are,
and no figure of the studies that they did read can show that.
"""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import subject_cells
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.readers.readers_mean import group_rater, population_columns
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, complete_cases
from diagchd_batch.statistics.classification import compare_rates
from diagchd_batch.statistics.classification.rates import rate_of_cells
from diagchd_batch.statistics.multireader.random_readers import Measure, model_versus_readers, readers_mean

_RATES: tuple[Measure, ...] = ("sensitivity", "specificity")


def unread_estimate_rows(rows: RowBuilder, readers: ReaderStudy) -> Iterator[Row]:
    """Estimate each reader's sensitivity and specificity, and the readers' mean, with unread studies either way.

    Args:
        rows: Columns that all rows share.
        readers: The reader study. If every reader read every study with a reference label, there are no rows.

    Yields:
        Rows of `estimates` in the analysis sets `not_read_wrong` and `not_read_right`.
    """
    units = readers.units
    for analysis_set, raters in _variants(readers):
        here = rows.with_columns(analysis_set=analysis_set)
        for rater in raters:
            part = complete_cases(units, rater)
            cells = subject_cells(units.truth[part.rows], rater.call[part.rows], units.subject[part.rows])
            of_reader = here.for_raters(units, rater).with_counts(units, part)
            for rate in _RATES:
                yield of_reader.estimate(rate, rate_of_cells(rate, cells, **rows.settings.rate))
        group = group_rater(raters)
        part = complete_cases(units, group)
        calls = np.stack([rater.call for rater in raters], axis=1)[part.rows]
        of_group = here.for_raters(units, group).with_counts(units, part)
        for rate in _RATES:
            result = readers_mean(units.truth[part.rows], calls, rate, units.subject[part.rows])
            yield of_group.estimate(rate, result, **population_columns(readers))


def unread_comparison_rows(rows: RowBuilder, readers: ReaderStudy, model: Rater) -> Iterator[Row]:
    """Compare the model with each reader and with the readers' mean, with unread studies either way.

    Args:
        rows: Columns that all rows share.
        readers: The reader study. If every reader read every study with a reference label, there are no rows.
        model: The model over the reader study's studies.

    Yields:
        Rows of `comparisons`: model − reader, which is greatest where unread studies are wrong calls of the reader.
    """
    units = readers.units
    for analysis_set, raters in _variants(readers):
        here = rows.with_columns(analysis_set=analysis_set)
        for rater in raters:
            part = complete_cases(units, model, rater)
            of_pair = here.for_raters(units, model, rater).with_counts(units, part)
            truth, subject = units.truth[part.rows], units.subject[part.rows]
            for rate in _RATES:
                result = compare_rates(rate, truth, model.call[part.rows], rater.call[part.rows], subject)
                yield of_pair.comparison(rate, result)
        group = group_rater(raters)
        part = complete_cases(units, model, group)
        calls = np.stack([rater.call for rater in raters], axis=1)[part.rows]
        of_group = here.for_raters(units, model, group).with_counts(units, part)
        for rate in _RATES:
            truth, subject = units.truth[part.rows], units.subject[part.rows]
            result = model_versus_readers(truth, model.call[part.rows], calls, rate, subject)
            yield of_group.comparison(rate, result, **population_columns(readers))


def _variants(readers: ReaderStudy) -> Iterator[tuple[str, tuple[Rater, ...]]]:
    truth = readers.units.truth
    if any(reader.n_unread(truth) for reader in readers.readers):
        for name, correct in (("not_read_wrong", False), ("not_read_right", True)):
            yield name, tuple(reader.with_unread_as(truth, correct=correct) for reader in readers.readers)
