"""Two exports of a cohort that has grown reveal no small count, neither of the cohort nor of what was added."""

from collections.abc import Hashable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diagchd_batch.errors import UsageError
from diagchd_batch.exports.disclosure.earlier_exports import (
    ExportRecord,
    read_earlier_exports,
    remember_export,
    with_earlier_exports,
)
from diagchd_batch.exports.disclosure.suppression import Counts, protect
from diagchd_batch.exports.shareable import _select
from diagchd_batch.storage import open_store
from tests.unit.exports.attacker import CALLS, Attacker, Terms, extremes
from tests.unit.exports.random_cohorts import Cohort, Tables, draw_cohort, metrics_of

MIN_CELL = 10
FEW, MANY = 2, 20
OF_LABEL = (("tp", "fn"), ("fp", "tn"))


class AttackerOfTwo:
    """Bounds counts of the first cohort (`part` 0) and of the studies added later (`part` 1) from both exports."""

    def __init__(self, exports: list[Tables], levels: list[dict[str, list[str]]]) -> None:
        both = [Attacker(export, own, []) for export, own in zip(exports, levels, strict=True)]
        names = list(dict.fromkeys(name for one in both for name in one._unknowns))
        self._place: dict[Hashable, int] = {name: number for number, name in enumerate(names)}
        zeros = np.zeros(len(names))
        self._equal: list[np.ndarray] = []
        self._known: list[float] = []
        self._at_most: list[np.ndarray] = []
        for is_second, one in enumerate(both):
            for terms, value in one._equal:
                vector = self._vector(terms)
                self._equal.append(np.concatenate([vector, vector if is_second else zeros]))
                self._known.append(value)
            for terms in one._at_most:
                vector = self._vector(terms)
                self._at_most.append(np.concatenate([vector, vector if is_second else zeros]))

    def bounds(self, wanted: Terms, parts: tuple[int, ...]) -> tuple[float, float]:
        vector = self._vector(wanted)
        aim = np.concatenate([vector if part in parts else 0 * vector for part in (0, 1)])
        return extremes(aim, self._equal, self._known, self._at_most)

    def _vector(self, terms: Terms) -> np.ndarray:
        vector = np.zeros(len(self._place))
        for name, factor in terms.items():
            vector[self._place[name]] += factor
        return vector


def true_counts(tables: Tables) -> dict[tuple[Any, ...], int]:
    return {
        (row["covariate"], row["level"], row["endpoint"]): int(row["value"])
        for row in tables["estimates"]
        if row["endpoint"] in CALLS and row["unit"] == "study" and row["analysis_set"] == "determinate"
    }


def levels_of(counts: dict[tuple[Any, ...], int]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}
    for covariate, level, _ in counts:
        if covariate is not None:
            found.setdefault(covariate, {})[level] = None
    return {covariate: list(levels) for covariate, levels in found.items()}


def two_cohorts(seed: int) -> tuple[Cohort, Cohort]:
    """Return a random cohort without its last few or many studies, and the whole one."""
    rng = np.random.default_rng(1000 + seed)
    whole = draw_cohort(seed)
    n_added = int(rng.choice([1, rng.integers(2, 10), rng.integers(10, 30)]))  # type: ignore[arg-type]
    kept = np.sort(rng.permutation(len(whole.truth))[n_added:])
    return whole.take(kept), whole


@lru_cache(maxsize=FEW)
def metrics_of_both(seed: int) -> tuple[Tables, Tables]:
    first, whole = two_cohorts(seed)
    return metrics_of(first), metrics_of(whole)


def recovered(seed: int, *, remembers: bool) -> Iterator[str]:
    """Yield the small counts that follow for the earlier cohort, the later one or the added studies."""
    raw = metrics_of_both(seed)
    first, _, record = _select(raw[0], MIN_CELL, ())
    record = ExportRecord.from_json(record.to_json(), "record")
    second, _, _ = _select(raw[1], MIN_CELL, [record] if remembers else [])
    before, now = map(true_counts, raw)
    attacker = AttackerOfTwo([first, second], [levels_of(before), levels_of(now)])
    places = dict.fromkeys((covariate, level) for covariate, level, _ in now if (covariate, level, "tp") in before)
    for covariate, level in places:
        for names in (*((name,) for name in CALLS), *OF_LABEL, tuple(CALLS)):
            cells = [(covariate, level, name) for name in names]
            n_before, n_now = (sum(counts.get(cell, 0) for cell in cells) for counts in (before, now))
            wanted: Terms = {("call", "model", *cell): 1.0 for cell in cells}
            for parts, value in (((0,), n_before), ((1,), n_now - n_before), ((0, 1), n_now)):
                if 0 < value < MIN_CELL:
                    low, high = attacker.bounds(wanted, parts)
                    assert low - 1e-6 <= value <= high + 1e-6, "the attacker is wrong"
                    if np.floor(high + 1e-6) - np.ceil(low - 1e-6) < 1:
                        yield f"{seed} {covariate} {level} {names} of parts {parts}: {value}"


