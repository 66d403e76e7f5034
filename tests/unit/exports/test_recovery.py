"""No small count of a cohort follows from the tables that are shared after `evaluate` and the export."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.exports import shareable
from diagchd_batch.exports.disclosure.suppression import Counts, is_small
from diagchd_batch.exports.shareable import SHARED_TABLES, shareable_tables
from tests.support.evaluated_runs import FAILED, MadeOutput, MadeStudy
from tests.unit.exports.attacker import CALLS, STRICTER, Attacker

SITES = ("north", "east", "south")
READERS = ("A", "B", "C")
COLUMN = "site"
HIGHER = 0.6
LABELS = (("tp", "fn"), ("fp", "tn"))


def draw_cohort(root: Path, seed: int, n: int) -> SimpleNamespace:
    """Evaluate a random cohort with few failed, few unlabelled and few unread studies, and one small site."""
    rng = np.random.default_rng(seed)
    made = MadeOutput(root)
    shares = rng.dirichlet([6, 3, 0.7])
    cut = {reader: rng.choice([0.0, 0.02, 0.2]) for reader in READERS}
    truth, studies, reads, sites = [], [], [], []
    for number in range(n):
        label = None if rng.random() < 0.03 else int(rng.random() < 0.35)
        failed, excluded = rng.random() < 0.04, rng.random() < 0.03
        failed = failed and label is not None
        score = float(np.clip(rng.normal(0.35 + 0.3 * (label or 0), 0.15), 0.01, 0.99))
        name, site = f"study {number}", SITES[rng.choice(3, p=shares)]
        calls = {r: int(rng.random() < (0.9 if label else 0.1)) for r in READERS if rng.random() >= cut[r]}
        reason = "poor view" if excluded else None
        studies.append(MadeStudy(name, [[FAILED if failed else score]], label, exclude_reason=reason))
        sites.append({"study_id": name, COLUMN: site})
        reads += [{"study_id": name, "reader": r, "status": "read", "call": call} for r, call in calls.items()]
        if not excluded:
            call, strict = (None, None) if failed else (int(np.float32(score) >= at) for at in (0.5, HIGHER))
            truth.append(SimpleNamespace(label=label, call=call, strict=strict, site=site, reads=calls))
    scored = [
        study if study.exclude_reason is None else MadeStudy(study.study_id, (), study.label, None, "poor view")
        for study in studies
    ]
    run_id = made.write_run(scored)
    points = [
        {"name": name, "threshold": threshold, "chosen_on": "another cohort"}
        for name, threshold in (("default", 0.5), ("stricter", HIGHER))
    ]
    config = EvaluationConfig(
        operating_points=points,
        readers=made.table("readers", reads),
        covariates=made.table("sites", sites),
        resamples=100,
        disclose=True,
    )
    evaluate_run(made.output, made.private, run_id, config, made.tokens)
    return SimpleNamespace(made=made, studies=truth)


def true_counts(studies: Iterable[SimpleNamespace]) -> Counter[tuple[Any, ...]]:
    """Return the counts that the attacker looks for, under the attacker's names."""
    counts: Counter[tuple[Any, ...]] = Counter()
    names = {(True, 1): "tp", (True, 0): "fn", (False, 1): "fp", (False, 0): "tn"}
    for study in studies:
        for covariate, level in ((None, None), (COLUMN, study.site)):
            if study.label is None:
                counts["without", covariate, level] += 1
            elif study.call is None:
                counts["left out", "model", covariate, level, "positive" if study.label else "negative"] += 1
            else:
                counts["call", "model", covariate, level, names[bool(study.label), study.call]] += 1
                counts["call", STRICTER, covariate, level, names[bool(study.label), study.strict]] += 1
                if study.call and not study.strict:
                    counts["between", STRICTER, covariate, level, "tp" if study.label else "fp"] += 1
        for reader in READERS:
            if study.label is None:
                continue
            if reader in study.reads:
                counts["call", reader, None, None, names[bool(study.label), study.reads[reader]]] += 1
            else:
                counts["left out", reader, None, None, "positive" if study.label else "negative"] += 1
    return counts


def recovered(cohort: SimpleNamespace, min_cell: int) -> tuple[list[str], int, dict[str, Any]]:
    """Return the small counts that the shared tables reveal, the number of small counts, and the tables."""
    shared, _ = shareable_tables({name: cohort.made.metrics(name) for name in SHARED_TABLES}, min_cell)
    counts, named = true_counts(cohort.studies), _numbers_of_readers()
    levels = sorted({study.site for study in cohort.studies})
    attacker = Attacker(shared, {COLUMN: levels}, list(named.values()))
    places = [(None, None), *((COLUMN, level) for level in levels)]
    groups = [[cell] for cell in counts]
    groups += [[("call", "model", *place, name) for name in pair] for place in places for pair in LABELS]
    found, n_small = [], 0
    for cells in groups:
        value = sum(counts[cell] for cell in cells)
        if not 0 < value < min_cell:
            continue
        n_small += 1
        low, high = attacker.bounds({(kind, named.get(rater, rater), *rest): 1.0 for kind, rater, *rest in cells})
        assert low - 1e-6 <= value <= high + 1e-6, "the attacker is wrong"
        if np.floor(high + 1e-6) - np.ceil(low - 1e-6) < 1:
            found.append(f"{cells}: {value}")
    return found, n_small, shared


