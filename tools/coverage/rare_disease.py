"""Coverage of intervals and size of tests by cell: prevalence, number of diseased subjects, true value, repeat scans.

A cohort has a fixed number of diseased and of healthy subjects. A call is right if a normal variable lies below a
limit. Half of its variance belongs to the subject where subjects have several units, and half to the unit where two
raters are compared. So the true rates are exact. Scores are normal, with the variance of the diseased 1 or 2.25.

A proportion's coverage jumps from one true value to the next, so the true sensitivity and specificity of each cohort
are drawn within 0.02 of those of the cell.
"""

import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property, lru_cache
from itertools import product

import numpy as np
from scipy import special, stats

from diagchd_batch.statistics import calibration, classification
from diagchd_batch.statistics.classification.combined_limits import combine_shares
from diagchd_batch.statistics.classification.confusion import RATES
from diagchd_batch.statistics.classification.partial_verification import begg_greenes
from diagchd_batch.statistics.classification.proportions import paired_proportions, proportion
from diagchd_batch.statistics.classification.rates import rate_of_cells
from diagchd_batch.statistics.estimate import Comparison, Estimate
from diagchd_batch.statistics.net_benefit import net_benefits
from diagchd_batch.statistics.resampling import totals_by_subject
from diagchd_batch.statistics.subgroups import auc_difference, level_difference
from diagchd_batch.statistics.target_prevalence import estimate_at_prevalence, predictive_values_at_prevalence

PREVALENCES = (0.01, 0.02, 0.1, 0.33)
DISEASED = (10, 20, 50, 100, 200, 500)
QUALITIES = ((0.7, 0.9, 0.8), (0.85, 0.95, 0.9), (0.95, 0.97, 0.983), (0.99, 0.99, 0.99))
"""True sensitivity, specificity and AUC of a cell."""
SEED = 15
BLOCK = 100
"""Cohorts that are drawn from one stream of random numbers."""
JITTER = 0.02
MARGIN = 0.1
TARGETS = (0.01, 0.05)
"""Prevalences to which enriched cohorts are reweighted."""
THRESHOLDS = (0.02, 0.1, 0.4)
"""Threshold probabilities of the net benefit."""
CLOSED_RATES = (
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "accuracy",
    "balanced_accuracy",
    "lr_positive",
    "lr_negative",
)
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
NODES, WEIGHTS = _NODES, _WEIGHTS / _WEIGHTS.sum()
"""Quadrature over a standard normal variable."""


@dataclass(frozen=True)
class Cell:
    """One combination of conditions. `clustered`: subjects have one to three units of their class."""

    part: str
    prevalence: float
    diseased: int
    sensitivity: float
    specificity: float
    auc: float
    clustered: bool

    @property
    def key(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)

    @property
    def subjects(self) -> int:
        """The number of subjects of a cohort."""
        return round(self.diseased / self.prevalence)


@dataclass(frozen=True)
class Sample:
    """One cohort, with the true rates of its calls. The arrays are made when they are first used."""

    sensitivity: float
    specificity: float
    rng: np.random.Generator
    cell: Cell

    @property
    def healthy(self) -> int:
        """The number of healthy subjects."""
        return self.cell.subjects - self.cell.diseased

    @cached_property
    def subject(self) -> np.ndarray:
        """The subject of each unit, ascending. The diseased come first."""
        n_subjects = self.cell.diseased + self.healthy
        if not self.cell.clustered:
            return np.arange(n_subjects)
        return np.repeat(np.arange(n_subjects), self.rng.choice([1, 2, 3], n_subjects, p=[0.5, 0.3, 0.2]))

    @cached_property
    def truth(self) -> np.ndarray:
        """The label of each unit."""
        return (self.subject < self.cell.diseased).astype(np.int64)

    @property
    def subjects(self) -> np.ndarray | None:
        return self.subject if self.cell.clustered else None

    def latent(self, of_case: np.ndarray | None = None) -> np.ndarray:
        """Return standard normal variables [units] that share half of their variance within subjects or cases."""
        own = self.rng.normal(size=len(self.truth))
        if of_case is not None:
            return np.sqrt(0.5) * (of_case + own)
        if not self.cell.clustered:
            return own
        return np.sqrt(0.5) * (self.rng.normal(size=int(self.subject[-1]) + 1)[self.subject] + own)

    def call(self, sensitivity: float, specificity: float, of_case: np.ndarray | None = None) -> np.ndarray:
        limit = stats.norm.ppf([1 - specificity, sensitivity])
        right = self.latent(of_case) < np.where(self.truth == 1, limit[1], -limit[0])
        return np.where(right, self.truth, 1 - self.truth)


