"""The model and the readers against the reference standard."""

from diagchd_batch.evaluation.cohort.definitions import DEFINITIONS
from diagchd_batch.report.blocks import Figure, Section, Table
from diagchd_batch.report.figures.curves import calibration as calibration_figure
from diagchd_batch.report.figures.curves import roc as roc_figure
from diagchd_batch.report.figures.intervals import Line, interval_plot
from diagchd_batch.report.formatting import count, interval, number, p_value, words
from diagchd_batch.report.source import Row, Source

_COUNTS = frozenset({"tp", "fp", "fn", "tn"})
_NO_REFERENCE = "no study with a score has a reference label"


def headline(source: Source) -> Section:
    if not source.headline:
        return Section("headline", "Headline", left_out=[_NO_REFERENCE])
    columns = (
        "subject",
        "measure",
        "value",
        "95 % interval",
        "n",
        "model − subject",
        "95 % interval",
        "p",
        "excluded",
        "note",
    )
    caption = (
        f"Model, readers, their mean and their majority; n of each row = units analysed. Threshold "
        f"{_threshold(source)}. Precision and NPV hold at this cohort's prevalence."
    )
    rows = [_headline_cells(row) for row in source.headline]
    return Section("headline", "Headline", _optimism(source), tables=[Table(caption, columns, rows)])


def roc(source: Source) -> Section:
    points = [
        r
        for r in source.tables["curves"]
        if r["curve"] == "roc" and r["unit"] == "study" and r["subject_kind"] == "model"
    ]
    if not points:
        return Section("roc", "ROC curve", left_out=["no ROC curve: both classes are needed"])
    rates: dict[tuple[str, str], dict[str, Row]] = {}
    for row in source.headline:
        rates.setdefault((row["subject_kind"], row["subject"]), {})[row["endpoint"]] = row
    shown = {
        key: r
        for key, r in rates.items()
        if all(n in r and r[n]["value"] is not None for n in ("recall", "specificity"))
    }
    auc = next(iter(source.estimates(endpoint="roc_auc", unit="study", subject_kind="model", covariate=None)), None)
    said = (
        f"AUC {number(auc['value'])} ({interval(auc['ci_low'], auc['ci_high'])}, {words(auc['ci_method'])}), "
        f"n = {count(auc['n_units'])} studies"
        if auc
        else "AUC not estimated"
    )
    left_out = (
        [] if any(kind == "reader" for kind, _ in shown) else ["no readers' points: no reads with a reference label"]
    )
    return Section(
        "roc",
        "ROC curve",
        figures=[Figure(f"{said}. Points with 95 % intervals: calls.", roc_figure(points, shown, said))],
        left_out=left_out,
    )


def calibration(source: Source) -> Section:
    bins = [r for r in source.tables["calibration"] if r["unit"] == "study" and r["n"] and r["mean_score"] is not None]
    if not bins:
        return Section("calibration", "Calibration", left_out=[_NO_REFERENCE])
    shown = [row for row in bins if row["bins"] == max(row["bins"] for row in bins)]
    n = sum(row["n"] for row in shown)
    caption = f"Share with disease against mean score, {shown[0]['bins']} bins, n = {count(n)} studies; dashed: ideal."
    table = Table(
        f"Calibration by bin, n = {count(n)}",
        ("score from", "to", "n", "diseased", "mean score", "observed", "95 % interval"),
        [
            (
                number(r["score_low"], 2),
                number(r["score_high"], 2),
                count(r["n"]),
                count(r["n_positive"]),
                number(r["mean_score"]),
                number(r["observed"]),
                interval(r["ci_low"], r["ci_high"]),
            )
            for r in shown
        ],
    )
    names = ("brier", "calibration_intercept", "calibration_slope", "expected_calibration_error")
    rows = [r for name in names for r in source.estimates(endpoint=name, unit="study", covariate=None)]
    return Section(
        "calibration",
        "Calibration",
        figures=[Figure(caption, calibration_figure(shown, caption))],
        tables=[table, estimate_table("Calibration measures", rows)],
    )


