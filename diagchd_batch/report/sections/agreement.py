"""Agreement among raters, overlap of masks, and comparison with earlier runs."""

from diagchd_batch.report.blocks import Figure, Section, Table
from diagchd_batch.report.figures.intervals import Line, interval_plot
from diagchd_batch.report.figures.matrix import agreement_matrix
from diagchd_batch.report.formatting import NONE, count, number, words
from diagchd_batch.report.sections.accuracy import estimate_table
from diagchd_batch.report.source import Source

_MEASURES = ("percent_agreement", "cohen_kappa", "fleiss_kappa", "gwet_ac1", "krippendorff_alpha")


def agreement(source: Source) -> Section:
    rows = [r for r in source.estimates(unit="study", covariate=None) if r["endpoint"] in _MEASURES]
    if not rows:
        return Section("agreement", "Agreement", left_out=["no readers were given"])
    values: dict[tuple[str, str], float] = {}
    for row in rows:
        if row["endpoint"] == "cohen_kappa" and row["comparator"] and row["value"] is not None:
            values.setdefault((row["subject"], row["comparator"]), row["value"])
    names = list(dict.fromkeys(name for pair in values for name in pair))
    caption = "Cohen's kappa of every pair of raters, unweighted; n of each pair in the table."
    figures = [Figure(caption, agreement_matrix(names, values, caption))] if names else []
    return Section(
        "agreement",
        "Agreement",
        "Agreement needs no reference standard; AC1 stands beside kappa, which drops at low prevalence.",
        figures,
        [estimate_table("Agreement", rows)],
    )


def segmentation(source: Source) -> Section:
    rows = [r for r in source.tables["estimates"] if r["class"] is not None and r["covariate"] is None]
    if not rows:
        return Section("segmentation", "Segmentation", left_out=["no usable reference masks were given"])
    boxes = []
    by_class = {(r["class"], r["endpoint"]): r for r in rows if r["unit"] == "image"}
    for name in dict.fromkeys(r["class"] for r in rows):
        found = [by_class.get((name, f"dice_{part}")) for part in ("minimum", "q1", "median", "q3", "maximum")]
        values = [r["value"] for r in found if r is not None and r["value"] is not None]
        if len(values) == 5:
            mean = by_class.get((name, "dice_mean"))
            label = f"{words(name)} (n {count(mean['n_units'])})" if mean else words(name)
            boxes.append(Line(label, values[2], values[0], values[4], (values[1], values[3])))
    caption = "Dice per image: minimum, quartiles, median and maximum; images with both masks empty left out."
    figures = [Figure(caption, interval_plot("Dice by class", caption, boxes))] if boxes else []
    return Section(
        "segmentation", "Segmentation", figures=figures, tables=[estimate_table("Overlap and distance", rows)]
    )


def comparison(source: Source) -> Section:
    if not source.comparisons:
        return Section("comparison", "Earlier runs", left_out=["this run was compared with no other"])
    tables = []
    for other, found in source.comparisons.items():
        for name, rows in found.items():
            shown = rows[:200]
            more = f", the first {len(shown)} shown" if len(rows) > len(shown) else ""
            columns = [key for key in (rows[0] if rows else {}) if any(row[key] is not None for row in shown)]
            cells = [tuple(_cell(row[key]) for key in columns) for row in shown]
            tables.append(
                Table(
                    f"{words(name)}: this run − {other}, n = {count(len(rows))} rows{more}",
                    [words(c) for c in columns],
                    cells,
                )
            )
    return Section("comparison", "Earlier runs", tables=tables)


def _cell(value: object) -> str:
    if value is None:
        return NONE
    return number(value) if isinstance(value, float) else str(value)