_proportion, _paired_proportions = lru_cache(100_000)(proportion), lru_cache(100_000)(paired_proportions)

Result = tuple[str, Estimate | Comparison, float | None]
"""Name of a figure, its result, and the true value; None where the result is a test under the null hypothesis."""


def cells(part: str, diseased: tuple[int, ...] = DISEASED) -> Iterator[Cell]:
    """Yield the cells of a part, those of few diseased first."""
    repeats = (False, True) if part != "resampled" else (False,)
    for clustered, m, prevalence, quality in product(repeats, diseased, PREVALENCES, QUALITIES):
        yield Cell(part, prevalence, m, *quality, clustered)


def draw(cell: Cell, rng: np.random.Generator) -> Sample:
    jitter = rng.uniform(-JITTER, JITTER, 2)
    rates = np.minimum(np.array([cell.sensitivity, cell.specificity]) + jitter, 0.995)
    return Sample(float(rates[0]), float(rates[1]), rng, cell)


def true_rate(name: str, sample: Sample) -> float:
    share = sample.cell.diseased / sample.cell.subjects
    hit, false = share * sample.sensitivity, (1 - share) * (1 - sample.specificity)
    return float(RATES[name](np.array([hit, false, share - hit, 1 - share - false])))


def rates(sample: Sample) -> Iterator[Result]:
    for name, estimate in (clustered_rates if sample.cell.clustered else independent_rates)(sample).items():
        yield name, estimate, true_rate(name, sample)


def predictive(sample: Sample) -> Iterator[Result]:
    """Estimate PPV and NPV at another prevalence."""
    call = sample.call(sample.sensitivity, sample.specificity)
    cells = np.stack([sample.truth * call, (1 - sample.truth) * call], axis=1)
    cells = totals_by_subject(
        np.hstack([cells, np.stack([sample.truth, 1 - sample.truth], axis=1) - cells]), sample.subject
    )
    for target in TARGETS:
        healthy, missed = (1 - target) * sample.specificity, target * (1 - sample.sensitivity)
        hit, false = target * sample.sensitivity, (1 - target) * (1 - sample.specificity)
        ppv, npv = predictive_values_at_prevalence(cells, target)
        yield f"PPV at a prevalence of {target:g}", ppv, hit / (hit + false)
        yield f"NPV at a prevalence of {target:g}", npv, healthy / (healthy + missed)


def independent_rates(sample: Sample) -> dict[str, Estimate]:
    """Return what `estimate_rate` returns of independent units, from the numbers of right calls alone."""
    m, h = sample.cell.diseased, sample.healthy
    tp, tn = (int(sample.rng.binomial(n, p)) for n, p in ((m, sample.sensitivity), (h, sample.specificity)))
    counts = {
        **{"sensitivity": (tp, m), "specificity": (tn, h), "ppv": (tp, tp + h - tn), "npv": (tn, tn + m - tp)},
        "accuracy": (tp + tn, m + h),
    }
    found = {name: _proportion(*count) for name, count in counts.items()}
    for name in ("balanced_accuracy", "lr_positive", "lr_negative"):
        found[name] = combine_shares(name, found["sensitivity"], found["specificity"], m + h, m + h)
    return found