def confusion(source: Source) -> Section:
    rows = [
        r for r in source.tables["cross_tabulation"] if r["unit"] == "study" and r["comparator_kind"] == "reference"
    ]
    if not rows:
        return Section("confusion", "Confusion", left_out=[_NO_REFERENCE])
    columns = ("subject", "operating point", "reference", "call", "studies")
    cells = [
        (r["subject"], words(r["operating_point"]), words(r["reference_label"]), words(r["call"]), count(r["n"]))
        for r in rows
    ]
    n = sum(r["n"] for r in rows if r["subject_kind"] == "model" and r["operating_point"] == rows[0]["operating_point"])
    return Section(
        "confusion",
        "Confusion",
        tables=[Table(f"Calls against the reference standard, n = {count(n)} studies for the model", columns, cells)],
    )


def subgroups(source: Source) -> Section:
    rows = [r for r in source.tables["estimates"] if r["covariate"] is not None]
    if not rows:
        return Section("subgroups", "Subgroups", left_out=["no covariates were given"])
    figures = []
    for endpoint in ("sensitivity", "specificity", "roc_auc"):
        shown = [
            r for r in rows if r["endpoint"] == endpoint and r["subject_kind"] == "model" and r["value"] is not None
        ]
        if shown:
            whole = source.estimates(
                endpoint=endpoint, unit="study", subject_kind="model", covariate=None, analysis_set="determinate"
            )
            lines = [
                Line(
                    f"{words(r['covariate'])}: {words(r['level'])} (n {count(r['n_units'])})",
                    r["value"],
                    r["ci_low"],
                    r["ci_high"],
                )
                for r in shown
            ]
            caption = (
                f"{words(endpoint)} by subgroup with 95 % intervals: {DEFINITIONS[endpoint]}. Dashed: all studies."
            )
            figures.append(
                Figure(
                    caption,
                    interval_plot(
                        f"Subgroups: {words(endpoint)}", caption, lines, whole[0]["value"] if whole else None
                    ),
                )
            )
    return Section(
        "subgroups",
        "Subgroups",
        "Exploratory; the interaction test says whether the levels differ at all.",
        figures,
        [estimate_table("Subgroup estimates and interaction tests", rows)],
    )


def worst_cases(source: Source) -> Section:
    rows = source.tables["worst_cases"]
    if not rows:
        return Section("worst-cases", "Worst cases", left_out=["no false calls or low overlaps to show"])
    cells = [
        (
            words(r["kind"]),
            count(r["rank"]),
            r["study_id"],
            words(r["image_id"]),
            count(r["frame"]),
            words(r["class"]),
            number(r["value"]),
        )
        for r in rows
    ]
    columns = ("kind", "rank", "study", "image", "frame", "class", "value")
    return Section(
        "worst-cases",
        "Worst cases",
        tables=[Table(f"By token, n = {count(len(rows))} shown; value: score or Dice", columns, cells)],
    )


def estimate_table(caption: str, rows: list[Row]) -> Table:
    columns = (
        "subject",
        "against",
        "measure",
        "class",
        "covariate",
        "level",
        "value",
        "95 % interval",
        "method",
        "n",
        "p",
        "note",
    )
    cells = [
        (
            words(r["subject"]),
            words(r["comparator"]),
            words(r["endpoint"]),
            words(r["class"]),
            words(r["covariate"]),
            words(r["level"]),
            number(r["value"]),
            interval(r["ci_low"], r["ci_high"]),
            words(r["ci_method"] or r["test"]),
            count(r["n_units"]),
            p_value(r["p"]),
            words(r["null_reason"]),
        )
        for r in rows
    ]
    return Table(f"{caption}; n in each row", columns, cells)


def _headline_cells(row: Row) -> tuple[str, ...]:
    counted = row["endpoint"] in _COUNTS
    return (
        words(row["subject"]),
        words(row["endpoint"]),
        count(row["value"]) if counted else number(row["value"]),
        interval(row["ci_low"], row["ci_high"]),
        count(row["n_units"]),
        number(row["model_minus_subject"]),
        interval(row["difference_ci_low"], row["difference_ci_high"]),
        p_value(row["p"]),
        count(row["n_excluded"]),
        words(row["null_reason"] or row["difference_null_reason"]),
    )


def _threshold(source: Source) -> str:
    found = sorted({r["threshold"] for r in source.estimates(headline=True) if r["threshold"] is not None})
    return ", ".join(f"{value:g}" for value in found) or "none"


def _optimism(source: Source) -> str:
    if any(row["optimistic"] for row in source.estimates(headline=True)):
        return "Optimistic: the threshold was chosen on this very cohort."
    return ""
