"""The section on the model's performance by covariate and its sensitivity by lesion."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from diagchd_batch.evaluation.subgroups.training_folds import TRAINING_FOLD
from diagchd_batch.report.elements import Cell, Figure, Section, Table
from diagchd_batch.report.figures.intervals import Line, interval_plot
from diagchd_batch.report.formatting import (
    NONE,
    count,
    covariate_name,
    interval,
    level_name,
    number,
    p_value,
    signed,
    words,
)
from diagchd_batch.report.measure_tables import Key, Measure, measure_table, test_cell
from diagchd_batch.report.report_data import ReportData, Row

_NOT_SUBGROUPS = ("prevalence", "bins", "uncertainty", "arm", "session", "diagnosis", TRAINING_FOLD)
_SIGNIFICANT = 0.05
_MOST_LINES = 60
_MEASURES: tuple[Measure, ...] = (
    ("sensitivity", "sensitivity"),
    ("specificity", "specificity"),
    ("roc_auc", "AUC"),
    ("ppv", "precision (PPV)"),
    ("npv", "NPV"),
    ("accuracy", "accuracy"),
)
_LESIONS: tuple[Measure, ...] = (("tp", "called CHD"), ("fn", "missed"), ("sensitivity", "sensitivity"))
_COVARIATE: Key = ("covariate", lambda row: covariate_name(row["covariate"]))
_LEVEL: Key = ("level", lambda row: level_name(row))
_CLASSES: Key = ("diseased / healthy", lambda row: f"{count(row['n_positive'])} / {count(row['n_negative'])}")


def subgroups(data: ReportData) -> Section:
    """Return the section on subgroups and lesions."""
    points = tuple({data.operating_point, None})
    of_model = data.estimates(unit="study", analysis_set="determinate", subject_kind="model", operating_point=points)
    rows = [row for row in of_model if row["covariate"] and row["covariate"] not in _NOT_SUBGROUPS and row["n_units"]]
    lesions = [row for row in of_model if row["covariate"] == "diagnosis" and row["n_positive"]]
    if not rows and not lesions:
        return Section("subgroups", "Subgroups", left_out=["no study with a reference label has a covariate"])
    tests = data.compared(
        unit="study", analysis_set="determinate", subject_kind="model", comparator_kind=None, operating_point=points
    )
    interactions = [
        row for row in tests if row["endpoint"].endswith("_interaction") and row["covariate"] != TRAINING_FOLD
    ]
    by_level = measure_table("By subgroup, with 95 % intervals", rows, [_COVARIATE, _LEVEL, _CLASSES], _MEASURES)
    left_out = [] if lesions else ["sensitivity by lesion, because no diagnoses were given"]
    return Section(
        "subgroups",
        "Subgroups",
        [
            "This section is exploratory. The interaction tests show whether levels of a covariate differ at all. A "
            "difference between two levels says little by itself. Intervals of differences are not adjusted for their "
            "number. Source resolution and number of images reflect the "
            "equipment and the examination, and can be related to the label."
        ],
        figures=[
            figure
            for endpoint, name in (("sensitivity", "Sensitivity"), ("specificity", "Specificity"), ("roc_auc", "AUC"))
            if (figure := _forest(data, rows, endpoint, name))
        ],
        tables=[
            *([_by_level(data)] if data.tables["subgroups"] else []),
            measure_table(
                "Interaction tests",
                interactions,
                [_COVARIATE],
                [(f"{name}_interaction", heading) for name, heading in _MEASURES],
                cell=test_cell,
            ),
            by_level if len(by_level.rows) <= _MOST_LINES else replace(by_level, folded=True),
            *([measure_table("Sensitivity by lesion", lesions, [_LEVEL], _LESIONS)] if lesions else []),
        ],
        left_out=left_out,
    )


def _by_level(data: ReportData) -> Table:
    """Return the table of all levels, smallest first: value, difference from the other levels, and test."""
    names = dict(_MEASURES)
    cells = [
        (
            covariate_name(row["covariate"]),
            level_name(row),
            names[row["endpoint"]],
            count(row["n_units"]),
            f"{count(row['n_positive'])} / {count(row['n_negative'])}",
            _value(row["value"], row["ci_low"], row["ci_high"], row["null_reason"], number),
            _value(
                row["difference"],
                row["difference_ci_low"],
                row["difference_ci_high"],
                row["difference_null_reason"],
                signed,
            ),
            (f"p {p_value(row['p'])}", f"adjusted {p_value(row['p_adjusted'])}") if row["p"] is not None else NONE,
        )
        for row in data.tables["subgroups"]
    ]
    headings = ("covariate", "level", "measure", "n", "diseased / healthy", "95 % interval", "minus other levels")
    caption = "Every level, smallest first: value, difference from all other levels, test over the covariate's levels"
    return Table(caption, (*headings, "interaction test"), cells, folded=len(cells) > _MOST_LINES)


def _value(
    value: float | None, low: float | None, high: float | None, reason: str | None, show: Callable[[float | None], str]
) -> Cell:
    return show(value), words(reason) if low is None else interval(low, high)


def training_folds(data: ReportData) -> Section | None:
    """Return the section on the folds of a training, or None if the run is not its out-of-fold predictions."""
    folds = data.record.cross_validation
    points = tuple({data.operating_point, None})
    whose = {"unit": "study", "analysis_set": "determinate", "subject_kind": "model", "operating_point": points}
    rows = data.estimates(covariate=TRAINING_FOLD, **whose)
    if folds is None:
        return None
    if not rows:
        return Section("folds", "By fold", left_out=["no study with a reference label was held out"])
    tests = [row for row in data.compared(covariate=TRAINING_FOLD, **whose) if row["p"] is not None]
    fold: Key = ("fold", lambda row: level_name(row))
    return Section(
        "folds",
        "By fold",
        [
            f"{_RULES[folds.rule]} Each fold's model has a scale of its own, so its scores are ranked among the "
            "studies of its fold alone.",
            *_whether_folds_differ(rows, tests, left_out=folds.rule == "leave_out"),
        ],
        tables=[
            measure_table("By fold, with 95 % intervals", rows, [fold, _CLASSES], _MEASURES),
            measure_table(
                "Tests that all folds are alike",
                tests,
                [("", lambda row: "all folds")],
                [(f"{name}_interaction", heading) for name, heading in _MEASURES],
                cell=test_cell,
            ),
        ],
    )


_RULES = {
    "subject": "The folds hold out subjects that were drawn at random.",
    "leave_out": "Each fold holds out one value of a column, such as one site, so a row below shows how a model does "
    "there that was trained on the others.",
    "column": "The folds are those of a column of the archive.",
}
"""`training.folds.rule` → what the folds are, as a sentence."""


def _whether_folds_differ(rows: list[Row], tests: list[Row], *, left_out: bool) -> Iterator[str]:
    """Say whether the model does alike in all folds, and where it does worst."""
    adjusted = [row["p_adjusted"] for row in tests if row["p_adjusted"] is not None]
    if not adjusted:
        yield "Whether the folds differ could not be tested."
        return
    if min(adjusted) >= _SIGNIFICANT:
        yield (
            f"No difference between the folds was found (smallest adjusted p {p_value(min(adjusted))}). Small folds "
            "can hide one."
        )
        return
    for name, heading in _MEASURES:
        test = next((row for row in tests if row["endpoint"] == f"{name}_interaction"), None)
        if test is None or (test["p_adjusted"] or 1.0) >= _SIGNIFICANT:
            continue
        values = [row for row in rows if row["endpoint"] == name and row["value"] is not None]
        worst, best = (choose(values, key=lambda row: row["value"]) for choose in (min, max))
        yield (
            f"The folds differ in {heading}: from {number(worst['value'])} ({level_name(worst)}) to "
            f"{number(best['value'])} ({level_name(best)}), adjusted p {p_value(test['p_adjusted'])}."
        )
    if left_out:
        yield (
            "A figure over all folds does not say what to expect at a place that the model has not seen; that of the "
            "worst fold may."
        )


def _forest(data: ReportData, rows: list[Row], endpoint: str, name: str) -> Figure | None:
    shown = [row for row in rows if row["endpoint"] == endpoint and row["value"] is not None]
    if not shown:
        return None
    whole = data.estimates(
        endpoint=endpoint,
        unit="study",
        analysis_set="determinate",
        subject_kind="model",
        covariate=None,
        operating_point=shown[0]["operating_point"],
    )
    per_class = {"sensitivity": "n_positive", "specificity": "n_negative"}.get(endpoint, "n_units")
    lines = [
        Line(
            f"{level_name(row)} (n {count(row[per_class])})",
            row["value"],
            row["ci_low"],
            row["ci_high"],
            heading=heading,
            numbers=_numbers(row),
        )
        for row, heading in zip(shown, _headings(shown), strict=True)
    ]
    caption = f"{name} by subgroup with 95 % intervals; n = studies in the subgroup. Dashed: all studies."
    if len(lines) > _MOST_LINES:
        caption += f" The first {_MOST_LINES} of {len(lines)} levels are drawn; the table has them all."
    marked = whole[0]["value"] if whole else None
    title = f"{name} by subgroup"
    return Figure(title, caption, interval_plot(title, caption, lines[:_MOST_LINES], marked))


def _numbers(row: Row) -> str:
    """Return the value with its interval, as short as a figure needs it: 0.85 (0.71–0.93)."""
    limits = "" if row["ci_low"] is None else f" ({number(row['ci_low'], 2)}–{number(row['ci_high'], 2)})"
    return f"{number(row['value'], 2)}{limits}"


def _headings(rows: list[Row]) -> list[str | None]:
    names = [covariate_name(row["covariate"]) for row in rows]
    return [name if place == 0 or names[place - 1] != name else None for place, name in enumerate(names)]
