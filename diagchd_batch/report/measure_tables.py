"""Turns rows of `estimates` and `comparisons` into tables with one column per measure."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from diagchd_batch.report.elements import Cell, Table
from diagchd_batch.report.formatting import NONE, count, interval, number, p_value, reasons, signed, words
from diagchd_batch.report.report_data import Row

Key = tuple[str, Callable[[Row], Cell]]
"""A leading column: its heading, and a function from a row to the cell."""

Measure = tuple[str, str]
"""An endpoint and the heading of its column."""

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
    cautions: bool = True,
) -> Table:
    """Return a table with one row per group of `rows` and one column per measure.

    Args:
        caption: The caption of the table.
        rows: Rows of `estimates` or `comparisons`. Groups keep their order.
        keys: The leading columns, by which rows are grouped.
        measures: The measures to show. A measure that no row has gets no column.
        cell: Turns a row into a cell; by default `estimate_cell`.
        n: Heading of the column with the number of units, or None for no such column. Where the measures of a group
            differ in their units, the column shows the range.
        excluded: Add a last column with the units that were excluded, and why.
        folded: Show the table only when the reader opens it.
        cautions: Add the cautions of the rows to the caption.
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
    if cautions:
        of_table = [group[name] for group in groups.values() for name, _ in shown if name in group]
        caption = ". ".join([caption, *(text.removesuffix(".") for text in caution_sentences(of_table, dict(shown)))])
    return Table(caption, [*columns, "not analysed"] if excluded else columns, cells, folded)


def caution_sentences(rows: Iterable[Row], headings: Mapping[str, str]) -> list[str]:
    """Return the cautions of rows as sentences, each once with the measures that it is about.

    Outputs of schema versions before 3 have none.

    Args:
        rows: Rows of `estimates` or `comparisons`.
        headings: What measures are called in the table. Others are named as in the rows.
    """
    measures: dict[str, dict[str, None]] = {}
    for row in rows:
        if row.get("caution"):
            measure = headings.get(row["endpoint"]) or words(row["endpoint"])
            measures.setdefault(row["caution"], {})[measure] = None
    return [f"Caution, {', '.join(named)}: {caution}." for caution, named in measures.items()]


def estimate_cell(row: Row) -> Cell:
    """Return the value, and below it the 95 % interval or the reason why there is none."""
    if row["null_reason"] == "count":
        return count(row["value"])
    if row["ci_low"] is not None:
        return number(row["value"]), interval(row["ci_low"], row["ci_high"])
    if row["null_reason"] in (None, *_NO_INTERVAL_EXPECTED):
        return number(row["value"])
    return number(row["value"]), words(row["null_reason"])


def comparison_cell(row: Row) -> Cell:
    """Return the difference, its 95 % interval, p and adjusted p (in brackets), or the reason why they are missing."""
    parts = [signed(row["difference"])]
    if row["ci_low"] is not None:
        parts.append(interval(row["ci_low"], row["ci_high"]))
    if row["p"] is not None:
        parts.append(f"p {p_value(row['p'])}" + (f" ({adjusted})" if (adjusted := _adjusted(row)) else ""))
    if row["null_reason"]:
        parts.append(words(row["null_reason"]))
    return tuple(parts)


def test_cell(row: Row) -> Cell:
    """Return the p of a test that has no difference."""
    if row["p"] is None:
        return NONE, words(row["null_reason"])
    return f"p {p_value(row['p'])}", f"adjusted {adjusted}" if (adjusted := _adjusted(row)) else ""


def method_table(caption: str, rows: Iterable[Row], headings: dict[str, str]) -> Table:
    """Return a table of the methods: each combination of measure, interval and test, with its raters.

    Args:
        caption: The table's caption.
        rows: Rows of `estimates` and `comparisons`.
        headings: Endpoint → its name in the report.
    """
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