def test_two_exports_reveal_no_small_count() -> None:
    assert not [found for seed in range(FEW) for found in recovered(seed, remembers=True)]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_exports_of_many_random_cohorts_reveal_no_small_count() -> None:
    assert not [found for seed in range(FEW, FEW + MANY) for found in recovered(seed, remembers=True)]


def test_the_attack_finds_what_was_added_where_exports_do_not_know_of_each_other() -> None:
    assert any("of parts (1,)" in found for seed in range(FEW) for found in recovered(seed, remembers=False))


def counts(**values: int) -> Counts:
    made = Counts()
    for name, value in values.items():
        made.add(("flow", name), value)
    made.add_sum(("flow", "planned"), [("flow", name) for name in values if name != "planned"])
    return made


def record_of(made: Counts, withheld: set[Any], **fields: Any) -> ExportRecord:
    given = {"run_id": "r", "exported_at": "2026-11-27T00:00:00+00:00", "min_cell": MIN_CELL, "readers": {}}
    return ExportRecord.of(made, withheld, **{**given, **fields})


def test_records_of_a_lineage_are_read_in_order_until_the_owner_forgets_them(tmp_path: Path) -> None:
    private = open_store(str(tmp_path), owner_only=True)
    made = counts(planned=50, analysed=30, failed=20)
    for number in range(3):
        remember_export(private, "first", record_of(made, set(), run_id=f"run {number}"))
    remember_export(private, "another", record_of(made, set()))
    assert [record.run_id for record in read_earlier_exports(private, "first")] == ["run 0", "run 1", "run 2"]
    remember_export(private, "first", record_of(made, set(), run_id="run 3", forgets_earlier=True))
    assert [record.run_id for record in read_earlier_exports(private, "first")] == ["run 3"]
    (again,) = read_earlier_exports(private, "another")
    assert again.counts() == made


def levels(name: str, values: dict[str, int]) -> Counts:
    made = Counts()
    made.add(("characteristics", "studies", None, "all"), sum(values.values()))
    for level, value in values.items():
        made.add(("characteristics", name, level, "all"), value)
    made.add_sum(("characteristics", "studies", None, "all"), [cell for cell in made.values if cell[2]])
    return made


@pytest.mark.parametrize(
    ("before", "now", "is_withheld"),
    [
        ({"< 26": 50, "≥ 26": 50}, {"< 25.7": 50, "≥ 25.7": 50}, True),
        ({"20 to 30": 50, "other": 50}, {"20 to < 31": 50, "other": 50}, True),
        ({"site level 1": 50, "site level 2": 50}, {"site level 1": 50, "site level 2": 50, "site level 3": 40}, True),
        ({"site level 1": 50, "site level 2": 50}, {"site level 1": 50, "site level 2": 70}, False),
        ({"north": 50, "south": 50}, {"north": 50, "south": 50, "east": 40}, False),
    ],
)
def test_levels_whose_limits_or_numbers_have_changed_are_withheld(
    before: dict[str, int], now: dict[str, int], is_withheld: bool
) -> None:
    later = levels("site", now)
    joint = with_earlier_exports(later, [record_of(levels("site", before), set())])
    withheld = protect(joint, MIN_CELL) & later.values.keys()
    assert withheld == ({cell for cell in later.values if cell[2]} if is_withheld else set())


def test_what_an_earlier_export_revealed_is_refused_with_the_ways_on() -> None:
    made = counts(planned=50, analysed=43, failed=7)
    generous = record_of(made, set(), min_cell=5)
    with pytest.raises(UsageError, match=r"--min-cell.*--forget-earlier"):
        protect(with_earlier_exports(made, [generous]), MIN_CELL)
    assert not protect(with_earlier_exports(made, [generous]), 5)


@pytest.mark.parametrize(("n_added", "is_withheld"), [(0, False), (1, True), (9, True), (10, False)])
def test_a_total_is_withheld_while_few_studies_were_added(n_added: int, is_withheld: bool) -> None:
    before, now = (
        counts(planned=50, analysed=30, failed=20),
        counts(planned=50 + n_added, analysed=30 + n_added, failed=20),
    )
    withheld = protect(with_earlier_exports(now, [record_of(before, set())]), MIN_CELL) & now.values.keys()
    assert (("flow", "planned") in withheld, ("flow", "analysed") in withheld) == (is_withheld, is_withheld)
    assert ("flow", "failed") not in withheld
