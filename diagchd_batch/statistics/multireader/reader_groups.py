"""The readers as a group: their majority, and the mean and pooled value of any rate."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.confusion import (
    FN,
    FP,
    PROPORTION_CELLS,
    RATES,
    TN,
    TP,
    confusion_cells,
    difference_bounds,
    rate_bounds,
)
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import as_binary, as_reads, complete, subject_codes
from diagchd_batch.statistics.multireader.random_readers import (
    MIN_RANDOM_READERS,
    one_sample,
    one_sample_comparison,
    one_sample_estimate,
)
from diagchd_batch.statistics.resampling import (
    DEFAULT_RESAMPLES,
    TotalsStatistic,
    linearised_standard_error,
    subject_interval,
    totals_by_subject,
)

Averaging = Literal["mean", "pooled"]


def majority_call(reads: ArrayLike) -> np.ndarray:
    """Return the readers' majority for each unit: 1, 0, or NaN where it is undecided.

    It is decided if more than half of the valid reads agree and at least ceil(J / 2) reads are valid. A tie or too few
    reads are undecided.

    Args:
        reads: Matrix of shape (n_units, J) of 0 and 1, NaN where not read or indeterminate.
    """
    matrix = np.asarray(reads)
    matrix = as_reads(matrix, "reads", len(matrix), binary=True)
    valid = np.sum(~np.isnan(matrix), axis=1)
    positive = np.sum(matrix == 1, axis=1)
    enough = (valid > 0) & (valid >= np.ceil(matrix.shape[1] / 2))
    return np.select([enough & (2 * positive > valid), enough & (2 * positive < valid)], [1.0, 0.0], default=np.nan)


def leave_one_out_majority(reads: ArrayLike, reader: int) -> np.ndarray:
    """Return the majority of all readers but one: the standard to compare that reader with.

    Args:
        reads: Calls of shape (n_units, n_readers): 1, 0, or NaN for a missing one.
        reader: The column of the reader that is left out, from 0.

    Returns:
        float64 array of shape (n_units,), as `majority_call` returns it.

    Raises:
        StatisticsError: There is no such column, or only one reader.
    """
    matrix = np.asarray(reads)
    if matrix.ndim != 2 or not 0 <= reader < matrix.shape[1]:
        raise StatisticsError(f"reads must be units × readers with a column {reader}, got shape {matrix.shape}")
    if matrix.shape[1] < 2:
        raise StatisticsError("leaving one reader out needs at least two readers")
    return majority_call(np.delete(matrix, reader, axis=1))


def counted_as(truth: ArrayLike, call: ArrayLike, uncertain: ArrayLike, right: bool) -> np.ndarray:
    """Return calls in which every uncertain unit is counted as right, or else as wrong.

    Args:
        truth: One 0 or 1 a unit. Where it is missing the call stays missing.
        call: One 0 or 1 a unit.
        uncertain: One bool a unit: undecided or indeterminate.
        right: Whether uncertain units count as right.
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
    """Return a rate of the readers as a group, with its interval.

    Resampling readers together with subjects covers too little for readers in general, because a few readers that are
    resampled vary too little (docs/statistics.md).

    Args:
        name: A name of `confusion.RATES`.
        truth: One 0 or 1 a unit.
        readers: Matrix of shape (n_units, J) of 0 and 1, missing where not read.
        subjects: One id a unit; without them every unit is its own subject.
        averaging: `mean` of the readers' rates, or the `pooled` rate of all their reads.
        random_readers: True for readers in general: the one-sample Obuchowski–Rockette analysis of the readers'
            contributions. False for these readers: the subject bootstrap, `subject_bootstrap_bca`.
        level: Confidence level, between 0 and 1.
        resamples: Number of bootstrap resamples.
        seed: Seed of the resamples.

    Returns:
        The estimate. A reader whose rate is undefined makes the mean undefined: null with `zero_denominator`.

    Source: as in `random_readers.readers_mean`.
    """
    truth = as_binary(truth, "truth")
    reads = as_reads(readers, "readers", len(truth), binary=True)
    known = ~np.isnan(truth) & ~np.isnan(reads).all(axis=1)
    n = int(known.sum())
    if n == 0:
        return Estimate.null(NullReason.NO_UNITS)
    totals = _reader_totals(truth[known], reads[known], subject_codes(subjects, known))
    n_subjects = len(totals)
    contributions = _contributions(name, averaging)
    whole = totals.sum(axis=0)
    value = float(contributions(whole).mean())
    if np.isnan(value):
        return Estimate.null(NullReason.ZERO_DENOMINATOR, n, n_subjects=n_subjects)
    if n_subjects == 1:
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=1)
    if random_readers:
        deleted = totals[_matters(name, totals)]
        result = one_sample(contributions(whole), contributions(whole - deleted), level)
        return one_sample_estimate(value, result, n, n_subjects, rate_bounds(name))
    columns, mean = _of_columns(totals, lambda cells: contributions(cells).mean(axis=-1))
    return subject_interval(columns, mean, n=n, level=level, resamples=resamples, seed=seed, bounds=rate_bounds(name))


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
    """Compare the model with the readers as a group, model − readers, for any rate.

    Each reader is compared with the model on the units that it read. Readers in general get interval and test of the
    one-sample Obuchowski–Rockette analysis. These readers get the percentile interval of the subject bootstrap, above
    `BOOTSTRAP_SUBJECTS_LIMIT` subjects the linearised one, and Student's t test with the linearised standard error.
    The test is not read off the percentile interval, because where few calls are wrong that interval excludes 0 too
    often (of NPV in 10 % of cohorts of 100 subjects: docs/statistics.md).

    Arguments are those of `readers_rate`, with `model` as one call a unit.

    Returns:
        The comparison. `value` is the model's over the comparisons, which is its plain value if all readers read all
        units.

    Source: as in `random_readers.model_versus_readers` and `resampling.linearised_estimate`.
    """
    truth, model = as_binary(truth, "truth"), as_binary(model, "model")
    reads = as_reads(readers, "readers", len(truth), binary=True)
    known = complete(truth, model) & ~np.isnan(reads).all(axis=1)
    n = int(known.sum())
    if n == 0:
        return Comparison.null(NullReason.NO_UNITS)
    codes, truth, reads = subject_codes(subjects, known), truth[known], reads[known]
    # The model gets the gaps of each reader, so that both are judged on the same units.
    of_model = np.where(np.isnan(reads), np.nan, model[known, np.newaxis])
    totals = np.stack([_reader_totals(truth, calls, codes) for calls in (of_model, reads)], axis=1)
    n_subjects = len(totals)
    contributions = _contributions(name, averaging)

    def difference(cells: np.ndarray) -> np.ndarray:
        """Return model − reader for counts of shape (…, 2, J, 4), as (…, J)."""
        both = contributions(cells)
        return both[..., 0, :] - both[..., 1, :]

    whole = totals.sum(axis=0)
    values = [None if np.isnan(v) else float(v) for v in contributions(whole).mean(axis=-1)]
    head: dict[str, Any] = {"value": values[0], "comparator_value": values[1], "n_subjects": n_subjects}
    if values[0] is None or values[1] is None:
        return Comparison.null(NullReason.ZERO_DENOMINATOR, n, **head)
    head["difference"] = values[0] - values[1]
    if n_subjects == 1:
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, **head)
    if random_readers:
        deleted = totals[_matters(name, totals)]
        result = one_sample(difference(whole), difference(whole - deleted), level)
        if result == NullReason.ZERO_VARIANCE and np.array_equal(of_model, reads, equal_nan=True):
            result = NullReason.IDENTICAL_CALLS
        return one_sample_comparison(result, n, bound=difference_bounds(name)[1], **head)
    columns, mean = _of_columns(totals, lambda cells: difference(cells).mean(axis=-1))
    options: dict[str, Any] = {"level": level, "resamples": resamples, "seed": seed}
    interval = subject_interval(columns, mean, n=n, difference=True, bounds=difference_bounds(name), **options)
    if interval.low is None:
        counted = {"resamples": interval.resamples, "degenerate_resamples": interval.degenerate_resamples}
        return Comparison.null(interval.null_reason or NullReason.ZERO_VARIANCE, n, **counted, **head)
    se = linearised_standard_error(columns, mean)
    if not se:  # with very few subjects the resamples can spread although the values do not
        return Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, **head)
    return Comparison(
        se=interval.se,
        low=interval.low,
        high=interval.high,
        n=n,
        method=interval.method,
        test="subject_linearised",
        p=float(2 * stats.t.sf(abs(head["difference"]) / se, n_subjects - 1)),
        resamples=interval.resamples,
        degenerate_resamples=interval.degenerate_resamples,
        **head,
    )