def clustered_rates(sample: Sample) -> dict[str, Estimate]:
    """Return what `classification.estimate_rate` returns, from counts that are summed within subjects once."""
    call = sample.call(sample.sensitivity, sample.specificity)
    cell = 4 * sample.subject + 2 * (call == 0) + (sample.truth == 0)
    cells = np.bincount(cell, minlength=4 * (int(sample.subject[-1]) + 1)).reshape(-1, 4).astype(np.float64)
    return {name: rate_of_cells(name, cells) for name in CLOSED_RATES}


def levels(sample: Sample) -> Iterator[Result]:
    """Compare a level of a covariate, with a fifth of the subjects, with the others; all are called equally well."""
    inside = (sample.rng.random(int(sample.subject.max()) + 1) < 0.2)[sample.subject]
    right = (sample.call(sample.sensitivity, sample.specificity) == sample.truth).astype(float)
    for name, label in (("sensitivity", 1), ("specificity", 0)):
        of = sample.truth == label
        subjects = None if sample.subjects is None else sample.subjects[of]
        yield f"level − others, {name}", level_difference(right[of], inside[of], subjects), 0.0
    score = _scores(sample, 1.0)
    aucs = [
        classification.estimate_score(
            "auc", sample.truth[rows], score[rows], None if sample.subjects is None else sample.subjects[rows]
        )
        for rows in (inside, ~inside)
    ]
    yield "level − others, auc", auc_difference(*aucs), 0.0


def partly_labelled(sample: Sample) -> Iterator[Result]:
    """Correct for missing labels: 90 % of the positive calls have one, and 40 % of the negative ones."""
    call = sample.call(sample.sensitivity, sample.specificity)
    labelled = sample.rng.random(len(call)) < np.where(call == 1, 0.9, 0.4)
    found = begg_greenes(np.where(labelled, sample.truth, np.nan), call, sample.subjects)
    for name, estimate, truth in zip(
        ("sensitivity", "specificity"), found, (sample.sensitivity, sample.specificity), strict=True
    ):
        yield f"corrected {name}", estimate, truth


def resampled(sample: Sample, resamples: int = 500) -> Iterator[Result]:
    call = sample.call(sample.sensitivity, sample.specificity)
    for name in ("f1", "mcc"):
        estimate = classification.estimate_rate(name, sample.truth, call, sample.subjects, resamples=resamples)
        yield name, estimate, true_rate(name, sample)
    score = _scores(sample, 1.0)
    estimate = classification.estimate_score("average_precision", sample.truth, score, resamples=resamples)
    yield "average_precision", estimate, _true_average_precision(sample.cell)
    risk = _risk(sample.cell, score)
    estimate = classification.estimate_score("brier", sample.truth, risk, resamples=resamples)
    yield "brier", estimate, _true_brier(sample.cell)


def scores(sample: Sample) -> Iterator[Result]:
    for spread in (1.0, 1.5):
        score = _scores(sample, spread)
        estimate = classification.estimate_score("auc", sample.truth, score, sample.subjects)
        yield ("auc" if spread == 1 else "auc, unequal spread"), estimate, sample.cell.auc
    risk = _risk(sample.cell, _scores(sample, 1.0))
    yield "calibration_intercept", calibration.calibration_intercept(sample.truth, risk, sample.subjects), 0.0
    yield "calibration_slope", calibration.calibration_slope(sample.truth, risk, sample.subjects), 1.0


def compared_rates(sample: Sample) -> Iterator[Result]:
    """Compare two raters of the same cases: equally good ones, and ones whose difference is the margin."""
    of_case = sample.latent() if sample.cell.clustered else None
    for name in ("sensitivity", "specificity"):
        true = sample.sensitivity if name == "sensitivity" else sample.specificity
        result = _compare_right_calls(sample, name, true, true, of_case)
        yield f"difference of {name}", result, 0.0
        yield f"test of {name}", result, None
        yield f"non-inferiority of {name}", _compare_right_calls(sample, name, true - MARGIN, true, of_case), None


