"""The readers as a group: the mean of their figures, and the model against it."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import COUNTS, indeterminate_variants, score_rater
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.tables.cautions import caution_for_readers
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, complete_cases
from diagchd_batch.statistics.classification import confusion
from diagchd_batch.statistics.multireader.random_readers import (
    MIN_RANDOM_READERS,
    Measure,
    model_versus_readers,
    readers_mean,
)
from diagchd_batch.statistics.multireader.reader_groups import model_versus_readers_rate, readers_rate

THESE_READERS = "these_readers"
READERS_IN_GENERAL = "readers_in_general"

_JACKKNIFED: tuple[Measure, ...] = ("sensitivity", "specificity")  # by Obuchowski and Rockette
_BOOTSTRAPPED = ("accuracy", "ppv", "npv", "f1")
_POOLED = ("ppv", "npv")


def readers_mean_rows(rows: RowBuilder, readers: ReaderStudy) -> Iterator[Row]:
    """Estimate the mean of the readers' counts, rates and AUCs, for these readers and for readers in general.

    Args:
        rows: Columns that all rows share.
        readers: The reader study.

    Yields:
        Rows of `estimates`. With fewer readers than `MIN_RANDOM_READERS`, they are about these readers only.
    """
    units, enough_readers = readers.units, len(readers.readers) >= MIN_RANDOM_READERS
    for analysis_set, raters in indeterminate_variants(units, *readers.readers):
        group = group_rater(raters)
        part = complete_cases(units, group)
        here = rows.for_raters(units, group).with_counts(units, part).with_columns(analysis_set=analysis_set)
        main = analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        calls = _calls(raters)[part.rows]
        tables = [confusion(truth, column) for column in calls.T]
        for cell in COUNTS:
            yield here.count(cell, float(np.mean([getattr(table, cell) for table in tables])), headline=main)
        for measure in _JACKKNIFED:
            result = readers_mean(truth, calls, measure, subject)
            yield here.estimate(measure, result, **population_columns(readers), headline=main)
        for random_readers in _populations(enough_readers):
            columns = _population(random_readers, readers)
            options = rows.settings.bootstrap | {"random_readers": random_readers}
            for rate in _BOOTSTRAPPED:
                result = readers_rate(rate, truth, calls, subject, **options)
                yield here.estimate(rate, result, **columns, headline=main and random_readers == enough_readers)
            for rate in _POOLED:
                result = readers_rate(rate, truth, calls, subject, averaging="pooled", **options)
                yield here.estimate(f"{rate}_pooled", result, **columns)
    if readers.have_scores:
        scored = tuple(score_rater(reader) for reader in readers.readers)
        group = group_rater(scored)
        part = complete_cases(units, group)
        here = rows.for_raters(units, group).with_counts(units, part).with_columns(analysis_set="determinate")
        result = readers_mean(units.truth[part.rows], readers.scores[part.rows], "auc", units.subject[part.rows])
        yield here.estimate("roc_auc", result, **population_columns(readers))


def model_against_mean_rows(rows: RowBuilder, readers: ReaderStudy, model: Rater, *, headline: bool) -> Iterator[Row]:
    """Compare the model's rates with the mean of the readers' rates.

    Each reader counts on the studies that he or she read.

    Args:
        rows: Columns that all rows share.
        readers: The reader study.
        model: The model over the reader study's studies.
        headline: Whether the main figures belong to the headline table.

    Yields:
        Rows of `comparisons`: model − mean of the readers.
    """
    units, enough_readers = readers.units, len(readers.readers) >= MIN_RANDOM_READERS
    for analysis_set, (first, *raters) in indeterminate_variants(units, model, *readers.readers):
        group = group_rater(tuple(raters))
        part = complete_cases(units, first, group)
        here = rows.for_raters(units, model, group).with_counts(units, part).with_columns(analysis_set=analysis_set)
        main = headline and analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        call, calls = first.call[part.rows], _calls(tuple(raters))[part.rows]
        for measure in _JACKKNIFED:
            result = model_versus_readers(truth, call, calls, measure, subject)
            yield here.comparison(measure, result, **population_columns(readers), headline=main)
        for random_readers in _populations(enough_readers):
            columns = _population(random_readers, readers)
            options = rows.settings.bootstrap | {"random_readers": random_readers}
            for rate in _BOOTSTRAPPED:
                result = model_versus_readers_rate(rate, truth, call, calls, subject, **options)
                yield here.comparison(rate, result, **columns, headline=main and random_readers == enough_readers)
            for rate in _POOLED:
                result = model_versus_readers_rate(rate, truth, call, calls, subject, averaging="pooled", **options)
                yield here.comparison(f"{rate}_pooled", result, **columns)


def model_scores_against_mean_rows(rows: RowBuilder, readers: ReaderStudy, model: Rater) -> Iterator[Row]:
    """Compare the model's AUC with the mean of the readers' AUCs.

    Args:
        rows: Columns that all rows share.
        readers: The reader study. If not every reader gave scores, there are no rows.
        model: The model over the reader study's studies.

    Yields:
        Rows of `comparisons`: model − mean of the readers.
    """
    if not readers.have_scores:
        return
    units = readers.units
    group = group_rater(tuple(score_rater(reader) for reader in readers.readers))
    part = complete_cases(units, score_rater(model), group)
    here = rows.for_raters(units, model, group).with_counts(units, part).with_columns(analysis_set="determinate")
    if units.folds is not None:  # the method ranks all studies together
        yield here.without_value("roc_auc", "scores_of_different_folds", **population_columns(readers))
        return
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    result = model_versus_readers(truth, model.scores[part.rows], readers.scores[part.rows], "auc", subject)
    yield here.comparison("roc_auc", result, **population_columns(readers))


def population_columns(readers: ReaderStudy) -> Row:
    """Return the columns that say to whom the mean of these readers applies, and what is known against that.

    Args:
        readers: The reader study. With fewer readers than `MIN_RANDOM_READERS` the figure is about them only.
    """
    return _population(len(readers.readers) >= MIN_RANDOM_READERS, readers)


def _populations(enough_readers: bool) -> tuple[bool, ...]:
    """Return whether to draw readers at random: without and with, but only without if there are too few readers."""
    return (False, True) if enough_readers else (False,)


def _population(random_readers: bool, readers: ReaderStudy) -> Row:
    """Return the columns that say to whom a figure applies, and what is known against that."""
    if not random_readers:
        return {"generalises_to": THESE_READERS}
    return {"generalises_to": READERS_IN_GENERAL, "caution": caution_for_readers(len(readers.readers))}


def _calls(raters: tuple[Rater, ...]) -> np.ndarray:
    return np.stack([rater.call for rater in raters], axis=1)


def group_rater(raters: tuple[Rater, ...]) -> Rater:
    """Return a rater with a call wherever any of the readers has one, and else with the first reader's reason.

    Args:
        raters: The readers over the same studies.
    """
    called = np.any([rater.reason == 0 for rater in raters], axis=0)
    reason = np.where(called, 0, raters[0].reason).astype(np.int8)
    return Rater("readers_mean", "readers_mean", np.where(called, 0.0, np.nan), reason)
