"""Agreement of raters, which needs no reference standard: readers, the model, and the majority of the other readers."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from diagchd_batch.evaluation.readers.majority import majority_of_others
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder
from diagchd_batch.evaluation.units_and_raters import Rater, Units, complete_cases
from diagchd_batch.statistics.agreement.coefficients import (
    cohen_kappa_of_ratings,
    fleiss_kappa,
    gwet_ac1,
    krippendorff_alpha,
    percent_agreement,
)
from diagchd_batch.statistics.agreement.ratings import count_ratings, encode_ratings
from diagchd_batch.statistics.classification import estimate_rate

CALLS = (0.0, 1.0)


def agreement_rows(rows: RowBuilder, readers: ReaderStudy, model: Rater) -> Iterator[Row]:
    """Estimate the agreement of every pair of raters, of all readers, and of all readers and the model.

    Args:
        rows: Columns that all rows share.
        readers: The reader study.
        model: The model over the reader study's studies.

    Yields:
        Rows of `estimates` in the analysis set `agreement`.
    """
    units, here = readers.units, rows.with_columns(analysis_set="agreement")
    raters = (model, *readers.readers)
    for first, second in combinations(raters, 2):
        yield from pair_rows(here, units, first, second)
    if len(readers.readers) > 1:
        yield from _group_rows(here, units, readers.readers, "readers")
    yield from _group_rows(here, units, raters, "readers_and_model")


def pair_rows(rows: RowBuilder, units: Units, first: Rater, second: Rater) -> Iterator[Row]:
    """Estimate percent agreement, Cohen's kappa and Gwet's AC1 of two raters on the units that both called.

    Args:
        rows: Columns that all rows share.
        units: The units. A reference label is not needed.
        first: The first rater.
        second: The second rater.

    Yields:
        Rows of `estimates`, one for each measure.
    """
    part = complete_cases(units, first, second, reference=False)
    here = rows.for_raters(units, first, second).with_counts(units, part)
    a, b, subject = first.call[part.rows], second.call[part.rows], units.subject[part.rows]
    options = rows.settings.bootstrap
    ratings = np.stack([a, b], axis=1)
    yield here.estimate("percent_agreement", percent_agreement(ratings, subject, **options))
    yield here.estimate("cohen_kappa", cohen_kappa_of_ratings(a, b, None, CALLS, subject, **options))
    yield here.estimate("gwet_ac1", gwet_ac1(ratings, CALLS, subject, **options))


def against_majority_rows(rows: RowBuilder, readers: ReaderStudy) -> Iterator[Row]:
    """Compare each reader with the majority of the other readers.

    The majority is no reference standard, so the figures are agreement rather than accuracy.

    Args:
        rows: Columns that all rows share.
        readers: The reader study. With a single reader there are no rows.

    Yields:
        Rows of `estimates`, for each reader and measure.
    """
    if len(readers.readers) < 2:
        return
    for reader in readers.readers:
        others = majority_of_others(readers.readers, reader)
        here = rows.with_columns(analysis_set="agreement")
        yield from pair_rows(here, readers.units, reader, others)
        part = complete_cases(readers.units, reader, others, reference=False)
        here = here.for_raters(readers.units, reader, others).with_counts(readers.units, part)
        calls, standard = reader.call[part.rows], others.call[part.rows]
        for endpoint, rate in (("positive_agreement", "sensitivity"), ("negative_agreement", "specificity")):
            subject = readers.units.subject[part.rows]
            yield here.estimate(endpoint, estimate_rate(rate, standard, calls, subject, **rows.settings.bootstrap))


def _group_rows(rows: RowBuilder, units: Units, raters: Sequence[Rater], name: str) -> Iterator[Row]:
    calls = np.stack([rater.call for rater in raters], axis=1)
    called = ~np.isnan(calls).all(axis=1)
    reason = np.where(called, 0, raters[-1].reason).astype(np.int8)
    group = Rater("readers", name, np.where(called, 0.0, np.nan), reason)
    part = complete_cases(units, group, reference=False)
    here = rows.for_raters(units, group).with_counts(units, part)
    calls, subject, options = calls[part.rows], units.subject[part.rows], rows.settings.bootstrap
    counts = count_ratings(encode_ratings(calls, CALLS)[0], len(CALLS))
    yield here.estimate("percent_agreement", percent_agreement(calls, subject, **options))
    yield here.estimate("fleiss_kappa", fleiss_kappa(counts, subject, **options))
    yield here.estimate("gwet_ac1", gwet_ac1(calls, CALLS, subject, **options))
    yield here.estimate("krippendorff_alpha", krippendorff_alpha(calls, "nominal", subjects=subject, **options))
