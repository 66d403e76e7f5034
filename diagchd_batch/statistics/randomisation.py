"""Randomisation tests of two raters on the same subjects: sign flips, and exchanges within subjects."""

from functools import lru_cache

import numpy as np
from scipy import stats

from diagchd_batch.statistics.resampling import TotalsStatistic, patterns

_EXACT_TOTAL_LIMIT = 20_000  # sums of differences up to this size are enumerated exactly


def sign_flip_test(differences: np.ndarray, *, resamples: int = 10_000, seed: int = 0) -> float | None:
    """Return the two-sided p of the hypothesis that the subjects' summed differences are symmetric about zero.

    The sign of each subject's difference is flipped at random. Whole numbers are enumerated exactly; with one unit a
    subject this is the exact McNemar test. Other numbers are drawn `resamples` times, and p = (1 + number of sums at
    least as extreme) / (1 + resamples).

    Args:
        differences: Array of shape (n_subjects,): for example correct calls of a minus correct calls of b, summed over
            the subject's units. Use 0 for a subject without a comparable unit.
        resamples: Number of random draws, where enumeration is not possible.
        seed: Seed of the random draws.

    Returns:
        The p value, or None if no subject differs.

    Source: Good (2005), Permutation, Parametric and Bootstrap Tests, ch. 3; p of a random test: Phipson & Smyth
    (2010), Stat Appl Genet Mol Biol 9:39.
    """
    magnitudes, counts = np.unique(np.abs(differences[differences != 0]), return_counts=True)
    if len(magnitudes) == 0:
        return None
    observed = abs(float(differences.sum()))
    total = float(magnitudes @ counts)
    if total <= _EXACT_TOTAL_LIMIT and np.all(magnitudes == np.round(magnitudes)):
        distribution = np.ones(1)
        for magnitude, count in zip(magnitudes.astype(int), counts, strict=True):
            steps = np.zeros(
                2 * magnitude * count + 1
            )  # distribution of the sum of `count` flipped signs, in steps of 2 × magnitude
            steps[:: 2 * magnitude] = _fair_coin(int(count))
            distribution = np.convolve(distribution, steps)
        sums = np.arange(len(distribution)) - total
        return float(min(1.0, distribution[np.abs(sums) >= observed - 1e-9].sum()))
    generator = np.random.default_rng(seed)
    sums = np.zeros(resamples)
    for magnitude, count in zip(magnitudes, counts, strict=True):
        sums += magnitude * (2 * generator.binomial(count, 0.5, size=resamples) - count)
    extreme = int(np.sum(np.abs(sums) >= observed * (1 - 1e-12)))
    return (1 + extreme) / (1 + resamples)


@lru_cache(maxsize=4096)
def _fair_coin(count: int) -> np.ndarray:
    """Return the probabilities of 0 to `count` heads in as many flips."""
    return np.asarray(stats.binom.pmf(np.arange(count + 1), count, 0.5))


def exchange_test(
    totals_a: np.ndarray,
    totals_b: np.ndarray,
    statistic: TotalsStatistic,
    *,
    resamples: int = 10_000,
    seed: int = 0,
) -> float | None:
    """Return the two-sided p of the hypothesis that a and b are interchangeable within each subject.

    In each resample the two rows of every subject change places with probability 1/2.

    Args:
        totals_a: Array of shape (n_subjects, n_columns).
        totals_b: Array of the same shape.
        statistic: Maps summed totals to the value that is compared.
        resamples: Number of random draws.
        seed: Seed of the random draws.

    Returns:
        The p value, or None if the rows of a and b are equal for every subject.

    Source: paired permutation, Good (2005), ch. 3; p of a random test: Phipson & Smyth (2010).
    """
    differs = np.any(totals_a != totals_b, axis=1)
    if not differs.any():
        return None
    rows, counts = patterns(np.hstack([totals_a[differs], totals_b[differs]]))
    columns = totals_a.shape[1]
    gain = rows[:, columns:] - rows[:, :columns]  # an exchange adds this to a and takes it from b
    sum_a, sum_b = totals_a.sum(axis=0), totals_b.sum(axis=0)
    observed = abs(float(statistic(sum_a) - statistic(sum_b)))
    generator = np.random.default_rng(seed)
    moved = generator.binomial(counts, 0.5, size=(resamples, len(counts))) @ gain
    with np.errstate(invalid="ignore"):
        resampled = np.abs(statistic(sum_a + moved) - statistic(sum_b - moved))
    extreme = int(np.sum(resampled >= observed - 1e-12))
    return (1 + extreme) / (1 + resamples)
