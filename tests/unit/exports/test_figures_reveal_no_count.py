"""No withheld count follows from shared figures that are not counts. Without the remedies, the attacks find counts."""

from pathlib import Path

import numpy as np
import pytest

from diagchd_batch.errors import InputError
from diagchd_batch.exports.disclosure import publishable_rows
from diagchd_batch.exports.disclosure.publishable_rows import Publication
from diagchd_batch.exports.disclosure.suppression import Counts
from diagchd_batch.exports.shareable import shareable_tables
from diagchd_batch.studies.tables import evaluation_inputs
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates
from tests.support.evaluated_runs import MadeOutput
from tests.unit.exports.attacker_of_figures import Found, attack, names, small_counts_shown, statistics_of
from tests.unit.exports.random_cohorts import AGE, Tables, draw_cohort, metrics_of

MIN_CELL = 10
FEW, MANY = 3, 200


def shared_of(seed: int) -> Tables:
    return shareable_tables(metrics_of(draw_cohort(seed)), MIN_CELL)[0]


def found_in(seeds: range) -> tuple[list[Found], int]:
    """Return the counts that the attacks recover from random cohorts, and the number of figures that they had."""
    found: list[Found] = []
    n_figures = 0
    for seed in seeds:
        shared = shared_of(seed)
        found += [*attack(shared, min_cell=MIN_CELL), *small_counts_shown(shared, min_cell=MIN_CELL)]
        n_figures += sum(row["ci_low"] is not None for row in shared["estimates"])
        n_figures += len(statistics_of(shared, AGE, "all"))
    return found, n_figures


def test_no_count_of_random_cohorts_follows_from_their_figures() -> None:
    found, n_figures = found_in(range(FEW))
    assert not found, names(found)
    assert n_figures > FEW


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_count_of_many_random_cohorts_follows_from_their_figures() -> None:
    found, n_figures = found_in(range(FEW, FEW + MANY))
    assert not found, names(found)
    assert n_figures > MANY


def test_extremes_are_shared_in_no_table() -> None:
    """An extreme is the number of a single study. Early versions computed them."""
    tables = metrics_of(draw_cohort(2))
    means = [row for row in tables["cohort_characteristics"] if row["statistic"] == "mean"]
    whole = next(row for row in tables["estimates"] if row["endpoint"] == "accuracy")
    names = ("minimum", "mean", "maximum")
    for name in names:
        tables["cohort_characteristics"] += [{**row, "statistic": name} for row in means if name != "mean"]
        tables["estimates"].append(
            {**whole, "analysis_set": "segmentation", "unit": "image", "endpoint": f"dice_{name}"}
        )
    shared, _ = shareable_tables(tables, 2)
    of_images = [row["endpoint"] for row in shared["estimates"] if row["analysis_set"] == "segmentation"]
    of_covariates = [row["statistic"] for row in shared["cohort_characteristics"]]
    assert of_images == ["dice_mean"]
    assert "mean" in of_covariates and not {"minimum", "maximum"} & set(of_covariates)


def test_reweighted_figures_of_scores_are_shared_in_no_table() -> None:
    """Two of one figure at different prevalences are two equations for what each class contributes to it."""
    tables = metrics_of(draw_cohort(2))
    made = [row["endpoint"] for row in tables["estimates"] if row["endpoint"].endswith("_at_prevalence")]
    assert "brier_at_prevalence" in made
    shared, _ = shareable_tables(tables, 2)
    assert not {row["endpoint"] for row in shared["estimates"]} & set(made)
    assert {row["curve"] for row in shared["curves"]} == {"roc", "precision_recall"}


def kinds(found: list[Found]) -> str:
    return " ".join(name for name, _ in found)


@pytest.mark.slow
def test_the_attacks_find_counts_where_moments_stand_beside_withheld_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publication, "_is_of_known_levels", lambda *_: True)
    found = kinds(found_in(range(30))[0])
    for kind in ("n of the mean age", "images by mean and sd", "between"):
        assert kind in found


@pytest.mark.slow
def test_the_attack_finds_the_number_missing_by_mean_and_sd_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Publication, "_is_of_known_levels", lambda *_: True)
    found: list[Found] = []
    for seed in range(40):
        shared = shared_of(seed)
        for row in shared["cohort_characteristics"]:
            if row["statistic"] in ("mean", "sd"):
                row["n"] = None
        found += attack(shared, min_cell=MIN_CELL)
    assert "missing ages by mean and sd" in kinds(found)


@pytest.mark.slow
def test_the_attack_finds_groups_between_quartiles_and_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishable_rows, "_SHARES_BELOW", {})
    assert "between" in kinds(found_in(range(40))[0])


@pytest.mark.slow
def test_the_attack_finds_the_number_of_repeated_subjects(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishable_rows, "few_repeats", lambda *_: False)
    assert "repeats" in kinds(found_in(range(20))[0])


def test_a_covariate_named_like_our_own_figures_shows_small_counts_only_without_the_remedies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = MadeOutput(tmp_path).table("covariates", [{"study_id": "a", "studies": 1}])
    with pytest.raises(InputError):
        read_covariates(path)
    tables = metrics_of(draw_cohort(1))
    common = {"level": "rare", "null_reason": None, "unit": None}
    clash = [
        {**common, "variable": "site", "group": group, "statistic": "n", "value": float(value), "n": 100}
        for value in (3, 60)  # the first covariate's small count, and the second's
        for group in ("all", "positive")
    ]
    tables["cohort_characteristics"] += clash
    with pytest.raises(InputError.__base__):
        shareable_tables(tables, MIN_CELL)

    def add(self: Counts, cell: object, value: int, rank: int = 0) -> None:
        self.values[cell], self.rank[cell] = value, rank

    monkeypatch.setattr(Counts, "add", add)
    value = Publication.value
    monkeypatch.setattr(Publication, "value", lambda self, cell: 3 if "rare" in cell else value(self, cell))
    monkeypatch.setattr(evaluation_inputs, "_RESERVED_COVARIATES", frozenset())
    assert len(read_covariates(path)) == 1
    shared, _ = shareable_tables(tables, MIN_CELL)
    assert ("site rare", 3) in small_counts_shown(shared, min_cell=MIN_CELL)


@pytest.mark.slow
def test_figures_keep_their_intervals_where_nobody_or_many_repeat() -> None:
    methods = {seed: {row["ci_method"] for row in shared_of(seed)["estimates"]} for seed in range(6)}
    repeats = {seed: len(c.subject) - len(np.unique(c.subject)) for seed in methods for c in [draw_cohort(seed)]}
    for seed, n in repeats.items():
        if n == 0:
            assert methods[seed] >= {"wilson"} and "wilson_effective_n" not in methods[seed]
        elif n < MIN_CELL:
            assert methods[seed] <= {"wilson", None}
