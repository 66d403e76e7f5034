"""Selects the rows of the tables that may be published: those computed from published counts alone."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

from diagchd_batch.evaluation.performance.target_prevalence import REWEIGHTED
from diagchd_batch.evaluation.tables.display_names import MISSING
from diagchd_batch.exports.disclosure.disclosive_agreement import disclosive_groups
from diagchd_batch.exports.disclosure.repeated_subjects import few_repeats, without_cluster
from diagchd_batch.exports.disclosure.suppression import Cell, Counts, is_small
from diagchd_batch.exports.disclosure.table_counts import (
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
from diagchd_batch.statistics.classification.confusion import PROPORTION_CELLS

NEVER_PUBLISHED = ("n_excluded", "excluded_reasons", "degenerate_resamples", "n_denominator_subjects", "caution")
"""Columns of `estimates` and `comparisons` that are left out. They reveal small counts that nothing else reveals."""

_OF_CALLS: Mapping[str, tuple[str, ...]] = {
    **{name: (name,) for name in CALLS},
    "sensitivity": ("tp", "fn"),
    "specificity": ("fp", "tn"),
    "sensitivity_interaction": ("tp", "fn"),
    "specificity_interaction": ("fp", "tn"),
}
_OF_ONE_CLASS: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("tp", "fn", "fp", "tn"), ()),
    **dict.fromkeys(("sensitivity", "sensitivity_interaction"), ("n_positive",)),
    **dict.fromkeys(("specificity", "specificity_interaction"), ("n_negative",)),
}
_CALL_NAMES = {
    ("positive", "positive"): "tp",
    ("positive", "negative"): "fn",
    ("negative", "positive"): "fp",
    ("negative", "negative"): "tn",
}
"""By reference label and call."""

_CELLS = ("tp", "fp", "fn", "tn")
"""In the order of `PROPORTION_CELLS`."""

_OF_SCORES = (
    "roc_auc",
    "average_precision",
    "brier",
    "calibration_intercept",
    "calibration_slope",
    "expected_calibration_error",
    "roc_auc_interaction",
    *(f"{name}_calibrated" for name in ("brier", "calibration_intercept", "calibration_slope")),
    "expected_calibration_error_calibrated",
)
_OF_TOTALS = ("prevalence",)
_NEVER_SHARED = ("indeterminate", "abstention_area", *(f"{name}_at_prevalence" for name in REWEIGHTED))
"""Endpoints of no published row. Beside the figure as observed, a reweighted one tells what each class contributes. An
area under an abstention curve tells how single wrong calls are ordered."""

_SINGLE_UNITS = ("minimum", "maximum")
_PARTS_OF_QUANTILES = {"q1": 4, "median": 2, "q3": 4}
"""Number of parts into which a quantile divides the units. Each part has to be large."""

_SHARES_BELOW = {"q1": 0.25, "median": 0.5, "q3": 0.75}

_FAMILY = ("family", "analysis_set", "unit", "operating_point", "generalises_to")
"""Columns that define the families within which p values are adjusted."""

_RATERS_OF_A_GROUP = 3
"""With two raters, their cross table could be worked out from a coefficient."""


class Publication:
    """Decides row by row what is published.

    Args:
        tables: The rows of all shared tables, with readers as numbers.
        counts: The counts behind them.
        withheld: The counts to withhold, from `suppression.protect`.
        min_cell: Counts from 1 to below this number are small.

    Attributes:
        n_withheld: Number of withheld rows, or counts of the flow, by table.
    """

    def __init__(self, tables: Tables, counts: Counts, withheld: set[Cell], min_cell: int) -> None:
        self._tables = tables
        self._counts = counts
        self._withheld = withheld
        self._min_cell = min_cell
        self._open_pairs = self._publishable_pairs(tables["cross_tabulation"])
        pairs = ((pair[1], frozenset((pair[2:4], pair[4:6]))) for pair in self._open_pairs)
        self._disclosive_groups = disclosive_groups(tables, pairs, min_cell)
        counted = [cell for cell in counts.values if cell[0] == "calls"]
        self._readers = {cell[4] for cell in counted if cell[3] == "reader"}
        self._covariates = {cell[5] for cell in counted} - {None}
        self._few_repeats = few_repeats(tables["estimates"], min_cell)
        self.n_withheld: dict[str, int] = {}

    def is_public(self, cell: Cell) -> bool:
        """Return whether a count is published."""
        return cell in self._counts.values and cell not in self._withheld

    def value(self, cell: Cell) -> int | None:
        """Return a count if it is published, else None."""
        return self._counts.values[cell] if self.is_public(cell) else None

    def estimates(self) -> list[dict[str, Any]]:
        """Return the rows of `estimates` to publish."""
        return self._keep_published(
            "estimates", map(self._without_few_repeats, map(self._estimate, self._tables["estimates"]))
        )

    def comparisons(self) -> list[dict[str, Any]]:
        """Return the rows of `comparisons` to publish."""
        shown = map(self._without_few_repeats, map(self._comparison, self._tables["comparisons"]))
        rows = self._keep_published("comparisons", shown)
        n_shown, n_made = (Counter(map(_family, t)) for t in (rows, self._tables["comparisons"]))
        # An adjusted p can equal the p of another row in the family, which may be withheld.
        return [row if n_shown[_family(row)] == n_made[_family(row)] else {**row, "p_adjusted": None} for row in rows]

    def cross_tabulation(self) -> list[dict[str, Any]]:
        """Return the cross tables to publish.

        Those of two raters are whole; rows against the label are TP, FN, FP and TN only.
        """
        return self._keep_published("cross_tabulation", map(self._cross_row, self._tables["cross_tabulation"]))

    def flow(self) -> list[dict[str, Any]]:
        """Return the cohort's steps, without the reasons, labels and readers into which they are divided."""
        rows = [
            {"step": row["step"], "name": row["name"], "n_studies": self.value(flow_cell(row["name"]))}
            for row in self._tables["flow"]
            if row["reason"] is None and row["subject_kind"] is None and row["n_studies"] is not None
        ]
        self.n_withheld["flow"] = sum(row["n_studies"] is None for row in rows)
        return rows

    def cohort_characteristics(self) -> list[dict[str, Any]]:
        """Return the rows of `cohort_characteristics` to publish."""
        return self._keep_published(
            "cohort_characteristics", map(self._characteristic, self._tables["cohort_characteristics"])
        )

    def _without_few_repeats(self, row: dict[str, Any] | None) -> dict[str, Any] | None:
        return without_cluster(row) if row is not None and self._few_repeats and row["unit"] == "study" else row

    def _keep_published(self, table: str, rows: Iterable[dict[str, Any] | None]) -> list[dict[str, Any]]:
        every = list(rows)
        kept = [row for row in every if row is not None]
        self.n_withheld[table] = len(every) - len(kept)
        return kept

    def _estimate(self, row: Row) -> dict[str, Any] | None:
        if row["endpoint"] in _NEVER_SHARED or self._tells_a_small_count(row):
            return None
        if row["analysis_set"] == MAIN_SET:
            return self._cleaned(row) if self._may_be_known(row) and self._is_of_its_cells(row) else None
        if row["analysis_set"] == "agreement":
            return self._agreement(row)
        if row["analysis_set"] in ("segmentation", "original"):
            return self._of_images(row)
        return None  # sensitivity analyses differ from the main analysis by the few indeterminate units

    def _is_of_its_cells(self, row: Row) -> bool:
        """Return whether a count or a proportion is computed from the very counts that were found to be public."""
        if row["unit"] != "study" or (row["endpoint"] not in CALLS and row["numerator"] is None):
            return True
        place = self._levels(row)[0]
        if row["endpoint"] in CALLS:
            return row["value"] == self.value(call_cell(place, row["endpoint"]))
        shown = (row["numerator"], row["denominator"])
        return row["endpoint"] not in PROPORTION_CELLS or shown == tuple(
            sum(self.value(call_cell(place, _CELLS[cell])) or 0 for cell in cells)
            for cells in PROPORTION_CELLS[row["endpoint"]]
        )

    def _tells_a_small_count(self, row: Row) -> bool:
        k, n = row["numerator"], row["denominator"]
        return k is not None and n is not None and (is_small(k, self._min_cell) or is_small(n - k, self._min_cell))

    def _comparison(self, row: Row) -> dict[str, Any] | None:
        if row["analysis_set"] != MAIN_SET:
            return None
        paired = row["comparator_kind"] in ("reader", "majority") and row["endpoint"] not in _OF_SCORES
        if paired and (_pair(row) not in self._open_pairs or row["covariate"]):
            return None  # a paired test reveals the cells in which the two raters differ
        return self._cleaned(row) if self._may_be_known(row) else None

    def _may_be_known(self, row: Row) -> bool:
        """Return whether all counts behind a figure are published, and the figure is about the same studies."""
        raters = [(row["subject_kind"], row["subject"])]
        if row["comparator_kind"]:
            raters.append((row["comparator_kind"], row["comparator"]))
        return all(
            self._all_public(self._rates_of(row, kind, subject)) and self._is_of_all(row, kind, subject)
            for kind, subject in raters
        )

    def _is_of_all(self, row: Row, kind: str, subject: str) -> bool:
        """Return whether no small group lies between the rater's studies and those of the figure."""
        if kind == "readers_mean":
            return all(self._is_of_all(row, "reader", reader) for reader in self._readers)
        places = [_overall(row)] if row["level"] is None and row["covariate"] != ARM else self._levels(row)
        between = (
            self._counts.values.get(total_cell(place, name, kind=kind, subject=subject), 0) - row[name]
            for place in places
            for name in ("n_positive", "n_negative")
            if row[name] is not None
        )
        return not any(is_small(abs(n), self._min_cell) for n in between)

    def _rates_of(self, row: Row, kind: str, subject: str) -> Iterator[Cell]:
        """Yield the counts behind a figure of this rater. For a group, they are those of each reader."""
        if kind == "readers_mean":
            for reader in sorted(self._readers):
                yield from self._rates_of(row, "reader", reader)
            return
        for place in self._levels(row):
            totals = _OF_ONE_CLASS.get(row["endpoint"], ("n_positive", "n_negative"))
            yield from (total_cell(place, name, kind=kind, subject=subject) for name in totals)
            # A reader's score has few steps, so its AUC reveals nearly as much as the calls do.
            if row["endpoint"] not in _OF_TOTALS and not (row["endpoint"] in _OF_SCORES and kind == "model"):
                names = CALLS if row["endpoint"] in _OF_SCORES else _OF_CALLS.get(row["endpoint"], CALLS)
                yield from (call_cell(place, name, kind=kind, subject=subject) for name in names)

    def _levels(self, row: Row) -> list[Row]:
        """Return rows at the levels that a figure is computed from.

        These are its own level, or all levels for a test over them. A row whose column `level` holds a parameter, such
        as a prevalence, has no level.
        """
        if row["covariate"] not in self._covariates:
            return [_overall(row)]
        if row["covariate"] != ARM and row["level"] is not None:
            return [row]
        levels = sorted({cell[6] for cell in self._counts.values if cell[0] == "calls" and cell[5] == row["covariate"]})
        of_arms = row["covariate"] == ARM and " − " in (row["level"] or "")
        first_arm = [_overall(row)] if of_arms else []  # the rows of the first arm have no covariate
        return first_arm + [{**row, "level": level} for level in levels if row["level"] in (None, level) or of_arms]

    def _publishable_pairs(self, rows: Sequence[Row]) -> set[tuple[Any, ...]]:
        """Return the pairs of raters whose cross table has no small cell and reveals no withheld count."""
        pairs: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
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
        name = _CALL_NAMES.get((row["reference_call"], row["call"]))
        cell = call_cell(_overall(row), name) if name else None
        return dict(row) if cell and self.value(cell) == row["n"] else None

    def _agreement(self, row: Row) -> dict[str, Any] | None:
        if row["comparator_kind"]:
            return self._cleaned(row) if _pair(row) in self._open_pairs else None
        is_group = row["subject_kind"] == "readers" and len(self._readers) >= _RATERS_OF_A_GROUP
        if not is_group or row["subject"] in self._disclosive_groups or not self._is_of_many(row):
            return None
        return {**self._cleaned(row), **dict.fromkeys((*TOTALS, "n_subjects", "numerator", "denominator"))}

    def _of_images(self, row: Row) -> dict[str, Any] | None:
        """Return a segmentation row without counts of images, which can all be of a few people."""
        counts_images = row["endpoint"].startswith(("class_", "n_"))
        statistic = row["endpoint"].rpartition("_")[2]
        if counts_images or statistic in _SINGLE_UNITS or not self._is_of_many(row, _PARTS_OF_QUANTILES.get(statistic)):
            return None
        n_images = max(other["n_units"] or 0 for other in self._tables["estimates"] if _same_images(other, row))
        shown = {"n_units": n_images if row["n_units"] == n_images else None}
        return {**self._cleaned(row), **dict.fromkeys((*TOTALS, "n_subjects", "numerator", "denominator")), **shown}

    def _is_of_many(self, row: Row, parts: int | None = None) -> bool:
        """Return whether enough people are in each of the `parts` into which a figure divides them."""
        least = min((row[name] for name in ("n_units", "n_subjects") if row[name] is not None), default=0)
        return least >= (parts or 1) * self._min_cell

    def _characteristic(self, row: Row) -> dict[str, Any] | None:
        count = characteristic_cell({**row, "statistic": "n"})
        total = characteristic_cell({**row, "variable": "studies", "level": None})
        if row["statistic"] == "n":
            return {**row, "n": self.value(total)} if self.value(count) == row["value"] else None
        if row["level"] is not None:  # a share
            n_level, n_all = self.value(count), self.value(total)
            return dict(row) if n_level is not None and n_all and row["value"] == n_level / n_all else None
        if row["statistic"] in _SINGLE_UNITS or not self._is_of_large_groups(row) or not self._is_of_known_levels(row):
            return None
        return dict(row)

    def _is_of_known_levels(self, row: Row) -> bool:
        """Return whether all levels of a numeric covariate are published, and a quantile keeps away from their limits.

        The mean and the standard deviation of whole numbers tell how many values are missing, and how many of few
        different values there are. A quantile and the limit of a level enclose a group, which has to be large.
        """
        total = characteristic_cell({**row, "variable": "studies", "level": None})
        levels = [cell for cell in self._counts.values if self._is_level_of(cell, row)]
        if not self._all_public((total, *levels)):
            return False
        if (share := _SHARES_BELOW.get(row["statistic"])) is None:
            return True
        below = accumulate(self._counts.values[cell] for cell in levels if cell[2] != MISSING)
        return all(n in (0, row["n"]) or abs(n - share * row["n"]) >= self._min_cell for n in below)

    def _is_level_of(self, cell: Cell, row: Row) -> bool:
        place = (cell[0], cell[1], cell[3]) if cell[0] == "characteristics" else None
        return place == ("characteristics", row["variable"], row["group"]) and cell[2] is not None

    def _is_of_large_groups(self, row: Row) -> bool:
        """Return whether the group is large, and figures of all studies and of other groups reveal no small group."""
        n_of = {
            other["group"]: other["n"]
            for other in self._tables["cohort_characteristics"]
            if (other["variable"], other["statistic"], other["level"]) == (row["variable"], row["statistic"], None)
        }
        parts = _PARTS_OF_QUANTILES.get(row["statistic"], 1)
        of_two = row["group"] in ("positive", "negative")
        others = [n for group, n in n_of.items() if group != "all"] if not of_two else []
        return row["n"] >= parts * self._min_cell and not any(is_small(n, self._min_cell) for n in others)

    def _all_public(self, cells: Iterable[Cell]) -> bool:
        return all(map(self.is_public, cells))

    def _cleaned(self, row: Row) -> dict[str, Any]:
        """Return the row without the columns that would reveal a withheld count."""
        kept = {name: value for name, value in row.items() if name not in NEVER_PUBLISHED}
        if row["analysis_set"] == MAIN_SET:
            place = self._levels(row)[0]
            for name in TOTALS:
                if row[name] != self.value(total_cell(place, name)):
                    kept[name] = None
        n_units, n_subjects = row["n_units"] or 0, row["n_subjects"] or 0
        of_cohort = row["subject_kind"] == "model" and not row["comparator_kind"] and not row["covariate"]
        repeated = is_small(n_units - n_subjects, self._min_cell)
        if not of_cohort or repeated or kept["n_units"] is None:
            kept["n_subjects"] = None
        return kept


def _pair(row: Row) -> tuple[Any, ...]:
    return tuple(
        row[name] for name in ("unit", "operating_point", "subject_kind", "subject", "comparator_kind", "comparator")
    )


def _family(row: Row) -> tuple[Any, ...]:
    return tuple(row[name] for name in _FAMILY)


def _overall(row: Row) -> dict[str, Any]:
    return {**row, "covariate": None, "level": None}


def _calls_of_both(row: Row) -> Iterator[Cell]:
    """Yield the counts of calls that a row of a cross table of two raters is part of."""
    raters = (
        (row["subject_kind"], row["subject"], row["call"]),
        (row["comparator_kind"], row["comparator"], row["comparator_call"]),
    )
    for kind, subject, call in raters:
        if name := _CALL_NAMES.get((row["reference_call"], call)):
            yield call_cell(_overall(row), name, kind=kind, subject=subject)


def _same_images(other: Row, row: Row) -> bool:
    return (other["analysis_set"], other["unit"]) == (row["analysis_set"], row["unit"])
