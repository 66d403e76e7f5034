"""The counts behind the metrics tables, and the sums among them that whoever reads the tables can state.

Only studies are counted, because a dozen images can be of one person. Cross tables are not among the counts. They are
published whole or not at all (see `publishable_rows`), so that nobody knows which of their cells are empty.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from diagchd_batch.exports.disclosure.suppression import Cell, Counts

Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]

CALLS = ("tp", "fn", "fp", "tn")
TOTALS = ("n_positive", "n_negative", "n_units")
MAIN_SET = "determinate"
ARM = "arm"

# Ranks of counts. To protect others, those with the highest rank are withheld first: the studies that are not analysed.
# Those that papers are about come last.
_NOT_ANALYSED, _DESCRIPTION, _SUBGROUPS, _READERS, _MODEL = 4, 3, 2, 1, 0


def call_cell(row: Row, name: str, *, kind: str = "", subject: str = "") -> Cell:
    """Return the name of one of `CALLS` at the row's operating point and level.

    Args:
        row: A row of `estimates`.
        name: One of `CALLS`.
        kind: Kind of the rater, by default the row's.
        subject: Name of the rater, by default the row's.
    """
    kind, subject = kind or row["subject_kind"], subject or row["subject"]
    point = row["operating_point"] if kind == "model" else None
    return ("calls", row["unit"], point, kind, subject, row["covariate"], row["level"], name)


def total_cell(row: Row, name: str, *, kind: str = "", subject: str = "") -> Cell:
    """Return the name of one of `TOTALS` at the row's level. Totals do not depend on the operating point.

    Args:
        row: A row of `estimates`.
        name: One of `TOTALS`.
        kind: Kind of the rater, by default the row's.
        subject: Name of the rater, by default the row's.
    """
    kind, subject = kind or row["subject_kind"], subject or row["subject"]
    return ("totals", row["unit"], kind, subject, row["covariate"], row["level"], name)


def characteristic_cell(row: Row) -> Cell:
    """Return the name of a count in the table `cohort_characteristics`."""
    return ("characteristics", row["variable"], row["level"], row["group"])


def flow_cell(name: str) -> Cell:
    """Return the name of a step of the flow of studies, over all reasons."""
    return ("flow", name)


def is_count(row: Row) -> bool:
    """Return whether a row of `estimates` counts studies by the calls of a single rater."""
    one_rater = row["subject_kind"] != "readers_mean"
    return row["analysis_set"] == MAIN_SET and row["unit"] == "study" and row["endpoint"] in CALLS and one_rater


def collect_counts(tables: Tables) -> Counts:
    """Collect all counts that may be published, and the sums among them.

    Args:
        tables: The rows of `estimates`, `cohort_characteristics` and `flow`.
    """
    counts = Counts()
    counted = [row for row in tables["estimates"] if is_count(row) and row["value"] is not None]
    _add_calls(counts, counted)
    _add_characteristics(counts, tables["cohort_characteristics"])
    _add_flow(counts, tables["flow"])
    _guard_left_out(counts, counted)
    return counts


def _add_calls(counts: Counts, counted: Sequence[Row]) -> None:
    for row in counted:
        overall = _MODEL if row["subject_kind"] == "model" else _READERS
        rank = overall if row["covariate"] in (None, ARM) else _SUBGROUPS
        counts.add(call_cell(row, row["endpoint"]), int(row["value"]), rank)
        for name in TOTALS:
            counts.add(total_cell(row, name), row[name], rank)
    for row in {(call_cell(row, ""), total_cell(row, "")): row for row in counted}.values():
        n_positive, n_negative, n_units = (total_cell(row, name) for name in TOTALS)
        counts.add_sum(n_positive, (call_cell(row, "tp"), call_cell(row, "fn")))
        counts.add_sum(n_negative, (call_cell(row, "fp"), call_cell(row, "tn")))
        counts.add_sum(n_units, (n_positive, n_negative))
    for name in (*CALLS, *TOTALS):
        cell_of = total_cell if name in TOTALS else call_cell
        levels: dict[tuple[Cell, str], dict[Cell, None]] = defaultdict(dict)
        for row in counted:
            if row["covariate"] not in (None, ARM):  # arms share their studies
                overall = cell_of({**row, "covariate": None, "level": None}, name)
                levels[overall, row["covariate"]][cell_of(row, name)] = None
        for (overall, covariate), parts in levels.items():
            _relate_with_rest(counts, ("rest", overall, covariate), overall, list(parts))
    _link_equal_totals(counts)
    _guard_between_points(counts, counted)


def _link_equal_totals(counts: Counts) -> None:
    """Relate the equal totals of raters: what is withheld of one must not be read off another."""
    same: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for cell, value in counts.values.items():
        if cell[0] == "totals":
            _, unit, _, _, covariate, level, name = cell
            same[unit, covariate, level, name, value].append(cell)
    for cells in same.values():
        for first, second in pairwise(cells):
            counts.add_sum(first, (second,))


def _guard_between_points(counts: Counts, counted: Sequence[Row]) -> None:
    """Guard the studies with scores between two operating points, which are a group, too."""
    points: dict[tuple[Any, ...], list[Cell]] = defaultdict(list)
    for row in counted:
        if row["subject_kind"] == "model" and row["endpoint"] in ("tp", "fp"):
            key = (row["unit"], row["subject"], row["covariate"], row["level"], row["endpoint"])
            points[key].append(call_cell(row, row["endpoint"]))
    for cells in points.values():
        ordered = sorted(cells, key=lambda cell: -counts.values[cell])
        for place, more in enumerate(ordered):
            for less in ordered[place + 1 :]:
                if counts.values[more] > counts.values[less]:
                    counts.add_difference(("between", more, less), more, less)


def _add_characteristics(counts: Counts, rows: Sequence[Row]) -> None:
    counted = [row for row in rows if row["statistic"] == "n"]
    levels: dict[Cell, dict[str, list[Cell]]] = defaultdict(lambda: defaultdict(list))
    groups: dict[tuple[Any, ...], dict[str, Cell]] = defaultdict(dict)
    for row in counted:
        cell = characteristic_cell(row)
        analysed = row["group"] in ("positive", "negative")
        counts.add(cell, int(row["value"]), _DESCRIPTION if analysed else _NOT_ANALYSED)
        groups[row["variable"], row["level"]][row["group"]] = cell
        if row["level"] is not None:
            levels[_group_total(row["group"])][row["variable"]].append(cell)
    for total, variables in levels.items():
        for parts in variables.values():
            counts.add_sum(total, parts)
    for cells in groups.values():
        counts.add_sum(cells.get("all"), (cell for group, cell in cells.items() if group != "all"))


def _add_flow(counts: Counts, rows: Sequence[Row]) -> None:
    steps = [row for row in rows if row["reason"] is None and row["subject_kind"] is None and row["step"] is not None]
    names = []
    for row in steps:
        if row["n_studies"] is not None and row["note"] is None:
            counts.add(flow_cell(row["name"]), row["n_studies"], _NOT_ANALYSED)
            names.append(row["name"])
    counts.add_sum(flow_cell("planned"), [flow_cell(name) for name in names if name != "planned"])
    counts.add_sum(flow_cell("planned"), (flow_cell("excluded"), _group_total("all")))
    counts.add_sum(_group_total("without_reference"), (flow_cell("without_reference"),))


def _guard_left_out(counts: Counts, counted: Sequence[Row]) -> None:
    """Guard the studies that are described but lack the rater's call, because they failed or were not read."""
    groups = {"n_positive": "positive", "n_negative": "negative"}
    for row in {total_cell(row, ""): row for row in counted}.values():
        is_level = row["covariate"] not in (None, ARM)
        for name, group in groups.items():
            variable, level = (row["covariate"], row["level"]) if is_level else ("studies", None)
            described, total = ("characteristics", variable, level, group), total_cell(row, name)
            counts.add_difference(("left out", described, total), described, total)
        if not is_level:
            for step in ("analysed", "planned"):
                total = total_cell(row, "n_units")
                counts.add_difference(("left out", step, total), flow_cell(step), total)


def _group_total(group: str) -> Cell:
    return ("characteristics", "studies", None, group)


def _relate_with_rest(counts: Counts, name: Cell, total: Cell, parts: Iterable[Cell]) -> None:
    """State that the levels and what is in no level sum to the total."""
    parts = [part for part in parts if part in counts.values]
    rest = counts.values[total] - sum(counts.values[part] for part in parts) if total in counts.values else -1
    if rest > 0:
        counts.add(name, rest)
        counts.unpublished.add(name)
        parts.append(name)
    if rest >= 0:
        counts.add_sum(total, parts)
