"""Obuchowski–Rockette analyses of several readers of the same cases, which allow inference about readers in general.

The measure is the AUC of scores, or the sensitivity or specificity of 0/1 calls. Its covariances are jackknifed over
subjects, so that a subject may have several units.
"""

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from diagchd_batch.errors import StatisticsError
from diagchd_batch.statistics.classification.auc import jackknife_auc
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.inputs import (
    as_binary,
    as_column,
    as_floats,
    as_reads,
    check_level,
    complete,
    subject_codes,
)

Measure = Literal["auc", "sensitivity", "specificity"]

#: With fewer readers the variance between them is too uncertain, and the inference is about these readers only.
MIN_RANDOM_READERS = 3


@dataclass(frozen=True, slots=True)
class ObuchowskiRockette:
    """Result for two modalities (arms) that the same readers read.

    Attributes:
        comparison: First − second modality, with F, its degrees of freedom and p.
        values: Measure by modality and reader, shape (2, J).
        variance: Jackknife variance of one reader's measure.
        cov1: Jackknife covariance: same reader, different modality.
        cov2: Jackknife covariance: different readers, same modality.
        cov3: Jackknife covariance: different readers, different modality.
    """

    comparison: Comparison
    values: np.ndarray | None
    variance: float | None
    cov1: float | None
    cov2: float | None
    cov3: float | None

    @property
    def difference(self) -> float | None:
        """Mean of the first − mean of the second modality."""
        return self.comparison.difference

    @property
    def se(self) -> float | None:
        """Standard error of the difference."""
        return self.comparison.se

    @property
    def low(self) -> float | None:
        """Lower confidence limit of the difference."""
        return self.comparison.low

    @property
    def high(self) -> float | None:
        """Upper confidence limit of the difference."""
        return self.comparison.high

    @property
    def statistic(self) -> float | None:
        """F statistic."""
        return self.comparison.statistic

    @property
    def df2(self) -> float | None:
        """Denominator degrees of freedom of F."""
        return self.comparison.df2

    @property
    def p(self) -> float | None:
        """Two-sided p value of the difference; None if there is no test."""
        return self.comparison.p