def _numbers_of_readers() -> dict[str, str]:
    """Return reader → number in the shared tables. The attacker knows the numbers, to be on the safe side."""
    ordered = sorted(READERS, key=lambda name: hashlib.sha256(name.encode()).digest())
    return {name: f"reader {number}" for number, name in enumerate(ordered, start=1)}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return draw_cohort(tmp_path_factory.mktemp("cohort"), seed=1, n=150)


def test_no_small_count_of_a_cohort_follows_from_what_is_shared(cohort: SimpleNamespace) -> None:
    found, n_small, shared = recovered(cohort, 10)
    assert not found
    assert n_small > 5 and len(shared["estimates"]) > 10  # The attacker has counts to find and figures to use.


def test_the_attacker_finds_small_counts_that_are_only_left_out(
    cohort: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def primary_only(counts: Counts, min_cell: int) -> set[Any]:
        return {cell for cell, value in counts.values.items() if is_small(value, min_cell)}

    monkeypatch.setattr(shareable, "protect", primary_only)
    assert recovered(cohort, 10)[0]


def test_shared_tables_name_nobody_and_count_no_images(cohort: SimpleNamespace) -> None:
    shared = recovered(cohort, 10)[2]
    columns = {name for rows in shared.values() for row in rows for name in row}
    assert not columns & {"study_id", "subject_id", "image_id"}
    raters = {row["subject"] for row in shared["estimates"] if row["subject_kind"] == "reader"}
    assert raters <= set(_numbers_of_readers().values())
    assert all(row["unit"] == "study" for row in shared["estimates"] if row["endpoint"] in CALLS)


def test_an_adjusted_p_is_shared_with_its_whole_family_only(cohort: SimpleNamespace) -> None:
    """Holm's adjusted p of one comparison can equal that of another."""

    def family(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in ("family", "analysis_set", "unit", "operating_point", "generalises_to"))

    made = Counter(map(family, cohort.made.metrics("comparisons")))
    for min_cell in (2, 10):
        rows = recovered(cohort, min_cell)[2]["comparisons"]
        shown = Counter(map(family, rows))
        adjusted = [row for row in rows if row["p_adjusted"] is not None]
        assert all(shown[family(row)] == made[family(row)] for row in adjusted)
        assert min_cell == 10 or len(adjusted) < len(rows)


@pytest.fixture(scope="module")
def cohort_of_large_groups(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    """Evaluate a cohort in which all levels are empty or large. One group is too small for the outer quartiles."""
    rng = np.random.default_rng(1)
    made = MadeOutput(tmp_path_factory.mktemp("large"))
    studies, ages = [], []
    for number in range(240):
        label = None if number % 10 == 0 else number % 3 % 2
        n_images, age = (1, 30) if label is None else (1 + number // 10 % 3, int(rng.integers(18, 44)))
        images = [[float(score)] for score in np.clip(rng.normal(0.4, 0.15, n_images), 0.01, 0.99)]
        studies.append(MadeStudy(f"study {number}", images, label))
        ages.append({"study_id": f"study {number}", "maternal_age": age})
    run_id = made.write_run(studies)
    config = EvaluationConfig(covariates=made.table("ages", ages), resamples=100)
    evaluate_run(made.output, made.private, run_id, config, made.tokens)
    return made


@pytest.mark.parametrize("min_cell", [2, 10])
def test_means_are_of_many_and_tell_no_small_group(
    cohort: SimpleNamespace, cohort_of_large_groups: MadeOutput, min_cell: int
) -> None:
    made = cohort_of_large_groups if min_cell == 10 else cohort.made
    shared, _ = shareable_tables({name: made.metrics(name) for name in SHARED_TABLES}, min_cell)
    rows = [row for row in shared["cohort_characteristics"] if row["statistic"] not in ("n", "share")]
    assert {row["statistic"] for row in rows} >= ({"mean", "sd", "q1", "median", "q3"} if min_cell == 10 else {"mean"})
    raw = made.metrics("cohort_characteristics")
    n_of = {(row["variable"], row["statistic"], row["group"]): row["n"] for row in raw if row["level"] is None}
    parts = {"q1": 4, "median": 2, "q3": 4}
    for row in rows:
        assert row["statistic"] not in ("minimum", "maximum")
        assert n_of[row["variable"], row["statistic"], row["group"]] >= min_cell * parts.get(row["statistic"], 1)


@pytest.mark.parametrize("min_cell", [5, 10])
def test_points_of_shared_curves_are_far_apart(cohort: SimpleNamespace, min_cell: int) -> None:
    """The studies by which two points differ are groups of diseased or healthy studies, which are empty or large."""
    shared = recovered(cohort, min_cell)[2]
    analysed = [study for study in cohort.studies if study.label is not None and study.call is not None]
    totals = {"x": sum(s.label == 0 for s in analysed), "y": sum(s.label == 1 for s in analysed)}
    points = [row for row in shared["curves"] if row["curve"] == "roc" and row["subject_kind"] == "model"]
    assert min_cell == 10 or points
    for axis, total in totals.items():
        above = sorted({round(row[axis] * total) for row in points} | {0, total})
        assert all(second - first >= min_cell for first, second in pairwise(above))
    assert all(row.get("threshold") is None for row in points)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(2, 14))
def test_no_small_count_follows_from_what_is_shared_of_many_cohorts(tmp_path: Path, seed: int) -> None:
    assert not recovered(draw_cohort(tmp_path, seed, 60 + 40 * seed), 5 if seed % 3 == 0 else 10)[0]