def _compare_right_calls(sample: Sample, name: str, a: float, b: float, of_case: np.ndarray | None) -> Comparison:
    """Return what `classification.compare_rates` returns. Independent units are drawn as counts, which is fast."""
    if of_case is None:
        n = sample.cell.diseased if name == "sensitivity" else sample.healthy
        # Given the case, the two calls are independent.
        limit_a, limit_b = (np.sqrt(2) * stats.norm.ppf(p) for p in (a, b))
        both = float(WEIGHTS @ (special.ndtr(limit_a - NODES) * special.ndtr(limit_b - NODES)))
        counts = sample.rng.multinomial(n, [both, a - both, b - both, 1 - a - b + both])
        return _paired_proportions(*(int(count) for count in counts))
    of_a, of_b = ((p, 0.5) if name == "sensitivity" else (0.5, p) for p in (a, b))
    calls = sample.call(*of_a, of_case), sample.call(*of_b, of_case)
    return classification.compare_rates(name, sample.truth, *calls, sample.subject)


def compared_predictive_values(sample: Sample) -> Iterator[Result]:
    of_case = sample.latent()
    first, second = (sample.call(sample.sensitivity, sample.specificity, of_case) for _ in range(2))
    pair = classification.paired_predictive_values(sample.truth, first, second, sample.subjects)
    for name, result in (("ppv", pair.ppv), ("npv", pair.npv)):
        yield f"difference of {name}", result, 0.0
        yield f"test of {name}", result, None


def compared_scores(sample: Sample) -> Iterator[Result]:
    of_case, shift = sample.latent(), _shift(sample.cell.auc, 1.0) * sample.truth
    a, b = (shift + sample.latent(of_case) for _ in range(2))
    result = classification.delong_paired(sample.truth, a, b, sample.subjects, quantile="student")
    yield "difference of auc", result, 0.0
    yield "test of auc", result, None


def reweighted(sample: Sample) -> Iterator[Result]:
    """Reweight scores to prevalences at which they are calibrated, and estimate net benefits as observed and there."""
    score = _scores(sample, 1.0)
    for prevalence in TARGETS:
        target = replace(sample.cell, prevalence=prevalence)
        risk, where = _risk(target, score), f"at a prevalence of {prevalence:g}"
        truths = {"average_precision": _true_average_precision(target), "brier": _true_brier(target)}
        truths |= {"calibration_intercept": 0.0, "calibration_slope": 1.0}
        for name, truth in truths.items():
            estimate = estimate_at_prevalence(name, sample.truth, risk, prevalence, sample.subjects)
            yield f"{name} {where}", estimate, truth
        for threshold, estimate in zip(
            THRESHOLDS,
            net_benefits(sample.truth, risk, THRESHOLDS, sample.subjects, prevalence=prevalence),
            strict=True,
        ):
            yield f"net benefit at {threshold:g}, {where}", estimate, _true_net_benefit(target, threshold)
    risk = _risk(sample.cell, score)
    found = net_benefits(sample.truth, risk, THRESHOLDS, sample.subjects)
    for threshold, estimate in zip(THRESHOLDS, found, strict=True):
        yield f"net benefit at {threshold:g}", estimate, _true_net_benefit(sample.cell, threshold)


PARTS: dict[str, Callable[[Sample], Iterator[Result]]] = {
    "rates": rates,
    "scores": scores,
    "compared_rates": compared_rates,
    "compared_predictive_values": compared_predictive_values,
    "compared_scores": compared_scores,
    "resampled": resampled,
    "reweighted": reweighted,
    "levels": levels,
    "predictive": predictive,
    "partly_labelled": partly_labelled,
}


