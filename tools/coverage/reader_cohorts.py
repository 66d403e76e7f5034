"""Measures on simulated cohorts how often 95 % intervals hold the true value and 5 % tests reject a true hypothesis.

Every cohort is drawn from the reader model of `dataset.phantom.cohort.readers`, whose accuracies have closed forms.
Reader 2 plays the model under evaluation, and reader 3 the reader that it is compared with. A subject has one unit, or
two or three units that share its label and part of its difficulty. Each method gets the cohort as the evaluation would.
"""

import argparse
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from scipy import optimize, stats

from dataset.phantom.cohort.readers import READERS, Reader, draw_readers, simulate_reads, true_auc
from dataset.phantom.cohort.readers import true_sensitivity as true_sensitivity_of
from dataset.phantom.cohort.readers import true_specificity as true_specificity_of
from diagchd_batch.statistics import calibration, classification, segmentation
from diagchd_batch.statistics.agreement import coefficients
from diagchd_batch.statistics.classification.confusion import RATES, confusion_cells
from diagchd_batch.statistics.estimate import Comparison, Estimate, NullReason
from diagchd_batch.statistics.multireader import random_readers, reader_groups
from diagchd_batch.statistics.randomisation import exchange_test
from diagchd_batch.statistics.resampling import bootstrap_totals, totals_by_subject
from diagchd_batch.statistics.subgroups import interaction_test

PREVALENCE = 1 / 3
SUBJECT_CORRELATION = 0.5
MODEL, READER = READERS[1], READERS[2]
RATE_NAMES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "f1", "mcc", "balanced_accuracy")
GROUP_RATES = ("sensitivity", "specificity", "ppv", "npv", "accuracy", "f1")
READER_COUNT = 6
LARGE = 400_000  # number of units in the cohort that gives true values without a closed form

Result = Estimate | Comparison
BEGIN, END = "<!-- coverage table: begin -->", "<!-- coverage table: end -->"


@dataclass(frozen=True)
class Cohort:
    """Arrays [units]; `rating` and `call` are [units, readers]."""

    subject: np.ndarray
    label: np.ndarray
    case: np.ndarray
    rating: np.ndarray
    call: np.ndarray
    readers: tuple[Reader, ...]


@dataclass(frozen=True)
class Check:
    """One method under one condition. With `truth`, its coverage is measured; without, how often the test rejects."""

    name: str
    kind: str  # the readers of the cohort, see `readers_for`
    method: Callable[[Cohort], Result]
    truth: Callable[[], float] | None = None