def _reader_totals(truth: np.ndarray, reads: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """Return each reader's TP, FP, FN, TN by subject, shape (n_subjects, J, 4)."""
    cells = np.concatenate([confusion_cells(truth, column) for column in reads.T], axis=1)
    totals = totals_by_subject(cells, codes)
    return totals.reshape(len(totals), reads.shape[1], 4)


def _matters(name: str, totals: np.ndarray) -> np.ndarray:
    """Return which subjects have a unit of the class that the rate is taken over, as in `random_readers`.

    `totals` has the subjects first and the four cells last. Deleting another subject changes no sensitivity or
    specificity. PPV and others are taken over all subjects, since whom a call concerns is not fixed.
    """
    cells = {of_class: PROPORTION_CELLS[of_class][1] for of_class in ("sensitivity", "specificity")}
    counts = totals[..., cells.get(name, (TP, FP, FN, TN))]
    return np.any(counts.reshape(len(totals), -1) > 0, axis=1)


def _contributions(name: str, averaging: Averaging) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from counts (…, J, 4) to the readers' contributions (…, J), whose mean is the group's value.

    For `mean` these are the readers' own rates. For `pooled` they are the jackknife's pseudo-values over readers,
    shifted so that their mean is the pooled rate itself. NaN where a rate is undefined.
    """
    if name not in RATES:
        raise StatisticsError(f"unknown rate {name!r}: use one of {', '.join(RATES)}")
    if averaging not in ("mean", "pooled"):
        raise StatisticsError(f"unknown averaging {averaging!r}: use 'mean' or 'pooled'")
    rate = RATES[name]
    if averaging == "mean":
        return rate

    def pooled(cells: np.ndarray) -> np.ndarray:
        n_readers = cells.shape[-2]
        whole = cells.sum(axis=-2, keepdims=True)
        value = rate(whole)
        if n_readers == 1:
            return value
        without = rate(whole - cells)
        without = np.where(
            np.isnan(without) & (n_readers < MIN_RANDOM_READERS), value, without
        )  # no deletion is needed below MIN_RANDOM_READERS
        return value + (n_readers - 1) * (without.mean(axis=-1, keepdims=True) - without)

    return pooled


def _of_columns(totals: np.ndarray, statistic: TotalsStatistic) -> tuple[np.ndarray, TotalsStatistic]:
    """Return totals (subjects × shape) as subjects × columns, and a statistic of (…, *shape) as one of (…, columns)."""
    shape = totals.shape[1:]
    return totals.reshape(len(totals), -1), lambda sums: statistic(sums.reshape(*sums.shape[:-1], *shape))
