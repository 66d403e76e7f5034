"""Intervals and tests of simulated cohorts keep their level. The table of a longer run is in docs/statistics.md."""

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import numpy as np
import pytest

from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.statistics import classification
from diagchd_batch.statistics.estimate import Comparison, Estimate
from tests.unit.statistics import test_properties as properties
from tools.coverage import methods, rare_disease
from tools.coverage.reader_cohorts import Tally, measure

REPLICATES = 300
DISTRIBUTION = {"sd", "minimum", "q1", "median", "q3", "maximum"}


@pytest.fixture(scope="module")
def measured() -> Iterator[dict[bool, Future[dict[str, Tally]]]]:
    """Measure clustered and unclustered cohorts at the same time, and yield the results by `clustered`."""
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        yield {
            clustered: pool.submit(
                measure, n_subjects=150, clustered=clustered, replicates=REPLICATES, resamples=400, seed=1
            )
            for clustered in (False, True)
        }


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("clustered", [False, True], ids=["one unit a subject", "two or three units"])
def test_intervals_cover_and_tests_keep_their_size(
    measured: dict[bool, Future[dict[str, Tally]]], clustered: bool
) -> None:
    tallies = measured[clustered].result()
    slack = 3.5 * np.sqrt(0.05 * 0.95 / REPLICATES)  # the simulation's own error, over about fifty methods
    wrong = {}
    for name, tally in tallies.items():
        assert tally.given > 0.8 * REPLICATES or "difference" in name, f"{name}: too few replicates have a result"
        if name.startswith("not used"):
            continue
        if name.startswith("interval"):
            kept = 0.93 - slack <= tally.share <= min(1.0, 0.97 + slack)
        else:
            kept = tally.share <= 0.06 + slack  # Exact tests of few discordant pairs reject less than 5 %.
        if not kept:
            wrong[name] = (tally.method, round(tally.share, 3))
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "part",
    [
        *("rates", "scores", "compared_rates", "compared_predictive_values", "compared_scores"),
        *("predictive", "levels", "partly_labelled"),
    ],
)
def test_a_cell_of_twenty_diseased_among_a_thousand(part: str) -> None:
    cohorts = 300
    cell = next(cell for cell in rare_disease.cells(part, (20,)) if cell.prevalence == 0.02)
    slack = 3.5 * np.sqrt(0.05 * 0.95 / cohorts)
    for name, tally in rare_disease.measure(cell, cohorts, seed=3).items():
        share = tally.held / tally.given
        if name.startswith(("test", "non-inferiority")):
            assert share <= (0.05 if name.startswith("test") else 0.025) + slack, (name, share)
        else:
            assert share >= 0.93 - slack, (name, share)


@pytest.mark.slow
def test_ties_are_what_keeps_permutation_tests_below_their_size() -> None:
    drawn = measure(100, False, 1000, 500, seed=1, only="sensitivity, p drawn among", why=True)
    whole = measure(100, False, 1000, 500, seed=1, only="test: difference of sensitivity$")
    (with_ties,), (without,) = drawn.values(), whole.values()
    assert abs(with_ties.share - 0.05) < 3.5 * np.sqrt(0.05 * 0.95 / 1000)
    assert without.share < 0.02


def test_rates_from_counts_are_those_of_the_cohort() -> None:
    """The study of rates calls the functions behind `estimate_rate` directly, because that is fast."""
    cell = next(cell for cell in rare_disease.cells("rates", (10,)) if cell.prevalence == 0.1)
    sample = rare_disease.draw(cell, np.random.default_rng(4))
    found = rare_disease.independent_rates(sample)
    tp, tn = (int(found[name].numerator or 0) for name in ("sensitivity", "specificity"))
    truth, call = np.repeat([1, 0], [10, 90]), np.repeat([1, 0, 1, 0], [tp, 10 - tp, 90 - tn, tn])
    for name, estimate in found.items():
        whole = classification.estimate_rate(name, truth, call)
        assert (estimate.value, estimate.low, estimate.high) == (whole.value, whole.low, whole.high), name
        assert estimate.method == whole.method
    clustered = rare_disease.draw(replace(cell, clustered=True), np.random.default_rng(5))
    found = rare_disease.clustered_rates(clustered)
    again = rare_disease.draw(replace(cell, clustered=True), np.random.default_rng(5))
    call = again.call(again.sensitivity, again.specificity)
    for name, estimate in found.items():
        whole = classification.estimate_rate(name, again.truth, call, again.subject)
        assert (estimate.value, estimate.low, estimate.high) == (whole.value, whole.low, whole.high), name


