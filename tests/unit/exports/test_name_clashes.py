"""Names that clash, or that look alike, reveal no small count of random cohorts.

Either such names are refused, before the evaluation or at the export, or an attacker who knows which is which recovers
nothing. Where a remedy is taken away, the attacker does.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.errors import DiagchdBatchError, UsageError
from diagchd_batch.evaluation.subgroups import covariate_levels as covariates_module
from diagchd_batch.evaluation.subgroups.covariate_levels import Covariate
from diagchd_batch.evaluation.tables.display_names import DisplayNames
from diagchd_batch.evaluation.units_and_raters import NOT_READ, Rater
from diagchd_batch.exports.disclosure.publishable_rows import Publication
from diagchd_batch.exports.disclosure.suppression import Counts
from diagchd_batch.exports.disclosure.table_counts import characteristic_cell
from diagchd_batch.exports.shareable import shareable_tables
from diagchd_batch.studies.identifiers import Pseudonymizer
from diagchd_batch.studies.tables import evaluation_inputs
from diagchd_batch.studies.tables.evaluation_inputs import read_covariates, read_readers
from tests.support.evaluated_runs import KEY, MadeOutput
from tests.unit.exports.attacker import CALLS, STRICTER, Attacker, Terms
from tests.unit.exports.attacker_of_figures import attack, small_counts_shown
from tests.unit.exports.random_cohorts import SITE, Cohort, Tables, draw_cohort, metrics_of

MIN_CELL = 10
FEW, MANY = 12, 60
SITES = ("north", "east", "south")
OF_LABEL = (("tp", "fn"), ("fp", "tn"))
OWN_ITEMS = ("studies", "diagnosis", "source_resolution", "number_of_images", "arm", "session", "prevalence", "bins")
ALIKE_SITES = (
    ("north", "North", "NORTH"),
    ("north", "north\u00a0side", "north\u200b"),
    ("Z\u00fcrich", "Zu\u0308rich", "ZU\u0308RICH"),
    ("1", "01", "1.0"),
    ("=a", "'=a", "= a"),
    ("site level 1", "site level 2", "Site level 1"),
    ("missing", " MISSING ", "m\u00edssing"),
)
ALIKE_READERS = (("Anna", "anna", "Anna "), ("A", "\uff21", "A\u200b"), ("reader 1", "Reader 1", "reader  1"))
ALIKE_POINTS = (("strict", "Strict "), ("high sens", "High  Sens"), ("model card", "model\u00a0card"), ("", " "))


def read_table(
    tmp_path: Path, name: str, columns: Mapping[str, Sequence[Any] | np.ndarray], read: Callable[[str], Any]
) -> pd.DataFrame:
    """Write a user's table and read it as `evaluate` does."""
    n = len(next(iter(columns.values())))
    rows = [{"study_id": f"s{row}", **{c: values[row] for c, values in columns.items()}} for row in range(n)]
    return read(MadeOutput(tmp_path).table(name, rows))


def covariates_in(
    tmp_path: Path, columns: Mapping[str, Sequence[Any] | np.ndarray], *, disclose: bool
) -> list[Covariate]:
    """Return the covariates of a user's table as `evaluate` makes them."""
    table = read_table(tmp_path, "covariates", columns, read_covariates)
    own = [name for name in table.columns if name not in ("study_id", "row_in_file")]
    names = DisplayNames(Pseudonymizer(KEY), disclose=disclose)
    shown = names.numbered("covariate", own)
    config = EvaluationConfig(resamples=100)
    made = [covariates_module._covariate(name, shown[name], table[name], names, config) for name in own]
    return [covariate for covariate in made if isinstance(covariate, Covariate)]


def renamed_sites(cohort: Cohort, names: Sequence[str]) -> list[str]:
    places = {site: name for site, name in zip(SITES, names, strict=True)}
    return [places[site] for site in cohort.site]