@dataclass
class Tally:
    """Count what the cohorts of a cell showed about one figure.

    Attributes:
        given: The cohorts with a result. In a test it is all cohorts, because one without a result cannot reject.
        held: Those in which the interval held the true value. In a test: those in which it rejected, at 5 %, or for
            non-inferiority at 2.5 % where the true difference is exactly the margin.
        methods: The methods that were used.
    """

    given: int = 0
    held: int = 0
    methods: set[str] = field(default_factory=set)

    def add(self, name: str, result: Estimate | Comparison, truth: float | None) -> None:
        """Count one cohort. The arguments are those of a `Result`."""
        method = result.method
        if truth is not None:
            given = result.low is not None
            held = result.low is not None and result.low <= truth <= (result.high or 0)
        else:
            assert isinstance(result, Comparison)  # an estimate alone has no test
            given = True
            if name.startswith("non-inferiority"):
                held = result.low is not None and result.low > -MARGIN
            else:
                held, method = result.p is not None and result.p < 0.05, result.test
        self.given += given
        self.held += held
        if method:
            self.methods.add(method)


def measure(cell: Cell, cohorts: int, *, first: int = 0, seed: int = SEED) -> dict[str, Tally]:
    """Return a tally for each figure of a cell.

    Cohorts are drawn in blocks. A block depends only on the seed, the cell and its own number, so two calls for
    neighbouring ranges give together what one call for both gives.

    Args:
        cell: The cell.
        cohorts: The number of simulated cohorts, a multiple of `BLOCK`.
        first: The number of the first cohort, a multiple of `BLOCK`.
        seed: The seed.
    """
    if cohorts % BLOCK or first % BLOCK:
        raise ValueError(f"cohorts are drawn in blocks of {BLOCK}, got {cohorts} from {first}")
    tallies: dict[str, Tally] = {}
    for block in range(first // BLOCK, (first + cohorts) // BLOCK):
        rng = np.random.default_rng([seed, zlib.crc32(cell.key.encode()), block])
        for _ in range(BLOCK):
            for name, result, truth in PARTS[cell.part](draw(cell, rng)):
                tallies.setdefault(name, Tally()).add(name, result, truth)
    return tallies


def _shift(auc: float, spread: float) -> float:
    return float(stats.norm.ppf(auc) * np.sqrt(1 + spread**2))


def _scores(sample: Sample, spread: float) -> np.ndarray:
    return np.where(sample.truth == 1, _shift(sample.cell.auc, spread) + spread * (z := sample.latent()), z)


def _risk(cell: Cell, score: np.ndarray) -> np.ndarray:
    """Return P(diseased | score), which is perfectly calibrated."""
    shift = _shift(cell.auc, 1.0)
    return 1 / (1 + np.exp(-(shift * (score - shift / 2) + np.log(cell.prevalence / (1 - cell.prevalence)))))


def _density(cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return a grid of scores, and the mass of the diseased and of the healthy at each of them."""
    grid = np.linspace(-7, 7 + _shift(cell.auc, 1.0), 40_001)
    step = grid[1] - grid[0]
    diseased = cell.prevalence * stats.norm.pdf(grid - _shift(cell.auc, 1.0)) * step
    return grid, diseased, (1 - cell.prevalence) * stats.norm.pdf(grid) * step


@cache
def _true_average_precision(cell: Cell) -> float:
    _, diseased, healthy = _density(cell)
    above = np.cumsum(diseased[::-1])[::-1], np.cumsum(healthy[::-1])[::-1]
    return float(np.sum(diseased * above[0] / (above[0] + above[1])) / diseased.sum())


@cache
def _true_brier(cell: Cell) -> float:
    grid, diseased, healthy = _density(cell)
    risk = _risk(cell, grid)
    return float(np.sum(diseased * (1 - risk) ** 2 + healthy * risk**2))


def _true_net_benefit(cell: Cell, threshold: float) -> float:
    """Return the net benefit of acting on the calibrated risk."""
    shift, odds = _shift(cell.auc, 1.0), threshold / (1 - threshold)
    score = (np.log(odds) - np.log(cell.prevalence / (1 - cell.prevalence))) / shift + shift / 2
    called = stats.norm.sf([score - shift, score])
    return float(cell.prevalence * called[0] - (1 - cell.prevalence) * called[1] * odds)