def obuchowski_rockette(
    truth: ArrayLike,
    scores: ArrayLike,
    measure: Measure = "auc",
    subjects: ArrayLike | None = None,
    level: float = 0.95,
    fixed: Literal["readers", "cases"] | None = None,
) -> ObuchowskiRockette:
    """Compare two modalities over readers and cases, both random unless `fixed` names one of them.

    Args:
        truth: One 0 or 1 for each of N cases.
        scores: Array of shape (2, J, N): modality, reader, case. Calls (0 or 1) unless `measure` is `auc`. The design
            is fully crossed: cases with any missing value are left out, and `comparison.n` counts the others.
        measure: `auc`, `sensitivity` or `specificity`.
        subjects: One id a case; without them every case is its own subject.
        level: Confidence level, between 0 and 1.
        fixed: `readers` makes the inference about these readers and cases in general (normal). `cases` makes it about
            readers in general on these cases (method `obuchowski_rockette_fixed_cases`, J − 1 degrees of freedom).
            With fewer than 3 readers the inference is always about these readers (method
            `obuchowski_rockette_fixed_readers`).

    Returns:
        The result. Null with `no_units`, `one_class`, `one_reader`, `too_few_subjects`, `identical_calls` or
        `zero_variance`.

    Raises:
        StatisticsError: An argument has another shape or an unknown name.

    Source: Obuchowski & Rockette (1995), Commun Stat Simul 24:285; degrees of freedom: Hillis (2007), Stat Med 26:596;
    fixed readers: Hillis, Berbaum & Metz (2008), Acad Radiol 15:647.
    """
    check_level(level)
    if fixed not in (None, "readers", "cases"):
        raise StatisticsError(f"unknown fixed factor {fixed!r}: use None, 'readers' or 'cases'")
    truth = as_binary(truth, "truth")
    cube = as_floats(scores, "scores")
    if cube.ndim != 3 or cube.shape[0] != 2 or cube.shape[2] != len(truth):
        raise StatisticsError(f"scores must be 2 modalities × readers × {len(truth)} cases, got shape {cube.shape}")
    n_readers = cube.shape[1]
    if n_readers < 1:
        raise StatisticsError("scores holds no reader")
    reads = as_reads(cube.reshape(2 * n_readers, -1).T, "scores", len(truth), binary=measure != "auc")
    known = complete(truth, *reads.T)
    n = int(known.sum())
    reason = _missing_class(truth[known], measure)
    if reason:
        return ObuchowskiRockette(Comparison.null(reason, n), None, None, None, None, None)
    codes = subject_codes(subjects, known)
    values, left_out = _jackknife(truth[known], reads[known], codes, measure)
    n_subjects = len(left_out)
    table = values.reshape(2, n_readers)
    means = table.mean(axis=1)
    head: dict[str, Any] = {
        "value": float(means[0]),
        "comparator_value": float(means[1]),
        "difference": float(means[0] - means[1]),
        "n_subjects": n_subjects,
    }
    if np.isnan(left_out).any():
        null = Comparison.null(NullReason.TOO_FEW_SUBJECTS, n, **head)
        return ObuchowskiRockette(null, table, None, None, None, None)

    covariance = _jackknife_covariance(left_out).reshape(2, n_readers, 2, n_readers)
    same, other = np.eye(n_readers, dtype=bool), ~np.eye(n_readers, dtype=bool)
    variance = float(np.mean([covariance[i, :, i, :][same] for i in (0, 1)]))
    cov1 = float(covariance[0, :, 1, :][same].mean())
    cov2 = float(np.mean([covariance[i, :, i, :][other] for i in (0, 1)])) if n_readers > 1 else 0.0
    cov3 = float(covariance[0, :, 1, :][other].mean()) if n_readers > 1 else 0.0
    parts: dict[str, Any] = {"values": table, "variance": variance, "cov1": cov1, "cov2": cov2, "cov3": cov3}

    effect = n_readers * float(np.sum((means - means.mean()) ** 2))
    residual = table - table.mean(axis=0) - means[:, np.newaxis] + table.mean()
    interaction = float(np.sum(residual**2)) / max(n_readers - 1, 1)
    if fixed == "cases" and n_readers == 1:
        return ObuchowskiRockette(Comparison.null(NullReason.ONE_READER, n, **head), **parts)
    if fixed == "cases":
        error, df2, method = interaction, float(n_readers - 1), "obuchowski_rockette_fixed_cases"
    elif fixed == "readers" or n_readers < MIN_RANDOM_READERS:
        error, df2 = variance - cov1 + (n_readers - 1) * (cov2 - cov3), math.inf
        method = "obuchowski_rockette_fixed_readers"
    else:
        error = interaction + max(n_readers * (cov2 - cov3), 0.0)
        df2 = error**2 * (n_readers - 1) / interaction**2 if interaction > 1e-18 else math.inf
        method = "obuchowski_rockette"
    if error <= 1e-15:
        alike = np.array_equal(reads[known][:, :n_readers], reads[known][:, n_readers:])
        reason = NullReason.IDENTICAL_CALLS if alike else NullReason.ZERO_VARIANCE
        return ObuchowskiRockette(Comparison.null(reason, n, **head), **parts)
    se = math.sqrt(2 / n_readers * error)
    half = float(stats.t.ppf((1 + level) / 2, df2)) * se
    statistic = effect / error
    comparison = Comparison(
        se=se,
        low=max(-1.0, head["difference"] - half),
        high=min(1.0, head["difference"] + half),
        n=n,
        method=method,
        test=method,
        statistic=statistic,
        df1=1,
        df2=df2,
        p=float(2 * stats.t.sf(math.sqrt(statistic), df2)),  # F on (1, df2) is the square of t on df2
        **head,
    )
    return ObuchowskiRockette(comparison, **parts)


