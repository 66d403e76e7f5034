"""Keeps the number of repeated subjects secret where few subjects have several studies.

The standard error of a clustered rate follows from the rate and from the subjects with several studies: with the few
that there are, their number can be worked out. So where any number of repeats behind a figure is small, rates get the
intervals of independent studies, and other figures and tests get none. This is done in all rows alike, because a row
that keeps its interval would say that nobody in it repeats.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from diagchd_batch.exports.disclosure.suppression import is_small
from diagchd_batch.exports.disclosure.table_counts import ARM, MAIN_SET, Row
from diagchd_batch.statistics.classification.proportions import proportion

FEW_REPEATS = "few_subjects_repeat"
"""The `null_reason` of a figure without its interval or test."""

_OF_INTERVALS = ("se", "ci_low", "ci_high", "ci_method", "resamples", "seed")
_OF_TESTS = ("test", "statistic", "df1", "df2", "p", "p_adjusted", "p_margin", "conclusion", "margin")
_EXACT = ("clopper_pearson", "clopper_pearson_effective_n", "korn_graubard")
"""Intervals with `evaluation.proportion_interval: exact`. The last one is the former name of the second."""
_PARTS_OF_ALL = (("sensitivity", "specificity"), ("ppv", "npv"))
"""Rates whose denominators divide all studies."""


def few_repeats(estimates: Sequence[Row], min_cell: int) -> bool:
    """Return whether a small number of repeats lies behind any figure, or between two figures.

    The repeats of a group of studies are its studies beyond the first of each subject. They are counted by level, by
    label, by call, and as what levels, labels or calls leave of all.

    Args:
        estimates: The rows of `estimates`.
        min_cell: Numbers from 1 to below this are small.
    """
    repeats: dict[tuple[Any, ...], dict[str, int]] = defaultdict(dict)
    for row in estimates:
        if row["analysis_set"] != MAIN_SET or row["unit"] != "study" or row["n_subjects"] is None:
            continue
        rater = (row["subject_kind"], row["subject"], row["operating_point"])
        of_row = repeats[*rater, row["covariate"], row["level"]]
        of_row["all"] = row["n_units"] - row["n_subjects"]
        if row["n_denominator_subjects"] is not None and row["denominator"] is not None:
            of_row[row["endpoint"]] = int(row["denominator"]) - row["n_denominator_subjects"]
    return any(is_small(n, min_cell) for n in _numbers(repeats))


def _numbers(repeats: Mapping[tuple[Any, ...], Mapping[str, int]]) -> Iterator[int]:
    levels: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for (*rater, covariate, _), of_row in repeats.items():
        yield from of_row.values()
        for parts in _PARTS_OF_ALL:
            if all(part in of_row for part in parts):
                yield of_row["all"] - sum(of_row[part] for part in parts)
        if covariate not in (None, ARM):
            levels[*rater, covariate].append(of_row["all"])
    for (*rater, _), of_levels in levels.items():
        if (whole := repeats.get((*rater, None, None))) is not None:
            yield whole["all"] - sum(of_levels)


def without_cluster(row: Row) -> dict[str, Any] | None:
    """Return a row of studies without what depends on their subjects, or None if nothing else is left of it.

    Args:
        row: A row of `estimates` or `comparisons` whose counts may be published.
    """
    kept = {**row, "cluster": None, "n_subjects": None}
    if row.get("value") is None:
        return None if row.get("test") else kept
    k, n = row.get("numerator"), row.get("denominator")
    if k is not None and n and not row.get("comparator_kind"):
        plain = proportion(int(k), int(n), "exact" if row.get("ci_method") in _EXACT else "wilson")
        interval = {"ci_low": plain.low, "ci_high": plain.high, "ci_method": plain.method, "null_reason": None}
        return kept | dict.fromkeys(_OF_INTERVALS) | interval
    nothing = dict.fromkeys(name for name in (*_OF_INTERVALS, *_OF_TESTS) if name in row)
    return kept | nothing | {"null_reason": row.get("null_reason") or FEW_REPEATS}
