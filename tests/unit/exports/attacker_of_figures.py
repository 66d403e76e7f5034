"""An attacker who works out withheld counts from shared figures that are not counts.

The attacker knows that ages and numbers of images are whole numbers, that figures are rounded to four digits, that few
subjects have more than two studies, and how the figures are computed. Each attack returns what it recovers: a text and
the count. An attack is certain: it returns a count only if no other fits the figures.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np

from tests.unit.exports.attacker import Row
from tests.unit.exports.random_cohorts import AGE, GROUPS, IMAGES, Tables

DIGITS = 4
MOST_MISSING = 25
MOST_REPEATS = 12
Found = tuple[str, int]


def attack(shared: Tables, *, min_cell: int) -> list[Found]:
    """Return the small counts that the figures of one export reveal.

    Args:
        shared: The shared tables.
        min_cell: Counts from 1 to below this number should be unknown.
    """
    found = [*_numbers_missing(shared), *_numbers_of_images(shared), *_repeats(shared), *_between_cut_points(shared)]
    return [(name, count) for name, count in found if 0 < count < min_cell]


def counts_of(shared: Tables, variable: str, group: str) -> dict[str | None, int]:
    """Return level → published count of a variable in a group."""
    return {
        row["level"]: int(row["value"])
        for row in shared["cohort_characteristics"]
        if (row["variable"], row["group"], row["statistic"]) == (variable, group, "n")
    }


def statistics_of(shared: Tables, variable: str, group: str) -> dict[str, Row]:
    """Return statistic → published row of a numeric variable in a group."""
    return {
        row["statistic"]: row
        for row in shared["cohort_characteristics"]
        if (row["variable"], row["group"]) == (variable, group) and row["level"] is None
    }


def _numbers_missing(shared: Tables) -> Iterator[Found]:
    """Yield how many ages are missing: only few numbers of whole ages have that mean and that standard deviation."""
    for group in GROUPS:
        figures, total = statistics_of(shared, AGE, group), counts_of(shared, "studies", group).get(None)
        if "missing" in counts_of(shared, AGE, group) or total is None or not {"mean", "sd"} <= set(figures):
            continue
        if figures["mean"]["n"] is not None:
            yield f"n of the mean age, {group}", total - figures["mean"]["n"]
            continue
        mean, sd = figures["mean"]["value"], figures["sd"]["value"]
        possible = [m for m in range(min(MOST_MISSING, total - 2)) if _exist(total - m, mean, sd)]
        if len(possible) == 1:
            yield f"missing ages by mean and sd, {group}", possible[0]


def _exist(n: int, mean: float, sd: float) -> bool:
    """Return whether `n` whole numbers with that rounded mean and standard deviation can exist."""
    half = 0.5 * 10.0 ** (math.floor(math.log10(mean)) + 1 - DIGITS)
    for total in range(math.ceil((mean - half) * n - 1e-9), math.floor((mean + half) * n + 1e-9) + 1):
        half_sd = 0.5 * 10.0 ** (math.floor(math.log10(sd)) + 1 - DIGITS)
        low, high = ((sd + sign * half_sd) ** 2 * (n - 1) + total**2 / n for sign in (-1, 1))
        squares = range(math.ceil(low - 1e-6), math.floor(high + 1e-6) + 1)
        if any((square - total) % 2 == 0 for square in squares):  # x² and x are both even or both odd
            return True
    return False


def _numbers_of_images(shared: Tables) -> Iterator[Found]:
    """Yield how many studies have one, two or three images, from mean and standard deviation."""
    for group in GROUPS:
        figures, total = statistics_of(shared, IMAGES, group), counts_of(shared, "studies", group).get(None)
        known = counts_of(shared, IMAGES, group)
        if total is None or not {"mean", "sd"} <= set(figures) or known.get("≥ 4", 0):
            continue
        mean, sd = figures["mean"]["value"], figures["sd"]["value"]
        if sd is None:
            continue
        fitting = []
        for two, three in product(range(total + 1), repeat=2):
            numbers = {"1": total - two - three, "2": two, "3": three}
            if numbers["1"] < 0 or any(known.get(level, n) != n for level, n in numbers.items()):
                continue
            sum_, squares = numbers["1"] + 2 * two + 3 * three, numbers["1"] + 4 * two + 9 * three
            variance = max(squares - sum_**2 / total, 0) / (total - 1)
            if _round(sum_ / total) == mean and _round(math.sqrt(variance)) == sd:
                fitting.append(numbers)
        for level in ("1", "2", "3"):
            possible = {numbers[level] for numbers in fitting}
            if len(possible) == 1 and level not in known:
                yield f"studies with {level} images by mean and sd, {group}", possible.pop()


def _repeats(shared: Tables) -> Iterator[Found]:
    """Yield how many subjects have two studies, from the standard error of a rate."""
    for row in shared["estimates"]:
        if row["se"] is None or row["numerator"] is None or row["n_subjects"] is not None:
            continue
        possible = _fitting_repeats(int(row["numerator"]), int(row["denominator"]), row["se"])
        if len(possible) == 1:
            yield f"repeats by the error of {row['endpoint']}, {row['covariate']} {row['level']}", possible.pop()


def _fitting_repeats(k: int, n: int, se: float) -> set[int]:
    p, possible = k / n, set()
    for both, none in product(range(MOST_REPEATS + 1), repeat=2):
        for one in range(MOST_REPEATS + 1 - both - none):
            n_subjects = n - both - none - one
            right, wrong = k - 2 * both - one, n - k - 2 * none - one  # subjects with a single study
            if right < 0 or wrong < 0 or n_subjects < 2:
                continue
            squares = (right + 4 * both) * (1 - p) ** 2 + (wrong + 4 * none) * p**2 + one * (1 - 2 * p) ** 2
            if _round(math.sqrt(n_subjects / (n_subjects - 1) * squares) / n) == se:
                possible.add(both + none + one)
    return possible


def _between_cut_points(shared: Tables) -> Iterator[Found]:
    """Yield how many studies are between a quartile and the limit of a level, computed from the quartile's position."""
    for variable, group in product((AGE, IMAGES), GROUPS):
        figures, known = statistics_of(shared, variable, group), counts_of(shared, variable, group)
        total = counts_of(shared, "studies", group).get(None)
        if total is None or "missing" not in known:
            continue
        levels, n = [level for level in known if level != "missing"], total - known["missing"]
        if sum(known[level] for level in levels) != n:
            continue
        for statistic, share in (("q1", 0.25), ("median", 0.5), ("q3", 0.75)):
            if statistic in figures:
                for below in np.cumsum([known[level] for level in levels])[:-1].tolist():
                    position = math.floor((n - 1) * share) + 1
                    if below not in (0, n):
                        yield f"{variable} between {statistic} and a level, {group}", abs(below - position)


def _round(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def small_counts_shown(shared: Tables, *, min_cell: int) -> list[Found]:
    """Return the small counts that an export shows openly."""
    shown: list[Found] = [
        (f"{row['variable']} {row['level']}", int(row["value"]))
        for row in shared["cohort_characteristics"]
        if row["statistic"] == "n"
    ]
    shown += [
        (f"{row['endpoint']}, {row['covariate']} {row['level']}", int(row["value"]))
        for row in shared["estimates"]
        if row["endpoint"] in ("tp", "fp", "fn", "tn")
    ]
    return [(name, count) for name, count in shown if 0 < count < min_cell]


def names(found: Sequence[Found]) -> str:
    """Return what was found, for the message of a failed test."""
    return "; ".join(f"{name}: {count}" for name, count in found)