def methods_of(results: Iterator[tuple[object, Estimate | Comparison, object]]) -> set[str]:
    """Return the names of the intervals and tests of these results."""
    names = {name for _, result, _ in results for name in (result.method, getattr(result, "test", None)) if name}
    return names - set(methods.NEVER_IN_TABLES)


@pytest.mark.parametrize("repeats", [False, True])
def test_the_study_measures_every_method_or_says_why_not(repeats: bool) -> None:
    """A new method has to be listed with the part of the study that measures it."""
    rng = np.random.default_rng(9)
    truth = (np.arange(40) < 16).astype(float)
    reads = np.where(rng.random((40, 4)) < 0.8, truth[:, None], 1 - truth[:, None])
    score, other = (rng.random((2, 40)) + truth) / 2
    whole = properties.Cohort(truth, reads, score, other, np.arange(40) // 2 if repeats else None)
    gaps = replace(whole, reads=np.where(rng.random((40, 4)) < [0, 0.2, 0.2, 0.2], np.nan, reads))
    found = methods_of(properties.of_readers(gaps))
    for make in (properties.of_one_rater, properties.of_two_raters, properties.of_readers, properties.of_agreement):
        found |= methods_of(make(whole))
    assert {"subject_sign_flip" if repeats else "mcnemar_exact", "one_sample_obuchowski_rockette"} <= found
    assert not found - methods.MEASURED.keys() - methods.NOT_MEASURED.keys()


def test_the_cells_use_the_methods_that_they_are_listed_for() -> None:
    found: dict[str, set[str]] = {}
    for part in rare_disease.PARTS:
        of_part = [cell for cell in rare_disease.cells(part, (100,)) if cell.prevalence == 0.33]
        for cell in (of_part[0], of_part[-1]):  # the last one has repeat scans, where the part has cells with them
            sample = rare_disease.draw(cell, np.random.default_rng(2))
            for name in methods_of(rare_disease.PARTS[part](sample)):
                found.setdefault(name, set()).add(part)
    assert not found.keys() - methods.MEASURED.keys() - methods.NOT_MEASURED.keys()
    of_cells = {name: part for name, part in methods.MEASURED.items() if part != methods.READERS}
    assert set(of_cells.values()) <= rare_disease.PARTS.keys()
    # Method 5 needs an AUC of 1.
    assert {name for name, part in of_cells.items() if part not in found.get(name, ())} <= {"newcombe_mann_whitney"}


def test_every_figure_is_measured_or_listed() -> None:
    """A new endpoint has to be listed with the part of the study that measures it."""
    listed = [
        *(methods.MEASURED_FIGURES, methods.LIKE_MEASURED_FIGURES, methods.NOT_MEASURED_FIGURES),
        methods.WITHOUT_INTERVAL,
    ]
    names = [name for group in listed for name in group]
    assert len(names) == len(set(names))
    quantiles = {name for name in DEFINITIONS if name.rpartition("_")[2] in DISTRIBUTION}
    assert set(names) | quantiles == DEFINITIONS.keys() and not quantiles & set(names)
    assert set(methods.MEASURED_FIGURES.values()) <= {methods.READERS, *rare_disease.PARTS}
    assert {reason.partition(":")[0] for reason in methods.LIKE_MEASURED_FIGURES.values()} <= {
        methods.READERS,
        *rare_disease.PARTS,
    }