def reserved_covariate(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    name = str(rng.choice(OWN_ITEMS))
    spelling = (name, name.upper(), f" {name} ")[rng.integers(3)]
    return metrics_of(
        cohort, [*covariates_in(tmp_path, {spelling: cohort.site}, disclose=True), _number_of_images(cohort)]
    )


def alike_levels(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    sites = renamed_sites(cohort, ALIKE_SITES[rng.integers(len(ALIKE_SITES))])
    return metrics_of(cohort, covariates_in(tmp_path, {SITE: sites}, disclose=bool(rng.integers(2))))


def alike_limits(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    """Return metrics in which the limits of levels are equal unless shown with all their digits."""
    del tmp_path
    cuts = (1_000_000.25, 1_000_000.5, 1_000_000.75)
    pixels = 1_000_000 + rng.choice([0.0, 0.3, 0.6, 0.9], len(cohort.truth), p=rng.dirichlet([6, 4, 2, 0.6]))
    return metrics_of(cohort, [covariates_module._from_numbers("pixels", pixels, cuts, name_whole=False)])


def alike_columns(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    other = rng.permutation(cohort.site)
    name = ("Site", "site\u200b", " site ")[rng.integers(3)]
    return metrics_of(cohort, covariates_in(tmp_path, {SITE: cohort.site, name: other}, disclose=True))


def alike_points(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    del tmp_path
    given = zip(ALIKE_POINTS[rng.integers(len(ALIKE_POINTS))], (0.5, 0.5 + rng.uniform(0, 0.2)), strict=True)
    points = [{"name": name, "threshold": threshold, "chosen_on": "another cohort"} for name, threshold in given]
    config = EvaluationConfig(operating_points=points)
    return metrics_of(cohort, [], config.operating_points)


def alike_readers(rng: np.random.Generator, cohort: Cohort, tmp_path: Path) -> Tables:
    rows = []
    for reader in ALIKE_READERS[rng.integers(len(ALIKE_READERS))]:
        unread = rng.random(len(cohort.truth)) < rng.choice([0.0, 0.02, 0.2])
        wrong = rng.random(len(cohort.truth)) < 0.12
        rows += [
            {"study_id": f"s{study}", "reader": reader, "status": "read", "call": int(truth != wrong[study])}
            for study, truth in enumerate(cohort.truth)
            if not unread[study]
        ]
    table = read_readers(MadeOutput(tmp_path).table("readers", rows))
    return metrics_of(cohort, [], readers=list(_readers(table, len(cohort.truth))))


def _readers(table: pd.DataFrame, n: int) -> Iterator[Rater]:
    shown = DisplayNames(Pseudonymizer(KEY), disclose=True).readers(table["reader"].unique())
    for reader, own in table.groupby("reader", sort=False):
        call = np.full(n, np.nan)
        call[own["study_id"].str.removeprefix("s").astype(int)] = own["call"].astype(np.float64)
        yield Rater("reader", shown[str(reader)], call, np.where(np.isnan(call), NOT_READ, 0).astype(np.int8))


def _number_of_images(cohort: Cohort) -> Covariate:
    return covariates_module._from_numbers("number_of_images", cohort.images, (2, 3, 4), least=1)


KINDS = (reserved_covariate, alike_levels, alike_limits, alike_columns, alike_points, alike_readers)


def found_in(tables: Tables, levels: Mapping[str, Sequence[str]] | None = None) -> Iterator[str]:
    """Yield the small counts that an attacker recovers, who knows which of two things that look alike is which.

    Args:
        tables: The metrics.
        levels: The levels of the covariates to attack, by default all.
    """
    shared, _ = shareable_tables(tables, MIN_CELL)
    for name, count in (*attack(shared, min_cell=MIN_CELL), *small_counts_shown(shared, min_cell=MIN_CELL)):
        yield f"{name}: {count}"
    truth = _true_counts(tables)
    if levels is None:
        made = dict.fromkeys((covariate, level) for _, covariate, level, _ in truth if covariate is not None)
        levels = {covariate: [level for other, level in made if other == covariate] for covariate, _ in made}
    points = list(dict.fromkeys(row["operating_point"] for row in tables["estimates"] if row["operating_point"]))
    raters = dict.fromkeys(rater for rater, *_ in truth if rater not in ("model", STRICTER))
    attacker = Attacker(shared, levels, list(raters), points[-1] if len(points) > 1 else "none")
    places = dict.fromkeys(cell[:3] for cell in truth if cell[1] is None or cell[2] in levels[cell[1]])
    for place in places:
        for names in (*((name,) for name in CALLS), *OF_LABEL):
            cells = [(*place, name) for name in names]
            value = sum(truth.get(cell, 0) for cell in cells)
            if 0 < value < MIN_CELL:
                wanted: Terms = {("call", *cell): 1.0 for cell in cells}
                low, high = attacker.bounds(wanted)
                assert low - 1e-6 <= value <= high + 1e-6, "the attacker is wrong"
                if np.floor(high + 1e-6) - np.ceil(low - 1e-6) < 1:
                    yield f"{place} {names}: {value}"


def _true_counts(tables: Tables) -> dict[tuple[Any, ...], int]:
    """Return the counts of calls under the attacker's names."""
    rows = [row for row in tables["estimates"] if row["endpoint"] in CALLS and row["analysis_set"] == "determinate"]
    readers = sorted(
        {row["subject"] for row in rows if row["subject_kind"] == "reader"},
        key=lambda name: hashlib.sha256(name.encode()).digest(),
    )
    numbers = {name: f"reader {number}" for number, name in enumerate(readers, start=1)}
    point = next(row["operating_point"] for row in rows if row["operating_point"])
    counts = {}
    for row in rows:
        rater = numbers.get(row["subject"]) or ("model" if row["operating_point"] == point else STRICTER)
        counts[rater, row["covariate"], row["level"], row["endpoint"]] = int(row["value"])
    return counts


def outcome_of(seed: int, tmp_path: Path) -> tuple[str, list[str] | None]:
    """Return the kind of clash, and what an attacker finds; None if the names are refused."""
    kind = KINDS[seed % len(KINDS)]
    try:
        tables = kind(np.random.default_rng(seed), draw_cohort(seed), tmp_path)
        return kind.__name__, list(found_in(tables))
    except (DiagchdBatchError, ValueError):
        return kind.__name__, None


def check(seeds: range, tmp_path: Path) -> None:
    outcomes = [outcome_of(seed, tmp_path) for seed in seeds]
    assert not [found for _, found in outcomes if found]
    assert all(found is None for kind, found in outcomes if kind == "reserved_covariate")
    attacked = {kind for kind, found in outcomes if found is not None}
    assert {"alike_levels", "alike_limits", "alike_columns"} <= attacked


def test_no_small_count_follows_where_names_clash(tmp_path: Path) -> None:
    check(range(FEW), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_no_small_count_follows_where_names_of_many_cohorts_clash(tmp_path: Path) -> None:
    check(range(FEW, FEW + MANY), tmp_path)


def test_a_covariate_named_like_our_own_figures_reveals_small_counts_where_it_is_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation_inputs, "_RESERVED_COVARIATES", frozenset())
    assert list(_found_beside_our_own_figures(tmp_path))


def _found_beside_our_own_figures(tmp_path: Path) -> Iterator[str]:
    for seed in range(FEW):
        cohort = draw_cohort(seed)
        given = covariates_in(tmp_path, {"number_of_images": cohort.site}, disclose=True)
        try:
            yield from found_in(metrics_of(cohort, [*given, _number_of_images(cohort)]), {given[0].name: SITES})
        except UsageError:  # the two have a level in common
            continue


def equal_levels(cohort: Cohort) -> Tables:
    return metrics_of(cohort, [replace(_site(cohort), levels=("north", "east", "north", "missing"))])


def equal_covariates(cohort: Cohort) -> Tables:
    site = _site(cohort)
    return metrics_of(cohort, [site, replace(site, code=2 - site.code)])


def equal_points(cohort: Cohort) -> Tables:
    points = [OperatingPoint(name="strict", threshold=threshold, chosen_on="x") for threshold in (0.7, 0.5)]
    return metrics_of(cohort, [_site(cohort)], points)


def equal_readers(cohort: Cohort) -> Tables:
    read = np.zeros(len(cohort.truth), dtype=np.int8)
    wrong = np.random.default_rng(1).random(len(cohort.truth)) < 0.05
    calls = (np.where(wrong, 1 - cohort.truth, cohort.truth), np.arange(len(cohort.truth)) % 2.0)
    return metrics_of(cohort, [], readers=[Rater("reader", "Anna", call, read) for call in calls])


def _site(cohort: Cohort) -> Covariate:
    """Return the site with the rarest level first. The attack sees what is published in place of its count."""
    code = np.array([2 - SITES.index(site) for site in cohort.site])
    return Covariate(SITE, (*reversed(SITES), "missing"), code)


EQUAL = (equal_levels, equal_covariates, equal_points, equal_readers)
"""Metrics with two things of one name, as early versions made them."""


def shown_of(make: Callable[[Cohort], Tables], seed: int) -> list[tuple[str, int]] | None:
    """Return the small counts that an export shows; None if it is refused."""
    try:
        shared, _ = shareable_tables(make(draw_cohort(seed)), MIN_CELL)
    except UsageError:
        return None
    return [*attack(shared, min_cell=MIN_CELL), *small_counts_shown(shared, min_cell=MIN_CELL)]


@pytest.mark.parametrize("make", EQUAL)
def test_metrics_with_two_things_of_one_name_are_not_exported(make: Callable[[Cohort], Tables]) -> None:
    outcomes = [shown_of(make, seed) for seed in range(4)]
    assert None in outcomes
    assert not any(outcomes)


@pytest.mark.parametrize("make", EQUAL)
def test_the_attack_finds_counts_where_two_things_may_have_one_name(
    make: Callable[[Cohort], Tables], monkeypatch: pytest.MonkeyPatch
) -> None:
    def add(self: Counts, cell: object, value: int, rank: int = 0) -> None:
        self.values[cell], self.rank[cell] = value, rank

    checked = Publication._characteristic

    def unchecked(self: Publication, row: Mapping[str, Any]) -> dict[str, Any] | None:
        is_shown = row["statistic"] == "n" and self.is_public(characteristic_cell(row))
        return dict(row) if is_shown else checked(self, row)

    monkeypatch.setattr(Counts, "add", add)
    monkeypatch.setattr(Publication, "_characteristic", unchecked)
    monkeypatch.setattr(Publication, "_is_of_its_cells", lambda *_: True)
    assert any(shown_of(make, seed) for seed in range(8))
