"""Intervals of balanced accuracy and likelihood ratios, combined from the limits of sensitivity and specificity.

At a prevalence of 1 % a bootstrap resamples ten diseased subjects, of whom perhaps none is missed; its interval is then
too narrow, and the log method has none. Wilson's limits keep a width there (docs/statistics.md).
"""

import math
from dataclasses import dataclass

import numpy as np

from diagchd_batch.statistics.classification.clustered import proportion_of_subjects
from diagchd_batch.statistics.classification.confusion import PROPORTION_CELLS, RATES, Confusion
from diagchd_batch.statistics.classification.proportions import normal_quantile
from diagchd_batch.statistics.estimate import Estimate, NullReason


@dataclass(frozen=True, slots=True)
class Share:
    """A proportion with its limits, or a multiple of one."""

    value: float
    low: float
    high: float

    def times(self, factor: float) -> "Share":
        """Return the multiple by a factor.

        Args:
            factor: Any number; a negative one exchanges the limits.
        """
        low, high = sorted((factor * self.low, factor * self.high))
        return Share(factor * self.value, low, high)

    @property
    def complement(self) -> "Share":
        """The proportion of the other units."""
        return Share(1 - self.value, 1 - self.high, 1 - self.low)


def combine_limits(name: str, cells: np.ndarray, level: float) -> Estimate:
    """Return balanced accuracy or a likelihood ratio, with the limits that its two proportions' limits imply.

    Sensitivity and specificity get Wilson's limits, on the effective number of units where a subject has several
    diseased or several healthy units. The correlation of the two is 0 unless subjects have both.

    Args:
        name: `balanced_accuracy`, `lr_positive` or `lr_negative`.
        cells: Array of shape (n_subjects, 4): TP, FP, FN, TN.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `zero_denominator` where the figure does not exist, as LR+ without a false positive.
        Without an interval, `too_few_subjects`, where one subject has all diseased or all healthy units, several of
        them.

    Source: sums: Zou & Donner (2008), Stat Med 27:1693; ratios: Donner & Zou (2012), Stat Methods Med Res 21:347.
    """
    n, n_subjects = int(cells.sum()), len(cells)
    hits, diseased = (cells[:, columns].sum(axis=1) for columns in PROPORTION_CELLS["sensitivity"])
    right, healthy = (cells[:, columns].sum(axis=1) for columns in PROPORTION_CELLS["specificity"])
    sensitivity = proportion_of_subjects(hits, diseased, level=level)
    specificity = proportion_of_subjects(right, healthy, level=level)
    correlation = correlation_over_subjects(hits, diseased, right, healthy)
    return combine_shares(name, sensitivity, specificity, n, n_subjects, correlation)


def combine_shares(
    name: str, sensitivity: Estimate, specificity: Estimate, n: int, n_subjects: int, correlation: float = 0.0
) -> Estimate:
    """Return balanced accuracy or a likelihood ratio from the estimates of sensitivity and specificity.

    Args:
        name: `balanced_accuracy`, `lr_positive` or `lr_negative`.
        sensitivity: The sensitivity with its limits.
        specificity: The specificity with its limits.
        n: The number of units.
        n_subjects: The number of subjects.
        correlation: The correlation of the two.

    Returns:
        The estimate, as `combine_limits` returns it.
    """
    estimates = sensitivity, specificity
    if sensitivity.value is None or specificity.value is None:
        return Estimate.null(NullReason.ZERO_DENOMINATOR, n, n_subjects=n_subjects)
    hit, right = sensitivity.value, specificity.value
    if name == "balanced_accuracy":
        value = (hit + right) / 2
    else:
        above, below = (hit, 1 - right) if name == "lr_positive" else (1 - hit, right)
        if below <= 0:
            return Estimate.null(NullReason.ZERO_DENOMINATOR, n, n_subjects=n_subjects)
        value = above / below
    if any(estimate.low is None for estimate in estimates):
        return Estimate(value, None, None, None, n, null_reason=NullReason.TOO_FEW_SUBJECTS, n_subjects=n_subjects)
    first, second = (Share(e.value or 0.0, e.low or 0.0, 1.0 if e.high is None else e.high) for e in estimates)
    method = "combined_wilson"
    if any(estimate.method == "wilson_effective_n" for estimate in estimates):
        method = "combined_wilson_effective_n"
    if name == "balanced_accuracy":
        low, high = sum_limits(first, second, correlation)
        return Estimate(value, None, max(low / 2, 0.0), min(high / 2, 1.0), n, method, n_subjects=n_subjects)
    pair = (first, second.complement) if name == "lr_positive" else (first.complement, second)
    low, high = ratio_limits(*pair, -correlation)
    return Estimate(value, None, min(low, value), max(high, value), n, method, n_subjects=n_subjects)


