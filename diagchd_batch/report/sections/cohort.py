"""The sections on the studies: which reached the analysis and why others did not, and their characteristics."""

from diagchd_batch.report.elements import Cell, Figure, Section, Table
from diagchd_batch.report.figures.flow import Step, flow_diagram
from diagchd_batch.report.formatting import (
    GESTATIONAL_AGE,
    NONE,
    count,
    counted,
    covariate_name,
    level_name,
    number,
    weeks_and_days,
    words,
)
from diagchd_batch.report.report_data import ReportData, Row, matching

_KEPT = ("planned", "analysed")
_NOTES = ("unmatched", "left_out")
_RATER_STEPS = (
    "analysed",
    "not_evaluable",
    "indeterminate",
    "undecided",
    "not_read",
    "failed",
    "not_scored",
    "excluded",
    "without_reference",
)


def flow(data: ReportData) -> Section:
    """Return the section on the flow of studies."""
    rows = data.tables["flow"]
    notes = [_sentence(row["note"]) for row in rows if row["name"] == "left_out" and row["note"]]
    cohort = [row for row in rows if row["subject_kind"] is None and row["name"] not in _NOTES]
    steps = {row["name"]: row for row in cohort if row["reason"] is None}
    if not all(name in steps for name in _KEPT):
        return Section("flow", "Flow of studies", notes, left_out=["the table flow has no rows"])
    reasons = {
        name: [
            f"{count(row['n_studies'])} {words(row['reason'])}"
            for row in cohort
            if row["name"] == name and row["reason"]
        ]
        for name in steps
    }
    leaving = [_step(row, reasons[name]) for name, row in steps.items() if name not in _KEPT]
    svg = flow_diagram(_step(steps["planned"]), leaving, _step(steps["analysed"]))
    prevalence = _prevalence(steps["analysed"])
    caption = f"From {counted(steps['planned']['n_studies'], 'study')} planned to those analysed. {prevalence}"
    raters = _raters(data, rows)
    unmatched = [
        (words(row["reason"]), count(row["n_studies"])) for row in matching(rows, name="unmatched") if row["n_studies"]
    ]
    tables = [
        Table("Flow by step and reason", _COLUMNS, [_cells(row, bool(reasons[row["name"]])) for row in cohort]),
        raters,
        Table(
            "Study ids missing from the inventory, by table; the private tree lists them",
            ("table", "ids"),
            unmatched,
        ),
    ]
    indeterminate = "" if len(raters.rows) < 2 else " Indeterminate reads differ between readers; see the second table."
    return Section(
        "flow",
        "Flow of studies",
        [prevalence + indeterminate, *notes],
        figures=[Figure("From the plan to the analysis", caption, svg)],
        tables=[table for table in tables if table.rows],
    )


_COLUMNS = ("step", "reason", "studies", "subjects", "diseased", "healthy", "frames")


def _cells(row: Row, has_reasons: bool) -> tuple[str, ...]:
    """Return the cells of a step's total or of one of its reasons."""
    total = "all reasons" if has_reasons else NONE
    numbers = (row[name] for name in ("n_studies", "n_subjects", "n_positive", "n_negative", "n_frames"))
    return (words(row["name"]), total if row["reason"] is None else words(row["reason"]), *map(count, numbers))


def _step(row: Row, reasons: list[str] | None = None) -> Step:
    counts = counted(row["n_studies"], "study") if row["n_studies"] else "none"
    if row["n_positive"] or row["n_negative"]:
        counts += f": {count(row['n_positive'])} diseased, {count(row['n_negative'])} healthy"
    elif row["n_studies"]:
        counts += ", none with a label"
    return Step(words(row["name"]), counts, tuple(reasons or ()))


def _sentence(note: str) -> str:
    return f"{note[:1].upper()}{note[1:]}."


def _prevalence(analysed: Row) -> str:
    positive, negative = analysed["n_positive"] or 0, analysed["n_negative"] or 0
    if not positive + negative:
        return "No analysed study has a reference label, so there is no prevalence."
    share = number(positive / (positive + negative))
    return f"Prevalence among the analysed studies: {positive:,} of {positive + negative:,} ({share})."


def _raters(data: ReportData, rows: list[Row]) -> Table:
    """Return a table with the number of analysed studies of each rater, and why the others were not analysed."""
    found: dict[Cell, dict[str, int]] = {}
    for row in rows:
        if row["subject_kind"] is not None:
            found.setdefault(data.subject(row), {})[row["name"]] = row["n_studies"]
    shown = [name for name in _RATER_STEPS if any(name in steps for steps in found.values())]
    return Table(
        "Studies by rater: analysed, or why not",
        ("", *map(words, shown)),
        [(name, *(count(steps.get(step, 0)) for step in shown)) for name, steps in found.items()],
    )


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
            *(_characteristic(found.get(group, {}), variable) for group in shown),
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


def _characteristic(statistics: dict[str, float | None], variable: str) -> Cell:
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
