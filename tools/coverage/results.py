"""What the study by cell has measured so far, kept in `tools/coverage/results.jsonl`, and what is missing.

Each line of the file is one run of one cell: the cell, the first cohort and the number of cohorts, the seed, the
processor seconds that it took, the commit of the statistics, and for each figure the methods that were used, the number
of cohorts with a result, and in how many of them the interval held the true value (or the test rejected). Lines of one
cell add up. After a change of a method, delete the lines of the parts that use it. Measure on a commit that is on the
main branch: a rebase would give the commit of the statistics another name.
"""

import json
import subprocess
import time
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tools.coverage import rare_disease
from tools.coverage.rare_disease import BLOCK, PARTS, SEED, Cell, Tally

RESULTS = Path(__file__).with_name("results.jsonl")
COHORTS = 2000
"""Cohorts of a complete cell."""
COHORTS_OF_LARGE_BOOTSTRAPS = 500
LARGE_BOOTSTRAP = 2000
"""Bootstraps of cohorts of more subjects than this need `COHORTS_OF_LARGE_BOOTSTRAPS`."""
_COSTS = {
    "rates": (0.001, 2e-7),
    "scores": (0.004, 1.6e-6),
    "compared_rates": (0.004, 7e-7),
    "compared_predictive_values": (0.002, 6e-7),
    "compared_scores": (0.002, 6e-7),
    "resampled": (0.005, 2e-4),
    "reweighted": (0.014, 3e-6),
    "levels": (0.003, 7e-7),
    "predictive": (0.002, 4e-7),
    "partly_labelled": (0.002, 2e-7),
}
"""Part → processor seconds of a cohort, where nothing was measured: a constant, and a share for each subject."""


@dataclass(frozen=True)
class Run:
    """One line of the file."""

    cell: Cell
    first: int
    cohorts: int
    seconds: float
    commit: str
    figures: dict[str, Tally]
    seed: int = SEED

    def as_line(self) -> str:
        """Return the run as a line of JSON."""
        figures = {name: [" ".join(sorted(t.methods)), t.given, t.held] for name, t in self.figures.items()}
        run = {"first": self.first, "cohorts": self.cohorts, "seed": self.seed, "seconds": round(self.seconds, 1)}
        return json.dumps({**asdict(self.cell), **run, "commit": self.commit, "figures": figures}, ensure_ascii=False)


@dataclass(frozen=True)
class Measured:
    """What all runs of one cell showed about one figure."""

    cell: Cell
    figure: str
    methods: tuple[str, ...]
    cohorts: int
    given: int
    held: int

    @property
    def share(self) -> float:
        """The share of the cohorts with a result in which the interval held the true value, or the test rejected."""
        return self.held / self.given


def read(path: Path = RESULTS) -> list[Run]:
    """Return the runs of a file. A line that was cut short is left out, so its cohorts are measured again.

    Args:
        path: The file. It need not exist.
    """
    runs = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            row: dict[str, Any] = json.loads(line)
        except json.JSONDecodeError:
            continue
        cell = Cell(**{field.name: row.pop(field.name) for field in fields(Cell)})
        figures = {
            name: Tally(given, held, set(methods.split()))
            for name, (methods, given, held) in row.pop("figures").items()
        }
        runs.append(Run(cell, figures=figures, **row))
    return runs


def add_up(runs: Sequence[Run]) -> list[Measured]:
    """Return what the runs showed, by cell and figure, without figures that no cohort had.

    Args:
        runs: The runs, in any order.
    """
    groups: dict[tuple[Cell, str], list[tuple[Run, Tally]]] = defaultdict(list)
    for run in runs:
        for figure, tally in run.figures.items():
            groups[run.cell, figure].append((run, tally))
    return [
        Measured(
            cell,
            figure,
            tuple(sorted(set().union(*(tally.methods for _, tally in group)))),
            sum(run.cohorts for run, _ in group),
            sum(tally.given for _, tally in group),
            sum(tally.held for _, tally in group),
        )
        for (cell, figure), group in groups.items()
        if any(tally.given for _, tally in group)
    ]


def target(cell: Cell) -> int:
    """Return the number of cohorts that the cell needs.

    Args:
        cell: The cell.
    """
    large = cell.part == "resampled" and cell.subjects > LARGE_BOOTSTRAP
    return COHORTS_OF_LARGE_BOOTSTRAPS if large else COHORTS


def all_cells() -> list[Cell]:
    """Return the cells of all parts."""
    return [cell for part in PARTS for cell in rare_disease.cells(part)]


