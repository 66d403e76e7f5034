"""Rows of `estimates` and `comparisons` as tables: a row a rater, class or level, a column a measure."""

from collections.abc import Callable, Iterable, Sequence

from diagchd_batch.report.blocks import Cell, Table
from diagchd_batch.report.formatting import NONE, count, interval, number, p_value, reasons, signed, words
from diagchd_batch.report.source import Row

Key = tuple[str, Callable[[Row], Cell]]
"""A leading column: its heading, and what a row says there."""

Measure = tuple[str, str]
"""Endpoint, and its column's heading."""

_NO_INTERVAL_EXPECTED = ("count", "description")


def measure_table(
    caption: str,
    rows: Iterable[Row],
    keys: Sequence[Key],
    measures: Sequence[Measure],
    *,
    cell: Callable[[Row], Cell] | None = None,
    n: str | None = "n",
    excluded: bool = False,
    folded: bool = False,
) -> Table:
    """Groups `rows` by `keys`, in their order; a measure that no row has gets no column.

    `n`: heading of the column with the units of a group (from … to, where its measures differ), None for none.
    `excluded` adds a last column: who did not enter, and why.
    """
    show = cell or estimate_cell
    groups: dict[tuple[Cell, ...], dict[str, Row]] = {}
    for row in rows:
        groups.setdefault(tuple(say(row) for _, say in keys), {}).setdefault(row["endpoint"], row)
    shown = [(name, heading) for name, heading in measures if any(name in group for group in groups.values())]
    columns = [*(heading for heading, _ in keys), *([n] if n else []), *(heading for _, heading in shown)]
    cells: list[list[Cell]] = []
    for key, group in groups.items():
        of_group = [group[name] for name, _ in shown if name in group]
        if of_group:
            line: list[Cell] = [*key, *([_units(of_group)] if n else [])]
            line += [show(group[name]) if name in group else NONE for name, _ in shown]
            cells.append([*line, _excluded(of_group[0])] if excluded else line)
    return Table(caption, [*columns, "not analysed"] if excluded else columns, cells, folded)


def estimate_cell(row: Row) -> Cell:
    """Value, and below it the 95 % interval or why there is none."""
    if row["null_reason"] == "count":
        return count(row["value"])
    if row["ci_low"] is not None:
        return number(row["value"]), interval(row["ci_low"], row["ci_high"])
    if row["null_reason"] in (None, *_NO_INTERVAL_EXPECTED):
        return number(row["value"])
    return number(row["value"]), words(row["null_reason"])


def comparison_cell(row: Row) -> Cell:
    """Difference, its 95 % interval, p and (in brackets) adjusted p; or why there are none."""
    parts = [signed(row["difference"])]
    if row["ci_low"] is not None:
        parts.append(interval(row["ci_low"], row["ci_high"]))
    if row["p"] is not None:
        parts.append(f"p {p_value(row['p'])}" + (f" ({adjusted})" if (adjusted := _adjusted(row)) else ""))
    if row["null_reason"]:
        parts.append(words(row["null_reason"]))
    return tuple(parts)


def test_cell(row: Row) -> Cell:
    """The p of a test without a difference of its own."""
    if row["p"] is None:
        return NONE, words(row["null_reason"])
    return f"p {p_value(row['p'])}", f"adjusted {adjusted}" if (adjusted := _adjusted(row)) else ""


def method_table(caption: str, rows: Iterable[Row], headings: dict[str, str]) -> Table:
    """How intervals and p came about: each combination of measure, interval and test once, with whom it is of."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if row["ci_method"] or row["test"]:
            key = (headings.get(row["endpoint"], words(row["endpoint"])), words(row["ci_method"]), words(row["test"]))
            whose = words(row["comparator_kind"] or row["subject_kind"])
            whose = f"against {whose}" if row["comparator_kind"] else whose
            if whose not in found.setdefault(key, []):
                found[key].append(whose)
    cells = [(measure, ", ".join(whose), method, test) for (measure, method, test), whose in found.items()]
    return Table(caption, ("measure", "of", "95 % interval", "test"), cells, folded=True)


def _units(rows: Sequence[Row]) -> str:
    found = [row["n_units"] for row in rows if row["n_units"] is not None]
    if not found:
        return NONE
    return count(found[0]) if min(found) == max(found) else f"{count(min(found))} to {count(max(found))}"


def _excluded(row: Row) -> Cell:
    return (count(row["n_excluded"]), reasons(row["excluded_reasons"])) if row["n_excluded"] else "0"


def _adjusted(row: Row) -> str:
    return "" if row["p_adjusted"] is None else p_value(row["p_adjusted"])
