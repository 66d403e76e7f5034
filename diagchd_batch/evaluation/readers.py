"""The readers as a group: majority, leave-one-out, and means by bootstrap where no closed form exists."""

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from diagchd_batch.errors import StatisticsError
from diagchd_batch.evaluation.confusion import RATES, confusion_cells
from diagchd_batch.evaluation.estimate import Comparison, Estimate, NullReason
from diagchd_batch.evaluation.inputs import as_binary, as_reads, complete, subject_codes
from diagchd_batch.evaluation.resampling import (
    DEFAULT_RESAMPLES,
    acceleration,
    bootstrap_estimate,
    patterns,
    resample_weights,
    totals_by_subject,
)

Averaging = Literal["mean", "pooled"]


def majority_call(reads: ArrayLike) -> np.ndarray:
    """The readers' majority for each unit: 1, 0, or NaN where undecided.

    reads: units × J of 0/1, NaN where not read or indeterminate. Decided where more than half of the valid reads
    agree and at least ceil(J / 2) reads are valid; everything else (a tie, too few reads) is undecided.
    """
    matrix = np.asarray(reads)
    matrix = as_reads(matrix, "reads", len(matrix), binary=True)
    valid = np.sum(~np.isnan(matrix), axis=1)
    positive = np.sum(matrix == 1, axis=1)
    enough = (valid > 0) & (valid >= np.ceil(matrix.shape[1] / 2))
    return np.select([enough & (2 * positive > valid), enough & (2 * positive < valid)], [1.0, 0.0], default=np.nan)


def leave_one_out_majority(reads: ArrayLike, reader: int) -> np.ndarray:
    """Majority of all readers but the one in column `reader`: the standard to compare that reader with."""
    matrix = np.asarray(reads)
    if matrix.ndim != 2 or not 0 <= reader < matrix.shape[1]:
        raise StatisticsError(f"reads must be units × readers with a column {reader}, got shape {matrix.shape}")
    if matrix.shape[1] < 2:
        raise StatisticsError("leaving one reader out needs at least two readers")
    return majority_call(np.delete(matrix, reader, axis=1))


def counted_as(truth: ArrayLike, call: ArrayLike, uncertain: ArrayLike, right: bool) -> np.ndarray:
    """Calls in which every `uncertain` unit (undecided, indeterminate; bool) is counted as right, or else as wrong.

    Where truth is missing the call stays missing.
    """
    truth, call = as_binary(truth, "truth"), as_binary(call, "call")
    return np.where(np.asarray(uncertain, dtype=bool), truth if right else 1 - truth, call)