def draw_cohort(group: list[Reader], n_subjects: int, clustered: bool, rng: np.random.Generator) -> Cohort:
    """Draw a cohort with one unit per subject, or with two units for half of the subjects and three for the others."""
    sizes = ((n_subjects // 2, 2), (n_subjects - n_subjects // 2, 3)) if clustered else ((n_subjects, 1),)
    parts, first = [], 0
    for count, units in sizes:
        (read,) = simulate_reads(
            count, units, group, rng, prevalence=PREVALENCE, subject_correlation=SUBJECT_CORRELATION
        )
        parts.append((read.subject + first, read.label, read.case, read.rating, read.call))
        first += count
    subject, label, case, rating, call = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Cohort(subject, label, case, rating, call, tuple(group))


def readers_for(kind: str, rng: np.random.Generator, n_readers: int = READER_COUNT) -> list[Reader]:
    """Return the readers of a cohort; the first plays the model.

    Args:
        kind: One of these.
            ``pair``: the model and a reader.
            ``equals``: the model and an equally good reader.
            ``these``: the model and three readers.
            ``these_equals``: the model and three equally good readers.
            ``alike_ppv``, ``alike_npv``: the model and another reader of equal PPV or NPV.
            ``thresholds_f1`` and others: the model at two thresholds at which it has the same F1 (or other rate).
            ``group``: the model and newly drawn readers.
            ``group_auc`` and others: newly drawn readers, and a model with their mean AUC (or other measure).
            ``arms``: newly drawn readers in two arms.
            ``unlike_arms``: newly drawn readers whose skill in one arm says nothing about that in the other.
        rng: The stream from which readers are drawn.
        n_readers: How many readers to draw.
    """
    if kind == "pair":
        return [MODEL, READER]
    if kind == "equals":
        return [MODEL, replace(MODEL, name="equal")]
    if kind == "these":
        return [MODEL, *READERS[2:5]]
    if kind == "these_equals":
        return [MODEL] * 4
    if kind.startswith("alike"):
        return [MODEL, alike(kind.removeprefix("alike_"))]
    if kind.startswith("thresholds"):
        return two_thresholds(kind.removeprefix("thresholds_"))
    group = draw_readers(n_readers, rng)
    if kind == "arms":
        return [*group, *group]
    if kind == "unlike_arms":
        return [*group, *draw_readers(n_readers, rng)]
    return [average_reader(kind.removeprefix("group_")) if kind != "group" else MODEL, *group]


# --- true values -----------------------------------------------------------------------------------------------------


def true_rate(name: str, reader: Reader) -> float:
    sensitivity, specificity = true_sensitivity_of(reader), true_specificity_of(reader)
    shares = np.array([PREVALENCE * sensitivity, (1 - PREVALENCE) * (1 - specificity)])
    return float(RATES[name](np.array([*shares, PREVALENCE - shares[0], 1 - PREVALENCE - shares[1]])))


@lru_cache(maxsize=1)
def population() -> dict[str, float]:
    """Return the mean accuracy of readers in general."""
    many = draw_readers(20_000, np.random.default_rng(1))
    return {measure: float(np.mean([true_value(measure, r) for r in many])) for measure in ("auc", *GROUP_RATES)}


def true_value(measure: str, reader: Reader) -> float:
    return true_auc(reader) if measure == "auc" else true_rate(measure, reader)


@lru_cache
def average_reader(measure: str) -> Reader:
    """Return a model that is exactly as good as readers are on average."""
    aim = population()[measure]
    skill = optimize.brentq(lambda s: true_value(measure, replace(MODEL, skill=s)) - aim, 0.1, 6.0)
    return replace(MODEL, skill=skill)


@lru_cache
def alike(rate: str) -> Reader:
    """Return a reader of less skill than the model but of equal PPV or NPV. Their calls are not exchangeable."""
    weaker = replace(MODEL, skill=MODEL.skill - 0.4)
    threshold = optimize.brentq(
        lambda t: true_rate(rate, replace(weaker, threshold=t)) - true_rate(rate, MODEL), -0.5, 2.0
    )
    return replace(weaker, threshold=threshold)


@lru_cache
def two_thresholds(rate: str) -> list[Reader]:
    """Return the model at a low threshold, and at the high threshold that gives the same rate."""
    low = replace(MODEL, threshold=0.57)
    threshold = optimize.brentq(
        lambda t: true_rate(rate, replace(MODEL, threshold=t)) - true_rate(rate, low), MODEL.skill / 2, 6.0
    )
    return [low, replace(MODEL, threshold=threshold)]


@lru_cache(maxsize=1)
def large_cohort() -> Cohort:
    return draw_cohort([MODEL, READER], LARGE, False, np.random.default_rng(2))


def from_large(method: Callable[[Cohort], Result]) -> Callable[[], float]:
    """Return the value of a method on a cohort so large that sampling error does not matter."""
    return lambda: float(method(large_cohort()).value)


# --- what is done to a cohort ----------------------------------------------------------------------------------------


def probability_of(rating: np.ndarray, reader: Reader) -> np.ndarray:
    """Return P(diseased | rating). It is perfectly calibrated, because the reader model is binormal."""
    logit = reader.skill * (rating - reader.skill / 2) / reader.spread**2 + np.log(PREVALENCE / (1 - PREVALENCE))
    return 1 / (1 + np.exp(-logit))


def image_value(cohort: Cohort) -> np.ndarray:
    """Return a quality per image that depends on the case's difficulty, as a Dice coefficient does."""
    return stats.norm.cdf(1.2 - 0.5 * cohort.case + 0.3 * (cohort.rating[:, 0] > cohort.rating[:, 1]))


def leave_gaps(values: np.ndarray) -> np.ndarray:
    """Return reads [arms, readers, units] of which each reader misses 10 to 40 %, whatever they say."""
    rng = np.random.default_rng(int(values.shape[2] + 1e6 * abs(values[0, 0, :5].sum())))
    share = np.linspace(0.1, 0.4, values.shape[1])[:, np.newaxis]
    return np.where(rng.random(values.shape) < share, np.nan, values)


def checks(resamples: int) -> Iterator[Check]:
    """Yield a check for every method of the evaluation that gives an interval or a p value."""
    options: dict[str, Any] = {"resamples": resamples}
    measures: tuple[random_readers.Measure, ...] = ("auc", "sensitivity")

    def subjects(cohort: Cohort) -> np.ndarray:
        return cohort.subject

    for name in (*RATE_NAMES, "lr_positive", "lr_negative"):
        yield Check(
            f"interval: {name}",
            "pair",
            lambda c, name=name: classification.estimate_rate(name, c.label, c.call[:, 0], c.subject, **options),
            lambda name=name: true_rate(name, MODEL),
        )
    for name in ("auc", "average_precision", "brier"):

        def score(c: Cohort, name: str = name, count: int = resamples) -> Estimate:
            values = probability_of(c.rating[:, 0], MODEL)
            return classification.estimate_score(name, c.label, values, c.subject, resamples=count)

        truth = (lambda: true_auc(MODEL)) if name == "auc" else from_large(lambda c, s=score: s(c, count=2))
        yield Check(f"interval: {name}", "pair", score, truth)
    for name, method, ideal in (
        ("calibration intercept", calibration.calibration_intercept, 0.0),
        ("calibration slope", calibration.calibration_slope, 1.0),
    ):
        yield Check(
            f"interval: {name}",
            "pair",
            lambda c, method=method: method(c.label, probability_of(c.rating[:, 0], MODEL), c.subject),
            lambda ideal=ideal: ideal,
        )
    for name in RATE_NAMES:

        def compare(c: Cohort, name: str = name) -> Comparison:
            return classification.compare_rates(name, c.label, c.call[:, 0], c.call[:, 1], c.subject, **options)

        yield Check(
            f"interval: difference of {name}",
            "pair",
            compare,
            lambda name=name: true_rate(name, MODEL) - true_rate(name, READER),
        )
        yield Check(f"test: difference of {name}", "equals", compare)
        if name in ("ppv", "npv"):
            yield Check(f"test: difference of {name}, unlike calls", f"alike_{name}", compare)

    def compare_auc(c: Cohort) -> Comparison:
        return classification.delong_paired(c.label, c.rating[:, 0], c.rating[:, 1], c.subject, quantile="student")

    yield Check("interval: difference of auc", "pair", compare_auc, lambda: true_auc(MODEL) - true_auc(READER))
    yield Check("test: difference of auc", "equals", compare_auc)

    agreements: dict[str, Callable[[Cohort, int], Estimate]] = {
        "Cohen's kappa": lambda c, count: coefficients.cohen_kappa_of_ratings(
            c.call[:, 0], c.call[:, 1], None, (0, 1), subjects(c), resamples=count
        ),
        "Fleiss' kappa": lambda c, count: coefficients.fleiss_kappa(
            np.stack([2 - c.call.sum(axis=1), c.call.sum(axis=1)], axis=1), subjects(c), resamples=count
        ),
        "Gwet's AC1": lambda c, count: coefficients.gwet_ac1(c.call, (0, 1), subjects(c), resamples=count),
        "Krippendorff's alpha": lambda c, count: coefficients.krippendorff_alpha(
            c.call, "nominal", subjects(c), resamples=count
        ),
        "percent agreement": lambda c, count: coefficients.percent_agreement(c.call, subjects(c), resamples=count),
    }
    for name, method in agreements.items():
        yield Check(
            f"interval: {name}",
            "pair",
            lambda c, method=method: method(c, resamples),
            from_large(lambda c, method=method: method(c, 2)),
        )
    yield Check(
        "interval: mean image value",
        "pair",
        lambda c: segmentation.mean_of_studies(image_value(c), None, c.subject, **options),
        lambda: float(image_value(large_cohort()).mean()),
    )
    for measure in measures:

        def against_group(c: Cohort, measure: random_readers.Measure = measure) -> Comparison:
            values = c.rating if measure == "auc" else c.call
            return random_readers.model_versus_readers(c.label, values[:, 0], values[:, 1:], measure, c.subject)

        yield from group_checks(measure, against_group)
    for name in ("ppv", "npv", "f1"):

        def rate_against_group(c: Cohort, name: str = name) -> Comparison:
            return reader_groups.model_versus_readers_rate(
                name, c.label, c.call[:, 0], c.call[:, 1:], c.subject, **options
            )

        yield from group_checks(name, rate_against_group)

        def rate_against_these(c: Cohort, name: str = name) -> Comparison:
            return reader_groups.model_versus_readers_rate(
                name, c.label, c.call[:, 0], c.call[:, 1:], c.subject, random_readers=False, **options
            )

        yield Check(
            f"interval: model − these readers, {name}",
            "these",
            rate_against_these,
            lambda name=name: true_rate(name, MODEL) - float(np.mean([true_rate(name, r) for r in READERS[2:5]])),
        )
        yield Check(f"test: model − these readers, {name}", "these_equals", rate_against_these)
        yield Check(
            f"interval: readers in general, mean {name}",
            "group",
            lambda c, name=name: reader_groups.readers_rate(name, c.label, c.call[:, 1:], c.subject, **options),
            lambda name=name: population()[name],
        )
    yield Check(
        "interval: readers in general, mean sensitivity",
        "group",
        lambda c: random_readers.readers_mean(c.label, c.call[:, 1:], "sensitivity", c.subject),
        lambda: population()["sensitivity"],
    )
    for measure in measures:

        def between_arms(c: Cohort, measure: random_readers.Measure = measure) -> Comparison:
            values = (c.rating if measure == "auc" else c.call).T.reshape(2, len(c.readers) // 2, -1)
            return random_readers.obuchowski_rockette(c.label, values, measure, c.subject).comparison

        yield Check(f"interval: two arms of readers, {measure}", "arms", between_arms, lambda: 0.0)
        yield Check(f"test: two arms of readers, {measure}", "arms", between_arms)

        def with_gaps(c: Cohort, measure: random_readers.Measure = measure) -> Comparison:
            values = (c.rating if measure == "auc" else c.call).T.reshape(2, len(c.readers) // 2, -1)
            return random_readers.compare_arms_with_gaps(c.label, leave_gaps(values), measure, c.subject)

        for kind, whose in (("arms", "the same skill in both"), ("unlike_arms", "a skill for each arm")):
            name = f"two arms of readers with gaps, {whose}, {measure}"
            yield Check(f"interval: {name}", kind, with_gaps, lambda: 0.0)
            yield Check(f"test: {name}", kind, with_gaps)
    for name in ("ppv", "f1"):
        yield Check(
            f"interval: these readers' mean {name}",
            "pair",
            lambda c, name=name: reader_groups.readers_rate(
                name, c.label, c.call, c.subject, random_readers=False, **options
            ),
            lambda name=name: (true_rate(name, MODEL) + true_rate(name, READER)) / 2,
        )

    def interaction(c: Cohort) -> Comparison:
        diseased = c.label == 1
        levels = np.digitize(np.random.default_rng(int(c.subject.sum())).random(c.subject.max() + 1), [0.3, 0.6])
        result = interaction_test(c.call[diseased, 0], levels[c.subject][diseased].astype(str), c.subject[diseased])
        return test_alone(result.p, result.n, result.test)

    yield Check("test: sensitivity differs between three levels", "equals", interaction)


def group_checks(measure: str, method: Callable[[Cohort], Result]) -> Iterator[Check]:
    """Yield the checks of the model against readers in general: interval, and test where there is no difference."""
    name = f"model − readers in general, {measure}"
    yield Check(f"interval: {name}", "group", method, lambda: true_value(measure, MODEL) - population()[measure])
    yield Check(f"test: {name}", f"group_{measure}", method)


def replaced_checks(resamples: int) -> Iterator[Check]:
    """Yield simpler methods that the evaluation does not use, so that the table shows why."""

    def plain_percentile(name: str, c: Cohort) -> Estimate:
        cells = totals_by_subject(confusion_cells(c.label.astype(float), c.call[:, 0]), c.subject)
        values = bootstrap_totals(cells, RATES[name], resamples, seed=0)
        low, high = np.nanquantile(values, [0.025, 0.975])
        return Estimate(float(RATES[name](cells.sum(axis=0))), None, low, high, len(c.label), "percentile")

    for name in ("sensitivity", "npv", "f1", "lr_negative"):
        yield Check(
            f"not used: {name} by plain percentiles",
            "pair",
            lambda c, name=name: plain_percentile(name, c),
            lambda name=name: true_rate(name, MODEL),
        )
    yield Check(
        "not used: sensitivity, subjects ignored",
        "pair",
        lambda c: classification.estimate_rate("sensitivity", c.label, c.call[:, 0]),
        lambda: true_rate("sensitivity", MODEL),
    )
    yield Check(
        "not used: auc on the linear scale",
        "pair",
        lambda c: classification.delong_interval(c.label, c.rating[:, 0], c.subject),
        lambda: true_auc(MODEL),
    )
    yield Check(
        "not used: test of sensitivity, subjects ignored",
        "equals",
        lambda c: classification.compare_rates("sensitivity", c.label, c.call[:, 0], c.call[:, 1]),
    )


def reasons(resamples: int) -> Iterator[Check]:
    """Yield the checks behind the explanations in docs/statistics.md, with a suspected cause removed or isolated."""

    def of_true_values(c: Cohort) -> Comparison:
        model, *others = map(true_sensitivity_of, c.readers)
        p = float(stats.ttest_1samp(others, model).pvalue)
        return test_alone(p, len(others), "student_t")

    yield Check("why: true sensitivities of readers in general, no cases", "group_sensitivity", of_true_values)

    def on_linear_scale(c: Cohort) -> Estimate:
        """Return the interval of the mean without the logit, from its difference to a model that is never wrong."""
        against = random_readers.model_versus_readers(c.label, c.label, c.call[:, 1:], "sensitivity", c.subject)
        if against.low is None:
            return Estimate.null(against.null_reason, against.n)
        return Estimate(against.comparator_value, None, 1 - against.high, 1 - against.low, against.n, against.method)

    yield Check(
        "why: mean sensitivity on the linear scale", "group", on_linear_scale, lambda: population()["sensitivity"]
    )
    for name in RATE_NAMES:
        if name not in ("ppv", "npv"):
            yield Check(
                f"why: exchange test of {name}, p drawn among ties",
                "equals",
                lambda c, name=name: randomised_exchange(name, c, 4 * resamples),
            )
    for name in ("f1", "mcc", "balanced_accuracy"):

        def compare(c: Cohort, name: str = name) -> Comparison:
            return classification.compare_rates(
                name, c.label, c.call[:, 0], c.call[:, 1], c.subject, resamples=resamples
            )

        yield Check(f"why: exchange test of {name} between two thresholds", f"thresholds_{name}", compare)
        yield Check(f"why: interval of {name} between two thresholds", f"thresholds_{name}", compare, lambda: 0.0)

    def exchanged(c: Cohort) -> Comparison:
        p = exchange_test(*cells_of_both(c), RATES["npv"], resamples=4 * resamples)
        return test_alone(p, len(c.label), "subject_exchange")

    yield Check("why: exchange test of npv, unlike calls", "alike_npv", exchanged)
    for name in ("ppv", "npv"):

        def by_percentiles(c: Cohort, name: str = name) -> Comparison:
            result = reader_groups.model_versus_readers_rate(
                name, c.label, c.call[:, 0], c.call[:, 1:], c.subject, random_readers=False, resamples=resamples
            )
            rejects = result.low is not None and not result.low <= 0 <= result.high
            return replace(result, p=None if result.low is None else 1.0 - rejects, test=result.method)

        yield Check(f"why: these readers' {name} by percentiles", "these_equals", by_percentiles)


def test_alone(p: float | None, n: int, test: str) -> Comparison:
    return replace(Comparison.null(NullReason.NO_VALID_INTERVAL, n), p=p, test=test)


def cells_of_both(cohort: Cohort) -> tuple[np.ndarray, np.ndarray]:
    """Return TP, FP, FN and TN by subject for the first two readers."""
    first, second = (
        totals_by_subject(confusion_cells(cohort.label.astype(float), cohort.call[:, place]), cohort.subject)
        for place in (0, 1)
    )
    return first, second


def randomised_exchange(name: str, cohort: Cohort, resamples: int) -> Comparison:
    """Return an exchange test whose p is drawn among the resamples that tie with the cohort. It is exact despite ties.

    For sensitivity, specificity and accuracy only the numbers of correct calls are exchanged, so there it is McNemar's
    test or the test of the sign flips. Source: Lehmann & Romano (2005), Testing Statistical Hypotheses, 15.2.
    """
    cells_a, cells_b = cells_of_both(cohort)
    rng = np.random.default_rng(int(1e6 * abs(cohort.rating[0, 0])))
    exchanged = rng.random((resamples, len(cells_a))) < 0.5
    moved = exchanged @ (cells_b - cells_a)
    sums_a, sums_b = cells_a.sum(axis=0), cells_b.sum(axis=0)
    values = np.abs(RATES[name](sums_a + moved) - RATES[name](sums_b - moved))
    observed = abs(float(RATES[name](sums_a) - RATES[name](sums_b)))
    ties = np.abs(values - observed) < 1e-9
    more, alike = np.sum((values > observed) & ~ties), 1 + np.sum(ties)  # the cohort is one of its resamples
    p = float(more + rng.random() * alike) / (1 + resamples)
    return test_alone(p, len(cohort.label), "randomised_exchange")


# --- counting --------------------------------------------------------------------------------------------------------


@dataclass
class Tally:
    """Counts how often the interval contained the truth, or the test rejected, in cohorts where there was a result."""

    hits: int = 0
    given: int = 0
    method: str = ""

    def add(self, result: Result, truth: float | None) -> None:
        if truth is None:
            assert isinstance(result, Comparison)  # an estimate alone has no test
            if result.p is not None:
                self.given += 1
                self.hits += result.p < 0.05
        elif result.low is not None:
            self.given += 1
            self.hits += result.low <= truth <= result.high
        self.method = (getattr(result, "test", None) if truth is None else result.method) or self.method

    @property
    def share(self) -> float:
        return self.hits / self.given if self.given else float("nan")


def measure(
    n_subjects: int,
    clustered: bool,
    replicates: int,
    resamples: int,
    seed: int,
    only: str = "",
    why: bool = False,
    n_readers: int = READER_COUNT,
) -> dict[str, Tally]:
    """Return the tally of each check over `replicates` cohorts. Checks of one kind get the same cohorts."""
    listed = reasons(resamples) if why else (*checks(resamples), *replaced_checks(resamples))
    every = [check for check in listed if re.search(only, check.name)]
    truths = {check.name: None if check.truth is None else check.truth() for check in every}
    tallies = {check.name: Tally() for check in every}
    for kind in dict.fromkeys(check.kind for check in every):
        rng = np.random.default_rng([seed, n_subjects, clustered, sum(map(ord, kind))])
        for _ in range(replicates):
            cohort = draw_cohort(readers_for(kind, rng, n_readers), n_subjects, clustered, rng)
            for check in every:
                if check.kind == kind:
                    tallies[check.name].add(check.method(cohort), truths[check.name])
    return tallies


def table(sizes: list[int], replicates: int, resamples: int, seed: int, **selected: Any) -> str:
    """Return a Markdown table with a row per method and a column per number of subjects and of units per subject."""
    columns = [(size, clustered) for clustered in (False, True) for size in sizes]
    results = [measure(size, clustered, replicates, resamples, seed, **selected) for size, clustered in columns]
    heads = [f"{size} subjects, {'2–3 units' if clustered else '1 unit'}" for size, clustered in columns]
    lines = ["| what | " + " | ".join(heads) + " |", "|---" * (len(columns) + 1) + "|"]
    for name in results[0]:
        cells = [f"{100 * result[name].share:.1f} % ({result[name].method})" for result in results]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    error = 100 * np.sqrt(0.05 * 0.95 / replicates)
    note = (
        f"{replicates} cohorts a column, {resamples} bootstrap resamples, seed {seed}; the simulation's own standard "
        f"error is {error:.1f} percentage points at 5 % and 95 %."
    )
    return "\n".join([*lines, "", note])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--replicates", type=int, default=1200, help="number of cohorts (default 1200)")
    parser.add_argument("--resamples", type=int, default=500, help="number of bootstrap resamples (default 500)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 400], help="numbers of subjects")
    parser.add_argument("--seed", type=int, default=20, help="seed of all cohorts (default 20)")
    parser.add_argument("--only", default="", help="only checks whose name matches this regular expression")
    parser.add_argument("--why", action="store_true", help="measure the page's explanations, not the methods")
    parser.add_argument("--readers", type=int, default=READER_COUNT, help="number of readers drawn (default 6)")
    parser.add_argument("--write", type=Path, help="Markdown file whose coverage table is replaced")


def table_of(arguments: argparse.Namespace) -> str:
    return table(
        arguments.sizes,
        arguments.replicates,
        arguments.resamples,
        arguments.seed,
        only=arguments.only,
        why=arguments.why,
        n_readers=arguments.readers,
    )
