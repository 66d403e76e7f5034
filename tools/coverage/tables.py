"""The table of measured coverage in docs/statistics.md."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

BEGIN, END = "<!-- rare disease table: begin -->", "<!-- rare disease table: end -->"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """Return a Markdown table: the lowest and the highest share of each figure by number of diseased subjects.

    Args:
        rows: Rows of `rare_disease.measure`. Those of different prevalence, true value and sharing of subjects are
            summarised in one entry, which names the prevalence and the true value of its lowest share.
    """
    groups: dict[str, dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row["share"] is not None:
            name = row["figure"] + (", repeat scans" if row["clustered"] else "")
            groups[name][row["diseased"]].append(row)
    sizes = sorted({row["diseased"] for row in rows})
    lines = ["| figure (method) | " + " | ".join(f"{size} diseased" for size in sizes) + " |"]
    lines.append("|---" * (len(sizes) + 1) + "|")
    for name, by_size in groups.items():
        methods = ", ".join(sorted({row["method"] for of_size in by_size.values() for row in of_size if row["method"]}))
        entries = [_entry(by_size.get(size, [])) for size in sizes]
        lines.append(f"| {name} ({methods}) | " + " | ".join(entries) + " |")
    return "\n".join([*lines, "", _note(rows)])


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


def _entry(rows: Sequence[dict[str, Any]]) -> str:
    if not rows:
        return "not run"
    is_test = "test" in rows[0]["figure"] or "non-inferiority" in rows[0]["figure"]
    order = sorted(rows, key=lambda row: row["share"])
    worst = order[-1] if is_test else order[0]
    where = f"{100 * worst['prevalence']:.0f} %, {_truth(worst)}"
    low, high = 100 * order[0]["share"], 100 * order[-1]["share"]
    return f"{low:.1f}–{high:.1f} % ({'highest' if is_test else 'lowest'}: {where}; {len(rows)} cells)"


def _truth(row: dict[str, Any]) -> str:
    of_scores = any(word in row["figure"] for word in ("auc", "calibration", "average_precision", "brier"))
    return f"AUC {row['auc']:g}" if of_scores else f"sensitivity {row['sensitivity']:g}"


def _note(rows: Sequence[dict[str, Any]]) -> str:
    cohorts = sorted({row["cohorts"] for row in rows})
    errors = " or ".join(f"{100 * np.sqrt(0.05 * 0.95 / n):.1f}" for n in reversed(cohorts))
    of_parts = []
    for part in dict.fromkeys(_parts(rows)):
        own = [row for row in rows if row["part"] == part]
        for n in sorted({row["cohorts"] for row in own}, reverse=True):
            of_size = {_cell(row) for row in own if row["cohorts"] == n}
            of_parts.append(f"{part} {len(of_size)} cells of {n} cohorts")
    seeds = ", ".join(str(seed) for seed in sorted({row["seed"] for row in rows}))
    return f"{', '.join(of_parts)}; seed {seeds}. The standard error of a share of 95 % is {errors} percentage points."


def _parts(rows: Sequence[dict[str, Any]]) -> list[str]:
    return [row["part"] for row in rows]


def _cell(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["prevalence"], row["diseased"], row["sensitivity"], row["clustered"]
