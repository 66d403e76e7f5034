"""The one primary comparison, and Holm's adjustment of all others within their family."""

from collections import defaultdict
from collections.abc import Sequence

from diagchd_batch.config.models import PrimaryEndpoint
from diagchd_batch.evaluation.tables.rows import Row
from diagchd_batch.statistics.multiplicity import holm

PRIMARY = "primary"
_GROUPS = {"reader": "readers", "majority": "readers as a group", "readers_mean": "readers as a group"}


def with_families(comparisons: Sequence[Row]) -> list[Row]:
    """Comparisons of the model named by family: one endpoint, against single readers or against them as a group."""
    return [
        row
        if row.get("family")
        else {**row, "family": f"model against {_GROUPS[row['comparator_kind']]}: {row['endpoint']}"}
        for row in comparisons
    ]


def with_primary(comparisons: Sequence[Row], primary: PrimaryEndpoint, comparator: str) -> tuple[list[Row], bool]:
    """Marks the primary comparison, by endpoint and comparator as tables name it; False where there is none.

    Its conclusion is read from the interval: superior above 0, non-inferior above −margin.
    """
    marked, found = [], False
    for row in comparisons:
        wanted = row["headline"] or row["endpoint"] == "roc_auc"
        if not found and wanted and (row["endpoint"], row.get("comparator")) == (primary.endpoint, comparator):
            found = True
            row = {**row, "role": PRIMARY, "margin": primary.margin, "conclusion": _conclusion(row, primary.margin)}
        marked.append(row)
    return marked, found


def adjusted(comparisons: Sequence[Row]) -> list[Row]:
    """Holm's adjusted p within family, among rows of the same analysis set, operating point and population."""
    families: dict[tuple, list[int]] = defaultdict(list)
    for place, row in enumerate(comparisons):
        if row["role"] != PRIMARY:
            key = ("family", "analysis_set", "unit", "operating_point", "generalises_to")
            families[tuple(row.get(column) for column in key)].append(place)
    result = [dict(row) for row in comparisons]
    for places in families.values():
        for place, p in zip(places, holm([comparisons[place].get("p") for place in places]), strict=True):
            result[place]["p_adjusted"] = p
    return result


def _conclusion(row: Row, margin: float) -> str:
    if row["ci_low"] is None:
        return "no interval"
    if row["ci_low"] > 0:
        return "superior"
    if margin > 0 and row["ci_low"] > -margin:
        return "non-inferior"
    return "not shown"
