"""The tables of measured coverage in docs/statistics.md."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.coverage.rare_disease import PARTS, Cell
from tools.coverage.results import Measured, Run, add_up, target

BEGIN, END = "<!-- rare disease table: begin -->", "<!-- rare disease table: end -->"
LOWEST_COVERAGE = 0.93
SHARE_OF_ERRORS = 3.5
"""A cell may miss its level by this number of the simulation's own standard errors."""


def is_test(figure: str) -> bool:
    """Return whether the share of a figure is that of rejections, not that of intervals that hold the true value.

    Args:
        figure: The name of the figure in the study.
    """
    return figure.startswith(("test", "non-inferiority"))


def passes(measured: Measured) -> bool:
    """Return whether an interval covers at least 93 %, or a test rejects at most 5 % (one-sided 2.5 %).

    Args:
        measured: What a cell showed about a figure.
    """
    size = 0.025 if measured.figure.startswith("non-inferiority") else 0.05
    slack = SHARE_OF_ERRORS * np.sqrt(size * (1 - size) / measured.given)
    if is_test(measured.figure):
        return bool(measured.share <= size + slack)
    return bool(measured.share >= LOWEST_COVERAGE - slack)


def page_text(runs: Sequence[Run]) -> str:
    """Return what stands in docs/statistics.md: the table of all figures, and the list of cells that do not pass.

    Args:
        runs: What was measured.
    """
    measured = add_up(runs)
    return "\n".join([*_summary(measured), "", *_failures(measured), "", *_extent(runs)])


def _summary(measured: Sequence[Measured]) -> list[str]:
    groups: dict[str, dict[int, list[Measured]]] = defaultdict(lambda: defaultdict(list))
    for entry in sorted(measured, key=lambda entry: (list(PARTS).index(entry.cell.part), entry.cell.clustered)):
        name = entry.figure + (", repeat scans" if entry.cell.clustered else "")
        groups[name][entry.cell.diseased].append(entry)
    sizes = sorted({entry.cell.diseased for entry in measured})
    lines = ["| figure (method) | " + " | ".join(f"{size} diseased" for size in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for name, by_size in groups.items():
        methods = sorted({method for entries in by_size.values() for entry in entries for method in entry.methods})
        shares = [_range(by_size.get(size, [])) for size in sizes]
        lines.append(f"| {name} ({', '.join(methods)}) | " + " | ".join(shares) + " |")
    return lines


def _range(entries: Sequence[Measured]) -> str:
    if not entries:
        return "not run"
    order = sorted(entries, key=lambda entry: entry.share)
    worst = order[-1] if is_test(order[0].figure) else order[0]
    where = f"{'highest' if is_test(worst.figure) else 'lowest'}: {100 * worst.cell.prevalence:.0f} %, {truth(worst)}"
    cells = f"{len(entries)} cell{'s' if len(entries) > 1 else ''}"
    return f"{100 * order[0].share:.1f}–{100 * order[-1].share:.1f} % ({where}; {cells})"


def truth(measured: Measured) -> str:
    """Return the true value of a cell that matters for a figure, in words.

    Args:
        measured: What the cell showed about the figure.
    """
    of_scores = ("auc", "calibration", "average_precision", "brier", "net benefit")
    if any(word in measured.figure for word in of_scores):
        return f"AUC {measured.cell.auc:g}"
    if "specificity" in measured.figure or "positive" in measured.figure:
        return f"specificity {measured.cell.specificity:g}"
    return f"sensitivity {measured.cell.sensitivity:g}"


def _failures(measured: Sequence[Measured]) -> list[str]:
    failed = [entry for entry in measured if not passes(entry)]
    if not failed:
        return ["All cells that were run pass."]
    lines = [
        f"{len(failed)} of {len(measured)} entries do not pass. They are these:",
        "",
        "| figure | diseased | healthy | true value | share | of cohorts |",
        "|---|---|---|---|---|---|",
    ]
    for entry in sorted(failed, key=_order):
        cell = entry.cell
        name = entry.figure + (", repeat scans" if cell.clustered else "")
        counts = f"{cell.diseased} | {cell.subjects - cell.diseased}"
        lines.append(f"| {name} | {counts} | {truth(entry)} | {100 * entry.share:.1f} % | {entry.given:,} |")
    return lines


def _order(entry: Measured) -> tuple[int, str, bool, int, int, float]:
    cell = entry.cell
    return list(PARTS).index(cell.part), entry.figure, cell.clustered, cell.diseased, cell.subjects, cell.auc


def _extent(runs: Sequence[Run]) -> list[str]:
    done: dict[Cell, int] = defaultdict(int)
    for run in runs:
        done[run.cell] += run.cohorts
    lines = ["| part | complete cells | cells of fewer cohorts |", "|---|---|---|"]
    for part in PARTS:
        own = [(cell, n) for cell, n in done.items() if cell.part == part]
        complete, short = [n for cell, n in own if n >= target(cell)], sorted(n for cell, n in own if n < target(cell))
        few = f"{len(short)} of {short[0]} to {short[-1]}" if short else "0"
        lines.append(f"| {part} | {len(complete)} | {few} |")
    commits = ", ".join(sorted({run.commit for run in runs}))
    return [*lines, "", f"Seed {', '.join(sorted({str(run.seed) for run in runs}))}; statistics of commit {commits}."]


def replace_table(page: Path, text: str, begin: str, end: str) -> None:
    """Replace what stands between two markers of a page.

    Args:
        page: The Markdown file.
        text: The new table.
        begin: The line before the table.
        end: The line after it.
    """
    pattern = re.compile(f"{re.escape(begin)}.*{re.escape(end)}", re.DOTALL)
    whole = page.read_text(encoding="utf-8")
    page.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", whole), encoding="utf-8")