def likelihood_ratio_log_interval(name: str, table: Confusion, level: float = 0.95) -> Estimate:
    """Return a likelihood ratio of independent units with the log method's interval, which other programs print.

    `combine_limits` covers better where few diseased or few false calls are in the table.

    Args:
        name: `lr_positive` or `lr_negative`.
        table: Counts of independent units.
        level: Confidence level, between 0 and 1.

    Returns:
        The estimate. Null with `zero_denominator`. Without an interval, `zero_variance`, where the ratio is 0.

    Source: Simel, Samsa & Matchar (1991), J Clin Epidemiol 44:763.
    """
    value = float(RATES[name](table.counts()))
    if math.isnan(value):
        return Estimate.null(NullReason.ZERO_DENOMINATOR, table.n)
    hit, false = (table.tp, table.fp) if name == "lr_positive" else (table.fn, table.tn)
    variance = 1 / hit - 1 / table.n_positive + 1 / false - 1 / table.n_negative if hit else 0.0
    if variance <= 0:
        return Estimate(value, None, None, None, table.n, null_reason=NullReason.ZERO_VARIANCE)
    factor = math.exp(normal_quantile(level) * math.sqrt(variance))
    return Estimate(value, None, value / factor, value * factor, table.n, method="log")


def correlation_over_subjects(hits: np.ndarray, diseased: np.ndarray, right: np.ndarray, healthy: np.ndarray) -> float:
    """Return the correlation of two shares over subjects, 0 where no subject has units of both.

    Args:
        hits: Array of shape (n_subjects,): numerator of the first share, such as the sensitivity.
        diseased: Array of shape (n_subjects,): its denominator.
        right: Array of shape (n_subjects,): numerator of the second share, such as the specificity.
        healthy: Array of shape (n_subjects,): its denominator.
    """
    if not np.any((diseased > 0) & (healthy > 0)):
        return 0.0
    residuals = hits - hits.sum() / diseased.sum() * diseased, right - right.sum() / healthy.sum() * healthy
    spread = math.sqrt(float(residuals[0] @ residuals[0]) * float(residuals[1] @ residuals[1]))
    return float(residuals[0] @ residuals[1]) / spread if spread > 1e-12 else 0.0


def sum_limits(a: Share, b: Share, correlation: float) -> tuple[float, float]:
    """Return the limits of a + b.

    Args:
        a: The first quantity with its limits.
        b: The second quantity with its limits.
        correlation: The correlation of the two estimates.

    Returns:
        Lower and upper limit.

    Source: Zou & Donner (2008), Stat Med 27:1693.
    """

    def half(of_a: float, of_b: float) -> float:
        return math.sqrt(max(of_a**2 + 2 * correlation * of_a * of_b + of_b**2, 0.0))

    total = a.value + b.value
    return total - half(a.value - a.low, b.value - b.low), total + half(a.high - a.value, b.high - b.value)


def ratio_limits(a: Share, b: Share, correlation: float) -> tuple[float, float]:
    """Return the limits of a / b, of quantities that are not negative.

    Args:
        a: The numerator with its limits.
        b: The denominator with its limits, which are positive.
        correlation: The correlation of the two estimates.

    Returns:
        Lower and upper limit.

    Source: Donner & Zou (2012), Stat Methods Med Res 21:347.
    """
    product = a.value * b.value - correlation * (a.value - a.low) * (b.high - b.value)
    inner = a.low * (2 * a.value - a.low)
    root = math.sqrt(max(product**2 - inner * b.high * (2 * b.value - b.high), 0.0))
    # The usual form (product − root) / (b.high (2 b − b.high)) is 0 / 0 where b.high is 2 b; this one is equal to it.
    low = inner / (product + root) if inner > 0 and product + root > 0 else 0.0
    product = a.value * b.value - correlation * (a.high - a.value) * (b.value - b.low)
    below = b.low * (2 * b.value - b.low)
    high = (product + math.sqrt(max(product**2 - a.high * (2 * a.value - a.high) * below, 0.0))) / below
    return low, high