def readers_rate(
    name: str,
    truth: ArrayLike,
    readers: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    averaging: Averaging = "mean",
    random_readers: bool = True,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Estimate:
    """A rate of `confusion.RATES` for the readers as a group, with a bootstrap interval.

    readers: units × J of 0/1, missing where not read. averaging: `mean` of the readers' rates, or the `pooled` rate
    of all their reads. random_readers: resample readers and subjects (readers in general, method
    `reader_subject_bootstrap_percentile`), or subjects only (these readers, `subject_bootstrap_bca`). A reader
    whose rate is undefined makes the mean undefined: null, `zero_denominator`.
    Source: resampling both: Gallas, Bandos, Samuelson & Wagner (2009), Commun Stat Theory 38:2586.
    """
    truth = as_binary(truth, "truth")
    reads = as_reads(readers, "readers", len(truth), binary=True)
    known = ~np.isnan(truth) & ~np.isnan(reads).all(axis=1)
    n = int(known.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS)
    codes = subject_codes(subjects, known)
    cells = np.stack([confusion_cells(truth[known], column) for column in reads[known].T], axis=1)
    value, resampled, left_out = _bootstrap(name, cells, None, codes, averaging, random_readers, resamples, seed)
    n_subjects = len(left_out)
    if np.isnan(value[0]):
        return Estimate.null(NullReason.ZERO_DENOMINATOR, n, n_subjects=n_subjects)
    if n_subjects == 1:
        return Estimate(float(value[0]), None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=1)
    return bootstrap_estimate(
        float(value[0]),
        resampled[:, 0],
        level=level,
        n=n,
        n_subjects=n_subjects,
        method=_method(random_readers),
        accelerated_by=None if random_readers else acceleration(left_out[:, 0]),
    )


def model_versus_readers_rate(
    name: str,
    truth: ArrayLike,
    model: ArrayLike,
    readers: ArrayLike,
    subjects: ArrayLike | None = None,
    *,
    averaging: Averaging = "mean",
    random_readers: bool = True,
    level: float = 0.95,
    resamples: int = DEFAULT_RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Model − readers as a group for any rate of `confusion.RATES`; arguments as in `readers_rate`.

    The model is judged on the units where its call is known and at least one reader read. The p is that of the
    bootstrap: twice the smaller share of resampled differences on either side of 0 (test `bootstrap_percentile`).
    Source: Efron & Tibshirani (1993), ch. 15 (achieved significance from the percentile interval).
    """
    truth, model = as_binary(truth, "truth"), as_binary(model, "model")
    reads = as_reads(readers, "readers", len(truth), binary=True)
    known = complete(truth, model) & ~np.isnan(reads).all(axis=1)
    n = int(known.sum())
    if n == 0:
        return Comparison.null(NullReason.NO_UNITS)
    codes = subject_codes(subjects, known)
    cells = np.stack([confusion_cells(truth[known], column) for column in reads[known].T], axis=1)
    of_model = confusion_cells(truth[known], model[known])
    value, resampled, left_out = _bootstrap(name, cells, of_model, codes, averaging, random_readers, resamples, seed)
    n_subjects = len(left_out)
    of_readers, of_model_value = (None if np.isnan(v) else float(v) for v in value)
    head: dict[str, Any] = {"value": of_model_value, "comparator_value": of_readers, "n_subjects": n_subjects}
    if of_readers is None or of_model_value is None:
        return Comparison.null(NullReason.ZERO_DENOMINATOR, n, **head)
    difference = of_model_value - of_readers
    if n_subjects == 1:
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, difference=difference, **head)
    differences = resampled[:, 1] - resampled[:, 0]
    interval = bootstrap_estimate(
        difference, differences, level=level, n=n, n_subjects=n_subjects, method=_method(random_readers)
    )
    test = p = None
    if interval.low is not None:
        defined = differences[~np.isnan(differences)]
        tail = min(np.sum(defined <= 0), np.sum(defined >= 0))
        test, p = "bootstrap_percentile", float(min(1.0, 2 * (tail + 1) / (len(defined) + 1)))
    return Comparison(
        difference=difference,
        se=interval.se,
        low=interval.low,
        high=interval.high,
        n=n,
        method=interval.method,
        test=test,
        p=p,
        null_reason=interval.null_reason,
        resamples=interval.resamples,
        degenerate_resamples=interval.degenerate_resamples,
        **head,
    )


def _bootstrap(
    name: str,
    cells: np.ndarray,
    of_model: np.ndarray | None,
    codes: np.ndarray,
    averaging: Averaging,
    random_readers: bool,
    resamples: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values (readers, model), their resamples (resamples × 2) and their values without each subject (S × 2).

    cells: units × J × 4; the model's values are NaN where `of_model` is None.
    """
    if name not in RATES:
        raise StatisticsError(f"unknown rate {name!r}: use one of {', '.join(RATES)}")
    if averaging not in ("mean", "pooled"):
        raise StatisticsError(f"unknown averaging {averaging!r}: use 'mean' or 'pooled'")
    n_readers = cells.shape[1]
    columns = cells.reshape(len(cells), -1)
    if of_model is not None:
        columns = np.hstack([columns, of_model])
    totals = totals_by_subject(columns, codes)
    rows, multiplicity = patterns(totals)
    draw_readers = np.random.default_rng([seed, n_readers])

    def group(sums: np.ndarray, reader_weights: np.ndarray) -> np.ndarray:
        """sums: resamples × (J · 4 [+ 4]) → resamples × 2."""
        by_reader = sums[:, : 4 * n_readers].reshape(-1, n_readers, 4)
        if averaging == "pooled":
            of_readers = RATES[name](np.einsum("rj,rjc->rc", reader_weights, by_reader))
        else:
            rates = np.where(reader_weights > 0, RATES[name](by_reader), 0.0)  # readers not drawn may be undefined
            of_readers = np.sum(rates * reader_weights, axis=1) / n_readers
        model = np.full(len(sums), np.nan) if of_model is None else RATES[name](sums[:, -4:])
        return np.stack([of_readers, model], axis=1)

    def statistic(weights: np.ndarray) -> np.ndarray:
        shape = (len(weights), n_readers)
        drawn = np.ones(shape)
        if random_readers:
            drawn = draw_readers.multinomial(n_readers, np.full(n_readers, 1 / n_readers), size=len(weights))
        return group(weights @ rows, drawn.astype(np.float64))

    total = totals.sum(axis=0, keepdims=True)
    value = group(total, np.ones((1, n_readers)))[0]
    left_out = group(total - totals, np.ones((len(totals), n_readers)))
    return value, resample_weights(multiplicity, statistic, resamples, seed), left_out


def _method(random_readers: bool) -> str:
    return "reader_subject_bootstrap" if random_readers else "subject_bootstrap"