def missing(runs: Sequence[Run], cells: Collection[Cell] | None = None) -> list[tuple[float, int, Cell]]:
    """Return the cells that need more cohorts, the cheapest first.

    Args:
        runs: What was measured.
        cells: The cells to look at, all by default.

    Returns:
        For each cell the processor seconds that the rest is expected to take, the number of cohorts that it has, and
        the cell.
    """
    done: dict[Cell, int] = defaultdict(int)
    known: dict[tuple[str, bool], list[Run]] = defaultdict(list)
    for run in runs:
        done[run.cell] += run.cohorts
        known[run.cell.part, run.cell.clustered].append(run)
    left = [
        (_cost(cell, known[cell.part, cell.clustered]) * (target(cell) - done[cell]), done[cell], cell)
        for cell in (all_cells() if cells is None else cells)
        if done[cell] < target(cell)
    ]
    return sorted(left, key=lambda entry: entry[0])


def _cost(cell: Cell, runs: Sequence[Run]) -> float:
    """Return the processor seconds of a cohort: those of the measured cell of the nearest size, adapted to the size."""
    constant, of_subject = _COSTS[cell.part]
    if not runs:
        return constant + of_subject * cell.subjects
    nearest = min(runs, key=lambda run: (abs(run.cell.subjects - cell.subjects), -run.cohorts))
    small, large = (choose(runs, key=lambda run: run.cell.subjects) for choose in (min, max))
    if large.cell.subjects >= 10 * small.cell.subjects:
        rise = large.seconds / large.cohorts - small.seconds / small.cohorts
        of_subject = max(0.0, rise) / (large.cell.subjects - small.cell.subjects)
    return nearest.seconds / nearest.cohorts + of_subject * max(0, cell.subjects - nearest.cell.subjects)


def continue_study(path: Path, minutes: float, cells: Collection[Cell] | None = None) -> Iterator[Run]:
    """Measure cells that are missing or too short, the cheapest first, until the time is over.

    Each run is appended to the file as soon as it is finished. A cell that the end of the time interrupts keeps the
    blocks of cohorts that are finished.

    Args:
        path: The file of results. It need not exist.
        minutes: The time.
        cells: The cells to measure, all by default.

    Yields:
        The runs.
    """
    deadline = time.monotonic() + 60 * minutes
    runs, commit = read(path), statistics_commit()
    while time.monotonic() < deadline:
        left = missing(runs, cells)
        if not left:
            return
        _, done, cell = left[0]
        run = _measure_until(cell, done, deadline, commit)
        with path.open("a", encoding="utf-8") as file:
            file.write(run.as_line() + "\n")
        runs.append(run)
        yield run


def _measure_until(cell: Cell, first: int, deadline: float, commit: str) -> Run:
    figures: dict[str, Tally] = {}
    cohorts, start = 0, time.process_time()
    while first + cohorts < target(cell) and (not cohorts or time.monotonic() < deadline):
        for name, tally in rare_disease.measure(cell, BLOCK, first=first + cohorts).items():
            total = figures.setdefault(name, Tally())
            total.given, total.held = total.given + tally.given, total.held + tally.held
            total.methods |= tally.methods
        cohorts += BLOCK
    return Run(cell, first, cohorts, time.process_time() - start, commit, figures)


def statistics_commit() -> str:
    """Return the abbreviated commit that last changed the statistics or the study.

    Raises:
        SystemExit: They have changes that are not committed.
    """
    root = Path(__file__).parents[2]
    paths = ["diagchd_batch/statistics", "tools/coverage/rare_disease.py"]

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout.strip()

    if git("status", "--porcelain", "--", *paths):
        raise SystemExit(f"commit the changes of {' and '.join(paths)} first, because each result names its commit")
    return git("log", "-1", "--abbrev=10", "--format=%h", "--", *paths)


def remaining_table(runs: Sequence[Run]) -> str:
    """Return a Markdown table of what each part of the study still needs.

    Args:
        runs: What was measured.
    """
    left: dict[tuple[str, bool], list[tuple[float, int, Cell]]] = defaultdict(list)
    for entry in missing(runs):
        left[entry[2].part, entry[2].clustered].append(entry)
    lines = ["| part | complete | begun | cells | core hours left |", "|---|---|---|---|---|"]
    for part in PARTS:
        for clustered in sorted({cell.clustered for cell in rare_disease.cells(part)}):
            cells = sum(cell.clustered == clustered for cell in rare_disease.cells(part))
            entries = left[part, clustered]
            begun, hours = sum(done > 0 for _, done, _ in entries), sum(cost for cost, _, _ in entries) / 3600
            name = f"{part}, repeat scans" if clustered else part
            lines.append(f"| {name} | {cells - len(entries)} | {begun} | {cells} | {hours:.2f} |")
    total = sum(cost for entries in left.values() for cost, _, _ in entries) / 3600
    return "\n".join([*lines, f"| all | | | | {total:.2f} |"])
