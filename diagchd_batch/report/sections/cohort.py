"""The section on characteristics of the studies, with and without disease."""

from diagchd_batch.report.elements import Cell, Section, Table
from diagchd_batch.report.formatting import (
    GESTATIONAL_AGE,
    NONE,
    count,
    covariate_name,
    level_name,
    number,
    weeks_and_days,
)
from diagchd_batch.report.report_data import ReportData

_GROUPS = {"all": "all", "positive": "diseased", "negative": "healthy", "without_reference": "without reference"}


def cohort(data: ReportData) -> Section:
    """Return the section on the characteristics of the studies."""
    rows = data.tables["cohort_characteristics"]
    if not rows:
        return Section("cohort", "Cohort", left_out=["the table of characteristics has no rows"])
    values: dict[tuple[str, str | None], dict[str, dict[str, float | None]]] = {}
    for row in rows:
        of_level = values.setdefault((row["variable"], row["level"]), {})
        of_level.setdefault(row["group"], {})[row["statistic"]] = row["value"]
    sizes = {group: found.get("n") for group, found in values.pop(("studies", None), {}).items()}
    shown = [group for group in _GROUPS if sizes.get(group)]
    cells = [
        (
            covariate_name(variable),
            level_name({"covariate": variable, "level": level}) if level else "mean (SD); median (quartiles)",
            *(_cell(found.get(group, {}), variable) for group in shown),
        )
        for (variable, level), found in values.items()
        if level != "missing" or any(found[group].get("n") for group in shown)
    ]
    columns = ("variable", "level", *(f"{_GROUPS[group]}, n = {count(sizes[group])}" for group in shown))
    reason = "no covariates were given to describe the studies"
    return Section(
        "cohort",
        "Cohort",
        tables=[Table("Characteristics of the planned studies that were not excluded: number (share)", columns, cells)],
        left_out=[] if cells else [reason],
    )


def _cell(statistics: dict[str, float | None], variable: str) -> Cell:
    if "mean" in statistics:
        if statistics["mean"] is None:
            return NONE
        if variable == GESTATIONAL_AGE:
            spread = NONE if statistics["sd"] is None else f"{number(statistics['sd'], 1)} days"
            low, middle, high = (weeks_and_days(statistics[name]) for name in ("q1", "median", "q3"))
            return f"{weeks_and_days(statistics['mean'])} ({spread})", f"{middle} ({low} to {high})"
        spread = NONE if statistics["sd"] is None else number(statistics["sd"], 1)
        low, middle, high = (number(statistics[name], 1) for name in ("q1", "median", "q3"))
        return f"{number(statistics['mean'], 1)} ({spread})", f"{middle} ({low} to {high})"
    share = statistics.get("share")
    return count(statistics.get("n")) + ("" if share is None else f" ({100 * share:.0f} %)")