def model_versus_readers(
    truth: ArrayLike,
    model: ArrayLike,
    readers: ArrayLike,
    measure: Measure,
    subjects: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare the model with the mean of the readers, model − readers, for readers and cases in general.

    This is the one-sample Obuchowski–Rockette analysis: Var(mean D) = [MS_R + J max(Cov2, 0)] / J, where MS_R is the
    variance of the J differences and Cov2 their mean jackknife covariance; t on Hillis' degrees of freedom. Each
    reader is compared with the model on the units that it read. With fewer than 3 readers the variance is the
    jackknife's of the mean of these readers, normal (method `one_sample_obuchowski_rockette_fixed_readers`).

    Args:
        truth: One 0 or 1 a unit.
        model: One score or call a unit.
        readers: Matrix of shape (n_units, J), missing where not read.
        measure: `auc`, `sensitivity` or `specificity`.
        subjects: One id a unit; without them every unit is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        The comparison. `value` is the model's mean over the comparisons, which is its plain value if all readers read
        all units. Null with `no_units`, `one_class`, `too_few_subjects`, `identical_calls` or `zero_variance`.

    Source: Hillis (2007), Stat Med 26:596, as the two-modality analysis with the model entered as J identical readers.
    """
    check_level(level)
    truth, model = as_binary(truth, "truth"), as_column(model, "model")
    reads = as_reads(readers, "readers", len(truth), binary=measure != "auc")
    if measure != "auc":
        model = as_binary(model, "model")
    known = complete(truth, model) & ~np.isnan(reads).all(axis=1)
    truth, model, reads = truth[known], model[known], reads[known]
    n = len(truth)
    codes = subject_codes(subjects, known)
    reason = _missing_class(truth, measure)
    if reason:
        return Comparison.null(reason, n)
    # The model gets the gaps of each reader, so that both are judged on the same units.
    of_model = np.where(np.isnan(reads), np.nan, model[:, np.newaxis])
    return _compare_on_own_units(truth, of_model, reads, codes, measure, level)


def compare_arms_with_gaps(
    truth: ArrayLike,
    scores: ArrayLike,
    measure: Measure = "auc",
    subjects: ArrayLike | None = None,
    level: float = 0.95,
) -> Comparison:
    """Compare two modalities of which not every reader read every case, for readers and cases in general.

    Each reader is compared with himself or herself on the cases that he or she read in both modalities. The J
    differences then get the one-sample analysis of `model_versus_readers`: their variance holds what readers and cases
    add to each of them, and Cov2 is the mean jackknife covariance of two readers, whose cases need not be the same.
    Without gaps this is `obuchowski_rockette`, to rounding. The method is named `obuchowski_rockette_unbalanced`, and
    `obuchowski_rockette` where there are no gaps. Whether a case was read must not depend on how the reader would call
    it.

    Args:
        truth: One 0 or 1 for each of N cases.
        scores: Array of shape (2, J, N): modality, reader, case; NaN where not read. Calls (0 or 1) unless `measure`
            is `auc`.
        measure: `auc`, `sensitivity` or `specificity`.
        subjects: One id a case; without them every case is its own subject.
        level: Confidence level, between 0 and 1.

    Returns:
        First − second modality, with F, its degrees of freedom and p. `value` and `comparator_value` are means over
        the readers, each on his or her own cases; `n` counts the cases that any reader read in both. Null with
        `no_units`, `one_class` (a reader has none of a class), `too_few_subjects`, `identical_calls` or
        `zero_variance`.

    Raises:
        StatisticsError: An argument has another shape or an unknown name.

    Source: as in `obuchowski_rockette`; a mean of differences has the variance [MS_R + J Cov2] / J, also where the
    differences have unequal variances.
    """
    check_level(level)
    truth = as_binary(truth, "truth")
    cube = as_floats(scores, "scores")
    if cube.ndim != 3 or cube.shape[0] != 2 or cube.shape[2] != len(truth) or cube.shape[1] < 1:
        raise StatisticsError(f"scores must be 2 modalities × readers × {len(truth)} cases, got shape {cube.shape}")
    arms = [as_reads(arm.T, "scores", len(truth), binary=measure != "auc") for arm in cube]
    gaps = np.isnan(arms[0]) | np.isnan(arms[1])
    known = ~np.isnan(truth) & ~gaps.all(axis=1)
    codes = subject_codes(subjects, known)
    if not gaps[known].any():
        return obuchowski_rockette(truth[known], cube[..., known], measure, codes, level).comparison
    reason = _missing_class(truth[known], measure)
    if reason:
        return Comparison.null(reason, int(known.sum()))
    first, second = (np.where(gaps, np.nan, arm)[known] for arm in arms)
    result = _compare_on_own_units(truth[known], first, second, codes, measure, level)
    if result.statistic is None:
        return result
    suffix = (result.method or "").removeprefix("one_sample_obuchowski_rockette")
    method = "obuchowski_rockette_unbalanced" + suffix
    return replace(result, method=method, test=method, statistic=result.statistic**2)


def _compare_on_own_units(
    truth: np.ndarray, first: np.ndarray, second: np.ndarray, codes: np.ndarray, measure: Measure, level: float
) -> Comparison:
    """Compare the columns of two matrices [units, readers] that have the same gaps, first − second."""
    n, n_readers = first.shape
    values, left_out = _jackknife(truth, np.hstack([first, second]), codes, measure)
    differences = values[:n_readers] - values[n_readers:]
    head: dict[str, Any] = {"n_subjects": len(left_out)}
    if np.isnan(differences).any():
        return Comparison.null(NullReason.ONE_CLASS, n, **head)
    head |= {"value": float(values[:n_readers].mean()), "comparator_value": float(values[n_readers:].mean())}
    head["difference"] = float(differences.mean())
    result = one_sample(differences, left_out[:, :n_readers] - left_out[:, n_readers:], level)
    if result == NullReason.ZERO_VARIANCE and np.array_equal(first, second, equal_nan=True):
        result = NullReason.IDENTICAL_CALLS
    return one_sample_comparison(result, n, **head)


def readers_mean(
    truth: ArrayLike,
    readers: ArrayLike,
    measure: Measure,
    subjects: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Return the mean of the readers' values, with an interval for readers and cases in general.

    Arguments, formula, source and null reasons are those of `model_versus_readers`, with the readers' own values in
    place of the differences. The interval is on the logit scale (method `one_sample_obuchowski_rockette_logit`).
    """
    check_level(level)
    truth = as_binary(truth, "truth")
    reads = as_reads(readers, "readers", len(truth), binary=measure != "auc")
    known = ~np.isnan(truth) & ~np.isnan(reads).all(axis=1)
    truth, reads = truth[known], reads[known]
    n = len(truth)
    codes = subject_codes(subjects, known)
    reason = _missing_class(truth, measure)
    if reason:
        return Estimate.null(reason, n)
    values, left_out = _jackknife(truth, reads, codes, measure)
    n_subjects = len(left_out)
    if np.isnan(values).any():
        return Estimate.null(NullReason.ONE_CLASS, n, n_subjects=n_subjects)
    value = float(values.mean())
    return one_sample_estimate(value, one_sample(values, left_out, level), n, n_subjects)


@dataclass(frozen=True, slots=True)
class OneSample:
    """The mean of J readers' values as an estimate for readers and cases in general: Student's t on `df`."""

    se: float
    df: float
    half_width: float  # of the confidence interval
    method: str


def one_sample(values: np.ndarray, left_out: np.ndarray, level: float) -> OneSample | NullReason:
    """Return the one-sample Obuchowski–Rockette analysis of J values.

    Args:
        values: Array of shape (J,).
        left_out: Array of shape (S, J): the values without each subject.
        level: Confidence level, between 0 and 1.

    Returns:
        The analysis, or the reason why there is none: `too_few_subjects` (a value is undefined without one of the
        subjects) or `zero_variance`.
    """
    if np.isnan(left_out).any():
        return NullReason.TOO_FEW_SUBJECTS
    covariance = _jackknife_covariance(left_out)
    n_readers, method = len(values), "one_sample_obuchowski_rockette"
    if n_readers < MIN_RANDOM_READERS:
        variance, df, method = float(covariance.mean()), math.inf, method + "_fixed_readers"
    else:
        between = float(values.var(ddof=1))
        cov2 = float(covariance[~np.eye(n_readers, dtype=bool)].mean())
        total = between + n_readers * max(cov2, 0.0)
        variance = total / n_readers
        df = total**2 * (n_readers - 1) / between**2 if between > 1e-18 else math.inf
    if variance <= 1e-15:
        return NullReason.ZERO_VARIANCE
    se = math.sqrt(variance)
    return OneSample(se, df, float(stats.t.ppf((1 + level) / 2, df)) * se, method)


def one_sample_estimate(
    value: float, result: OneSample | NullReason, n: int, n_subjects: int, bounds: tuple[float, float] = (0.0, 1.0)
) -> Estimate:
    """Return the mean of several readers' values with its interval.

    A share between 0 and 1 gets its interval on the logit scale, which covers better near an end.

    Args:
        value: The mean.
        result: The one-sample analysis, or why there is none.
        n: The number of units.
        n_subjects: The number of subjects.
        bounds: The smallest and the largest value that the measure can have.
    """
    if isinstance(result, NullReason):
        return Estimate(value, None, None, None, n, null_reason=result, n_subjects=n_subjects)
    low, high, method = value - result.half_width, value + result.half_width, result.method
    if bounds == (0.0, 1.0) and 0 < value < 1:
        half = result.half_width / (value * (1 - value))
        low, high = (float(special.expit(special.logit(value) + step)) for step in (-half, half))
        method += "_logit"
    low, high = max(bounds[0], low), min(bounds[1], high)
    return Estimate(value, result.se, low, high, n, method, n_subjects=n_subjects)


def one_sample_comparison(result: OneSample | NullReason, n: int, *, bound: float = 1.0, **head: Any) -> Comparison:
    """Return the comparison that a one-sample analysis of differences makes.

    Args:
        result: The one-sample analysis, or why there is none.
        n: The number of units.
        bound: The largest absolute value that a difference can have. The interval is cut there.
        **head: `value`, `comparator_value`, `difference` and `n_subjects` of the comparison.
    """
    if isinstance(result, NullReason):
        return Comparison.null(result, n, **head)
    statistic = head["difference"] / result.se
    return Comparison(
        se=result.se,
        low=max(-bound, head["difference"] - result.half_width),
        high=min(bound, head["difference"] + result.half_width),
        n=n,
        method=result.method,
        test=result.method,
        statistic=statistic,
        df1=1,
        df2=result.df,
        p=float(2 * stats.t.sf(abs(statistic), result.df)),
        **head,
    )


def _missing_class(truth: np.ndarray, measure: Measure) -> NullReason | None:
    if measure not in ("auc", "sensitivity", "specificity"):
        raise StatisticsError(f"unknown measure {measure!r}: use 'auc', 'sensitivity' or 'specificity'")
    if len(truth) == 0:
        return NullReason.NO_UNITS
    needed = {"auc": (0, 1), "sensitivity": (1,), "specificity": (0,)}[measure]
    return None if all((truth == label).any() for label in needed) else NullReason.ONE_CLASS


def _jackknife(
    truth: np.ndarray, reads: np.ndarray, codes: np.ndarray, measure: Measure
) -> tuple[np.ndarray, np.ndarray]:
    """Return the measure of each column of `reads` (C,), and the measure without each subject that matters (S × C).

    Subjects without a unit of the class that a sensitivity or specificity is about change nothing and are omitted. A
    column that does not hold a subject's units keeps its value when that subject is deleted.
    """
    if measure != "auc":
        in_class = truth == (1 if measure == "sensitivity" else 0)
        truth, reads, codes = truth[in_class], reads[in_class], codes[in_class]
    _, codes = np.unique(codes, return_inverse=True)
    n_subjects, n_columns = int(codes.max()) + 1, reads.shape[1]
    values, left_out = np.full(n_columns, np.nan), np.full((n_subjects, n_columns), np.nan)
    for column in range(n_columns):
        read = ~np.isnan(reads[:, column])
        own_truth, own, own_codes = truth[read], reads[read, column], codes[read]
        if measure == "auc":
            if len(own) == 0 or own_truth.min() == own_truth.max():
                continue
            values[column], deleted = jackknife_auc(own_truth == 1, own, own_codes)
            left_out[: len(deleted), column] = deleted
            left_out[len(deleted) :, column] = values[column]
        elif len(own):
            right = np.bincount(own_codes, weights=own == own_truth, minlength=n_subjects)
            units = np.bincount(own_codes, minlength=n_subjects)
            values[column] = right.sum() / units.sum()
            rest = units.sum() - units
            kept = np.divide(right.sum() - right, rest, out=np.full(n_subjects, np.nan), where=rest > 0)
            left_out[:, column] = kept
    return values, left_out


def _jackknife_covariance(left_out: np.ndarray) -> np.ndarray:
    """Return the sample covariance of the leave-one-out values × (S − 1)² / S, columns × columns."""
    n_subjects = len(left_out)
    deviations = left_out - left_out.mean(axis=0)
    return deviations.T @ deviations * (n_subjects - 1) / n_subjects
