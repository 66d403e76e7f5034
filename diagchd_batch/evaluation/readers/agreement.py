"""Agreement between raters, without a reference standard: readers among themselves, with the model, over sessions."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from diagchd_batch.evaluation.readers.reader_study import ReaderStudy, majority_of_others
from diagchd_batch.evaluation.tables.rows import Row, Rows
from diagchd_batch.evaluation.units import Rater, Units, entered
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


def agreement_rows(rows: Rows, readers: ReaderStudy, model: Rater | None) -> Iterator[Row]:
    """Pairs of raters, then the readers together and, given a model, with it. `model` is over the readers' studies."""
    units, here = readers.units, rows.having(analysis_set="agreement")
    raters = readers.readers if model is None else (model, *readers.readers)
    for first, second in combinations(raters, 2):
        yield from pair_rows(here, units, first, second)
    if len(readers.readers) > 1:
        yield from _group_rows(here, units, readers.readers, "readers")
    if model is not None:
        yield from _group_rows(here, units, raters, "readers_and_model")


def pair_rows(rows: Rows, units: Units, first: Rater, second: Rater) -> Iterator[Row]:
    """Percent agreement, Cohen's kappa and AC1 of two raters on the units that both called."""
    part = entered(units, first, second, reference=False)
    here = rows.of(units, first, second).over(units, part)
    a, b, subject = first.call[part.rows], second.call[part.rows], units.subject[part.rows]
    options = rows.settings.bootstrap
    ratings = np.stack([a, b], axis=1)
    yield here.estimate("percent_agreement", percent_agreement(ratings, subject, **options))
    yield here.estimate("cohen_kappa", cohen_kappa_of_ratings(a, b, None, CALLS, subject, **options))
    yield here.estimate("gwet_ac1", gwet_ac1(ratings, CALLS, subject, **options))


def against_majority_rows(rows: Rows, readers: ReaderStudy) -> Iterator[Row]:
    """Each reader against the majority of the others, which is no reference standard: agreement, not accuracy."""
    if len(readers.readers) < 2:
        return
    for reader in readers.readers:
        others = majority_of_others(readers.readers, reader)
        here = rows.having(analysis_set="agreement")
        yield from pair_rows(here, readers.units, reader, others)
        part = entered(readers.units, reader, others, reference=False)
        here = here.of(readers.units, reader, others).over(readers.units, part)
        calls, standard = reader.call[part.rows], others.call[part.rows]
        for endpoint, rate in (("positive_agreement", "sensitivity"), ("negative_agreement", "specificity")):
            subject = readers.units.subject[part.rows]
            yield here.estimate(endpoint, estimate_rate(rate, standard, calls, subject, **rows.settings.bootstrap))


def _group_rows(rows: Rows, units: Units, raters: Sequence[Rater], name: str) -> Iterator[Row]:
    calls = np.stack([rater.call for rater in raters], axis=1)
    called = ~np.isnan(calls).all(axis=1)
    reason = np.where(called, 0, raters[-1].reason).astype(np.int8)
    group = Rater("readers", name, np.where(called, 0.0, np.nan), reason)
    part = entered(units, group, reference=False)
    here = rows.of(units, group).over(units, part)
    calls, subject, options = calls[part.rows], units.subject[part.rows], rows.settings.bootstrap
    counts = count_ratings(encode_ratings(calls, CALLS)[0], len(CALLS))
    yield here.estimate("percent_agreement", percent_agreement(calls, subject, **options))
    yield here.estimate("fleiss_kappa", fleiss_kappa(counts, subject, **options))
    yield here.estimate("gwet_ac1", gwet_ac1(calls, CALLS, subject, **options))
    yield here.estimate("krippendorff_alpha", krippendorff_alpha(calls, "nominal", subjects=subject, **options))
