"""The readers as a group: their mean, and the model against it."""

from collections.abc import Iterator

import numpy as np

from diagchd_batch.evaluation.performance.accuracy import COUNTS, scored_by, variants
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import Rater, entered
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

_JACKKNIFED: tuple[Measure, ...] = ("sensitivity", "specificity")  # Obuchowski and Rockette's analysis
_BOOTSTRAPPED = ("accuracy", "ppv", "npv", "f1")
_POOLED = ("ppv", "npv")


def readers_mean_rows(rows: Rows, readers: ReaderStudy) -> Iterator[Row]:
    """Mean counts and rates of the readers, with intervals for these readers and for readers in general."""
    units, many = readers.units, len(readers.readers) >= MIN_RANDOM_READERS
    for analysis_set, raters in variants(units, *readers.readers):
        group = _anyone(raters)
        part = entered(units, group)
        here = rows.of(units, group).over(units, part).having(analysis_set=analysis_set)
        main = analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        calls = _calls(raters)[part.rows]
        tables = [confusion(truth, column) for column in calls.T]
        for cell in COUNTS:
            yield here.count(cell, float(np.mean([getattr(table, cell) for table in tables])), headline=main)
        for measure in _JACKKNIFED:
            result = readers_mean(truth, calls, measure, subject)
            yield here.estimate(measure, result, generalises_to=_population(many), headline=main)
        for random_readers in _populations(many):
            columns = {"generalises_to": _population(random_readers)}
            options = rows.settings.bootstrap | {"random_readers": random_readers}
            for rate in _BOOTSTRAPPED:
                result = readers_rate(rate, truth, calls, subject, **options)
                yield here.estimate(rate, result, **columns, headline=main and random_readers == many)
            for rate in _POOLED:
                result = readers_rate(rate, truth, calls, subject, averaging="pooled", **options)
                yield here.estimate(f"{rate}_pooled", result, **columns)
    if readers.have_scores:
        scored = tuple(scored_by(reader) for reader in readers.readers)
        group = _anyone(scored)
        part = entered(units, group)
        here = rows.of(units, group).over(units, part).having(analysis_set="determinate")
        result = readers_mean(units.truth[part.rows], readers.scores[part.rows], "auc", units.subject[part.rows])
        yield here.estimate("roc_auc", result, generalises_to=_population(many))


def model_against_mean_rows(rows: Rows, readers: ReaderStudy, model: Rater, *, headline: bool) -> Iterator[Row]:
    """Model − mean of the readers, each reader on the studies that it read. `model` is over the readers' studies."""
    units, many = readers.units, len(readers.readers) >= MIN_RANDOM_READERS
    for analysis_set, (first, *raters) in variants(units, model, *readers.readers):
        group = _anyone(tuple(raters))
        part = entered(units, first, group)
        here = rows.of(units, model, group).over(units, part).having(analysis_set=analysis_set)
        main = headline and analysis_set == "determinate"
        truth, subject = units.truth[part.rows], units.subject[part.rows]
        call, calls = first.call[part.rows], _calls(tuple(raters))[part.rows]
        for measure in _JACKKNIFED:
            result = model_versus_readers(truth, call, calls, measure, subject)
            yield here.comparison(measure, result, generalises_to=_population(many), headline=main)
        for random_readers in _populations(many):
            columns = {"generalises_to": _population(random_readers)}
            options = rows.settings.bootstrap | {"random_readers": random_readers}
            for rate in _BOOTSTRAPPED:
                result = model_versus_readers_rate(rate, truth, call, calls, subject, **options)
                yield here.comparison(rate, result, **columns, headline=main and random_readers == many)
            for rate in _POOLED:
                result = model_versus_readers_rate(rate, truth, call, calls, subject, averaging="pooled", **options)
                yield here.comparison(f"{rate}_pooled", result, **columns)


def model_scores_against_mean_rows(rows: Rows, readers: ReaderStudy, model: Rater) -> Iterator[Row]:
    """The model's AUC − the mean of the readers' AUCs, where the readers gave scores."""
    if not readers.have_scores:
        return
    units, many = readers.units, len(readers.readers) >= MIN_RANDOM_READERS
    group = _anyone(tuple(scored_by(reader) for reader in readers.readers))
    part = entered(units, scored_by(model), group)
    here = rows.of(units, model, group).over(units, part).having(analysis_set="determinate")
    truth, subject = units.truth[part.rows], units.subject[part.rows]
    result = model_versus_readers(truth, model.scores[part.rows], readers.scores[part.rows], "auc", subject)
    yield here.comparison("roc_auc", result, generalises_to=_population(many))


def _populations(many: bool) -> tuple[bool, ...]:
    """Whether readers are drawn at random: both ways, except that too few readers speak for themselves only."""
    return (False, True) if many else (False,)


def _population(random_readers: bool) -> str:
    return READERS_IN_GENERAL if random_readers else THESE_READERS


def _calls(raters: tuple[Rater, ...]) -> np.ndarray:
    return np.stack([rater.call for rater in raters], axis=1)


def _anyone(raters: tuple[Rater, ...]) -> Rater:
    """The group as a rater that has a call where any of its members has one; else the first member's reason."""
    called = np.any([rater.reason == 0 for rater in raters], axis=0)
    reason = np.where(called, 0, raters[0].reason).astype(np.int8)
    return Rater("readers_mean", "readers_mean", np.where(called, 0.0, np.nan), reason)
