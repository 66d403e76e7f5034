"""Multiplicity: the primary comparison, and Holm's adjustment of all others within their families."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from scipy import stats

from diagchd_batch.config.job_file import PrimaryEndpoint
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.statistics.multiplicity import holm

PRIMARY = "primary"
_GROUPS = {"reader": "readers", "majority": "readers as a group", "readers_mean": "readers as a group"}


def name_families(comparisons: Sequence[Row]) -> list[Row]:
    """Name the family of each comparison of the model: one endpoint, against single readers or against the group.

    Args:
        comparisons: Rows of `comparisons`. Those that have a family keep it.
    """
    return [
        row
        if row.get("family")
        else {**row, "family": f"model against {_GROUPS[row['comparator_kind']]}: {row['endpoint']}"}
        for row in comparisons
    ]


def mark_primary(comparisons: Sequence[Row], primary: PrimaryEndpoint, comparator: str) -> tuple[list[Row], bool]:
    """Mark the primary comparison of the job file, and draw its conclusion from its interval.

    The model is superior if the whole interval lies above 0, and non-inferior if it lies above −margin.

    Args:
        comparisons: Rows of `comparisons`.
        primary: Endpoint and margin.
        comparator: The comparator's name in tables.

    Returns:
        The rows, and whether the primary comparison is among them.
    """
    marked, found = [], False
    for row in comparisons:
        wanted = row["headline"] or row["endpoint"] == "roc_auc"
        if not found and wanted and (row["endpoint"], row.get("comparator")) == (primary.endpoint, comparator):
            found = True
            row = {
                **row,
                "role": PRIMARY,
                "margin": primary.margin,
                "conclusion": _conclusion(row, primary.margin),
                "p_margin": _one_sided_p(row, primary.margin),
            }
        marked.append(row)
    return marked, found


def adjust_within_families(comparisons: Sequence[Row]) -> list[Row]:
    """Add Holm's adjusted p to all rows but the primary one.

    Args:
        comparisons: Rows of `comparisons`. A family's rows are adjusted together if analysis set, unit, operating point
            and population are the same.
    """
    families: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(comparisons):
        if row["role"] != PRIMARY:
            key = ("family", "analysis_set", "unit", "operating_point", "generalises_to")
            families[tuple(row.get(column) for column in key)].append(place)
    result = [dict(row) for row in comparisons]
    for places in families.values():
        for place, p in zip(places, holm([comparisons[place].get("p") for place in places]), strict=True):
            result[place]["p_adjusted"] = p
    return result


def _one_sided_p(row: Row, margin: float) -> float | None:
    """Return the p value of the hypothesis that the difference is −margin or less.

    It compares the distance to −margin with the distance to the lower limit of the 95 % interval, so that it is below
    0.025 exactly where the interval lies above −margin. Most intervals here have no standard error.
    """
    if row["ci_low"] is None or row["difference"] is None or row["difference"] <= row["ci_low"]:
        return None
    law = stats.norm() if row.get("df2") is None else stats.t(row["df2"])
    reach = (row["difference"] + margin) / (row["difference"] - row["ci_low"])
    return float(law.sf(reach * law.ppf(0.975)))


def _conclusion(row: Row, margin: float) -> str:
    if row["ci_low"] is None:
        return "no interval"
    if row["ci_low"] > 0:
        return "superior"
    if margin > 0 and row["ci_low"] > -margin:
        return "non-inferior"
    return "not shown"
