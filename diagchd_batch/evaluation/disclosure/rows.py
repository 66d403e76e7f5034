"""Which rows of the tables may be published: those made of published counts alone."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from diagchd_batch.evaluation.disclosure.cells import (
    ARM,
    CALLS,
    MAIN_SET,
    TOTALS,
    Row,
    Tables,
    call_cell,
    characteristic_cell,
    flow_cell,
    total_cell,
)
from diagchd_batch.evaluation.disclosure.suppression import Cell, Counts, is_small

NEVER_PUBLISHED = ("n_excluded", "excluded_reasons")
"""Columns of `estimates` and `comparisons` that are left out: their small counts would follow from the others."""

_OF_CALLS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in CALLS},
    "sensitivity": ("tp", "fn"),
    "specificity": ("fp", "tn"),
    "sensitivity_interaction": ("tp", "fn"),
    "specificity_interaction": ("fp", "tn"),
}
_CALL_NAMES = {
    ("positive", "positive"): "tp",
    ("positive", "negative"): "fn",
    ("negative", "positive"): "fp",
    ("negative", "negative"): "tn",
}
"""By reference label and call."""

_OF_SCORES = (
    "roc_auc",
    "average_precision",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "expected_calibration_error",
    "prevalence",
    "roc_auc_interaction",
)
_SINGLE_UNITS = ("_minimum", "_maximum")
_RATERS_OF_A_GROUP = 3
"""From a coefficient of two raters their cross table could be worked out."""


class Publication:
    """Decides row by row. `n_withheld` counts what was not let through, by table."""

    def __init__(self, tables: Tables, counts: Counts, withheld: set[Cell], min_cell: int) -> None:
        self._tables = tables
        self._counts = counts
        self._withheld = withheld
        self._min_cell = min_cell
        self._open_pairs = self._publishable_pairs(tables["cross_tabulation"])
        counted = [cell for cell in counts.values if cell[0] == "calls"]
        self._readers = {cell[4] for cell in counted if cell[3] == "reader"}
        self._covariates = {cell[5] for cell in counted} - {None}
        self.n_withheld: dict[str, int] = {}

    def is_public(self, cell: Cell) -> bool:
        return cell in self._counts.values and cell not in self._withheld

    def value(self, cell: Cell) -> int | None:
        """The count, if it is published."""
        return self._counts.values[cell] if self.is_public(cell) else None

    def estimates(self) -> list[dict[str, Any]]:
        return self._let_through("estimates", map(self._estimate, self._tables["estimates"]))

    def comparisons(self) -> list[dict[str, Any]]:
        return self._let_through("comparisons", map(self._comparison, self._tables["comparisons"]))

    def cross_tabulation(self) -> list[dict[str, Any]]:
        """Whole tables of two raters; against the reference label only what TP, FN, FP and TN are, too."""
        return self._let_through("cross_tabulation", map(self._cross_row, self._tables["cross_tabulation"]))

    def flow(self) -> list[dict[str, Any]]:
        """The cohort's steps, without the reasons, labels and readers into which they are divided."""
        rows = [
            {"step": row["step"], "name": row["name"], "n_studies": self.value(flow_cell(row["name"]))}
            for row in self._tables["flow"]
            if row["reason"] is None and row["subject_kind"] is None and row["n_studies"] is not None
        ]
        self.n_withheld["flow"] = sum(row["n_studies"] is None for row in rows)
        return rows

    def cohort_characteristics(self) -> list[dict[str, Any]]:
        return self._let_through(
            "cohort_characteristics", map(self._characteristic, self._tables["cohort_characteristics"])
        )

    def _let_through(self, table: str, rows: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
        every = list(rows)
        kept = [row for row in every if row is not None]
        self.n_withheld[table] = len(every) - len(kept)
        return kept

    def _estimate(self, row: Row) -> dict[str, Any] | None:
        if row["endpoint"] == "indeterminate" or self._tells_a_small_count(row):
            return None
        if row["analysis_set"] == MAIN_SET:
            needed = self._rates_of(row, row["subject_kind"], row["subject"])
            return self._cleaned(row) if self._all_public(needed) else None
        if row["analysis_set"] == "agreement":
            return self._agreement(row)
        if row["analysis_set"] in ("segmentation", "original"):
            return self._of_images(row)
        return None  # sensitivity analyses differ from the main one by the few indeterminate units

    def _tells_a_small_count(self, row: Row) -> bool:
        k, n = row["numerator"], row["denominator"]
        return k is not None and n is not None and (is_small(k, self._min_cell) or is_small(n - k, self._min_cell))

    def _comparison(self, row: Row) -> dict[str, Any] | None:
        if row["analysis_set"] != MAIN_SET:
            return None
        paired = row["comparator_kind"] in ("reader", "majority") and row["endpoint"] not in _OF_SCORES
        if paired and _pair(row) not in self._open_pairs:
            return None  # a paired test tells the cells in which the two differ
        needed = list(self._rates_of(row, row["subject_kind"], row["subject"]))
        if row["comparator_kind"]:
            needed += self._rates_of(row, row["comparator_kind"], row["comparator"])
        return self._cleaned(row) if self._all_public(needed) else None

    def _rates_of(self, row: Row, kind: str, subject: str) -> Iterator[Cell]:
        """The counts that a figure of this rater is made of; of a group, those of each reader."""
        if kind == "readers_mean":
            for reader in sorted(self._readers):
                yield from self._rates_of(row, "reader", reader)
            return
        for place in self._levels(row):
            if row["endpoint"] in _OF_SCORES:
                names: Sequence[str] = ("n_positive", "n_negative")
                yield from (total_cell(place, name, kind=kind, subject=subject) for name in names)
            else:
                names = _OF_CALLS.get(row["endpoint"], CALLS)
                yield from (call_cell(place, name, kind=kind, subject=subject) for name in names)

    def _levels(self, row: Row) -> list[Row]:
        """The row's own level; all levels for a test over them; no level where the column holds a parameter."""
        if row["covariate"] not in self._covariates:
            return [_overall(row)]
        if row["covariate"] != ARM and row["level"] is not None:
            return [row]
        levels = sorted({cell[6] for cell in self._counts.values if cell[0] == "calls" and cell[5] == row["covariate"]})
        return [{**row, "level": level} for level in levels if row["level"] in (None, level) or " − " in row["level"]]

    def _publishable_pairs(self, rows: Sequence[Row]) -> set[tuple]:
        """Pairs of raters whose cross table has no small cell and tells no withheld count."""
        pairs: dict[tuple, list[Row]] = defaultdict(list)
        for row in rows:
            if row["comparator_kind"] != "reference":
                pairs[_pair(row)].append(row)
        return {
            pair
            for pair, own in pairs.items()
            if not any(is_small(row["n"], self._min_cell) for row in own)
            and self._all_public(cell for row in own for cell in _calls_of_both(row))
        }

    def _cross_row(self, row: Row) -> dict[str, Any] | None:
        if row["comparator_kind"] != "reference":
            return dict(row) if _pair(row) in self._open_pairs else None
        name = _CALL_NAMES.get((row["reference_label"], row["call"]))
        cell = call_cell(_overall(row), name) if name else None
        return dict(row) if cell and self.value(cell) == row["n"] else None

    def _agreement(self, row: Row) -> dict[str, Any] | None:
        if row["comparator_kind"]:
            return self._cleaned(row) if _pair(row) in self._open_pairs else None
        n_raters = len(self._readers) + (row["subject_kind"] == "readers_and_model")
        if n_raters < _RATERS_OF_A_GROUP or (row["n_units"] or 0) < self._min_cell:
            return None
        return {**self._cleaned(row), **dict.fromkeys((*TOTALS, "n_subjects", "numerator", "denominator"))}

    def _of_images(self, row: Row) -> dict[str, Any] | None:
        if row["endpoint"].startswith("class_"):
            calls = [call_cell(_overall(row), name) for name in CALLS]
            return self._cleaned(row) if self._all_public(calls) else None
        single = row["endpoint"].endswith(_SINGLE_UNITS) or row["endpoint"].startswith("n_")
        if single or (row["n_units"] or 0) < self._min_cell:
            return None
        n_images = max(other["n_units"] or 0 for other in self._tables["estimates"] if _same_images(other, row))
        shown = {"n_units": n_images if row["n_units"] == n_images else None}
        return {**self._cleaned(row), **dict.fromkeys((*TOTALS, "n_subjects", "numerator", "denominator")), **shown}

    def _characteristic(self, row: Row) -> dict[str, Any] | None:
        count = characteristic_cell({**row, "statistic": "n"})
        total = characteristic_cell({**row, "variable": "studies", "level": None})
        if row["statistic"] == "n":
            return {**row, "n": self.value(total)} if self.is_public(count) else None
        if row["statistic"] in ("minimum", "maximum"):
            return None
        if row["level"] is not None:  # a share
            return dict(row) if self._all_public((count, total)) else None
        if row["group"] == "all" and is_small(self._without_group(row), self._min_cell):
            return None  # the few without a reference label are what lies between this and the groups' own
        n_all = self._counts.values.get(total, 0)
        shown = self.is_public(total) and not is_small(n_all - row["n"], self._min_cell)
        return {**row, "n": row["n"] if shown else None} if row["n"] >= self._min_cell else None

    def _without_group(self, row: Row) -> int:
        """How many units have the number but are neither diseased nor healthy."""
        same = [
            other
            for other in self._tables["cohort_characteristics"]
            if (other["variable"], other["statistic"]) == (row["variable"], row["statistic"]) and other["level"] is None
        ]
        return row["n"] - sum(other["n"] for other in same if other["group"] in ("positive", "negative"))

    def _all_public(self, cells: Iterable[Cell]) -> bool:
        return all(map(self.is_public, cells))

    def _cleaned(self, row: Row) -> dict[str, Any]:
        """Without the columns that would tell a withheld count."""
        kept = {name: value for name, value in row.items() if name not in NEVER_PUBLISHED}
        if row["analysis_set"] == MAIN_SET:
            place = self._levels(row)[0]
            for name in TOTALS:
                if row[name] != self.value(total_cell(place, name)):
                    kept[name] = None
        n_units, n_subjects = row["n_units"] or 0, row["n_subjects"] or 0
        if any(is_small(n, self._min_cell) for n in (n_subjects, n_units - n_subjects)) or kept["n_units"] is None:
            kept["n_subjects"] = None
        return kept


def _pair(row: Row) -> tuple:
    return tuple(
        row[name] for name in ("unit", "operating_point", "subject_kind", "subject", "comparator_kind", "comparator")
    )


def _overall(row: Row) -> dict[str, Any]:
    return {**row, "covariate": None, "level": None}


def _calls_of_both(row: Row) -> Iterator[Cell]:
    """The calls that a row of a cross table of two raters adds to."""
    raters = (
        (row["subject_kind"], row["subject"], row["call"]),
        (row["comparator_kind"], row["comparator"], row["comparator_call"]),
    )
    for kind, subject, call in raters:
        if name := _CALL_NAMES.get((row["reference_label"], call)):
            yield call_cell(_overall(row), name, kind=kind, subject=subject)


def _same_images(other: Row, row: Row) -> bool:
    return (other["analysis_set"], other["unit"]) == (row["analysis_set"], row["unit"])
