"""The model's scores: how well they rank (ROC), whether they mean what they say (calibration), what calls follow."""

from collections import Counter

from diagchd_batch.report.blocks import Cell, Figure, Section, Table
from diagchd_batch.report.figures.confusion import confusion_matrix
from diagchd_batch.report.figures.curves import Point, calibration_plot, roc_plot
from diagchd_batch.report.formatting import NONE, count, counted, interval, number, words
from diagchd_batch.report.measures import comparison_cell, measure_table
from diagchd_batch.report.sections.headline import NO_REFERENCE
from diagchd_batch.report.source import Row, Source, matching

_MAIN = {"unit": "study", "analysis_set": "determinate", "covariate": None}


def roc(source: Source) -> Section:
    curve = matching(source.tables["curves"], curve="roc", unit="study", subject_kind="model")
    if not curve:
        return Section("roc", "ROC curve", left_out=["the studies with a score and a label are not of both classes"])
    aucs = source.estimates(endpoint="roc_auc", subject_kind=("model", "reader", "readers_mean"), **_MAIN)
    model = next(row for row in aucs if row["subject_kind"] == "model")
    said = (
        f"AUC {number(model['value'])} (95 % interval {interval(model['ci_low'], model['ci_high'])}, "
        f"{words(model['ci_method'])}), n = {counted(model['n_units'], 'study')}: "
        f"{count(model['n_positive'])} diseased, {count(model['n_negative'])} healthy"
    )
    points = _points(source)
    caption = f"ROC curve of the model's study scores. {said}. The mark is the model's calls, with 95 % intervals."
    if source.readers:
        legend = "; ".join(f"{short} = {name}" for name, short in source.readers.items())
        caption += f" Readers, their mean and majority: calls; their intervals are in the headline table. {legend}."
    against = source.compared(endpoint="roc_auc", subject_kind="model", analysis_set="determinate", covariate=None)
    tables = [measure_table("Area under the ROC curve", aucs, [("", source.subject)], [("roc_auc", "AUC")])]
    if against:
        tables.append(
            measure_table(
                "AUC, model − reader, on the studies that both scored: 95 % interval, p (adjusted p)",
                against,
                [("model minus", source.comparator)],
                [("roc_auc", "AUC")],
                cell=comparison_cell,
            )
        )
    left_out = [] if source.readers else ["no readers' marks: no reads of studies with a reference label"]
    plot = roc_plot([(row["x"], row["y"]) for row in curve], points, said)
    figure = Figure("The model's scores, all calls", caption, plot)
    return Section("roc", "ROC curve", figures=[figure], tables=tables, left_out=left_out)


def _points(source: Source) -> list[Point]:
    rates: dict[tuple[str, str], dict[str, Row]] = {}
    for row in source.estimates(headline=True, endpoint=("sensitivity", "specificity")):
        if row["value"] is not None:
            rates.setdefault((row["subject_kind"], row["subject"]), {})[row["endpoint"]] = row
    return [
        Point(kind, source.readers.get(name, ""), found["sensitivity"], found["specificity"])
        for (kind, name), found in rates.items()
        if len(found) == 2
    ]


def calibration(source: Source) -> Section:
    bins = [row for row in source.tables["calibration"] if row["unit"] == "study" and row["n"]]
    if not bins:
        return Section("calibration", "Calibration", left_out=[NO_REFERENCE])
    n = sum(row["n"] for row in bins)
    caption = (
        f"Share of diseased studies against the mean score, in {bins[0]['bins']} bins of equal width (empty ones left "
        f"out), with 95 % intervals; n = {counted(n, 'study')}. Dashed: scores that mean what they say."
    )
    table = Table(
        "Calibration by bin",
        ("score", "n", "diseased", "mean score", "share diseased", "95 % interval"),
        [
            (
                f"{number(row['score_low'], 2)} to {number(row['score_high'], 2)}",
                count(row["n"]),
                count(row["n_positive"]),
                number(row["mean_score"]),
                number(row["observed"]),
                interval(row["ci_low"], row["ci_high"]),
            )
            for row in bins
        ],
        folded=True,
    )
    measures = (
        ("brier", "Brier score"),
        ("calibration_intercept", "intercept"),
        ("calibration_slope", "slope"),
        ("expected_calibration_error", "calibration error"),
        ("average_precision", "average precision"),
    )
    rows = source.estimates(unit="study", analysis_set="determinate", subject_kind="model", covariate=(None, "bins"))
    return Section(
        "calibration",
        "Calibration",
        figures=[Figure("Observed against predicted", caption, calibration_plot(bins, caption))],
        tables=[
            measure_table(
                "Measures of the scores (ideal: intercept 0, slope 1)", rows, [("", source.subject)], measures
            ),
            table,
        ],
    )


_CALLS = ("positive", "negative", "indeterminate", "missing")
_LABELS = {"positive": "diseased", "negative": "healthy", "unknown": "no reference"}


def confusion(source: Source) -> Section:
    rows = matching(source.tables["cross_tabulation"], unit="study", comparator_kind="reference")
    if not any(row["reference_label"] != "unknown" for row in rows):
        return Section("confusion", "Confusion", left_out=[NO_REFERENCE])
    counts: dict[tuple[Cell, str], Counter[tuple[str, str]]] = {}
    for row in rows:
        named = (row["subject"], row["operating_point"]) if row["operating_point"] else source.subject(row)
        whom = (named, row["subject_kind"])
        counts.setdefault(whom, Counter())[row["reference_label"], row["call"]] += row["n"]
    shown = [
        (label, call) for label in _LABELS for call in _CALLS if any(found[label, call] for found in counts.values())
    ]
    cells = [
        (name, *(count(found[cell]) for cell in shown))
        for (name, kind), found in sorted(counts.items(), key=lambda item: _order(item[0][1]))
    ]
    model = Counter[tuple[str, str]]()
    for row in matching(rows, subject_kind="model", operating_point=source.operating_point):
        model[row["reference_label"], row["call"]] += row["n"]
    called = sum(n for (label, call), n in model.items() if label != "unknown" and call in _CALLS[:2])
    uncalled = sum(n for (label, _), n in model.items() if label != "unknown") - called
    caption = f"The model's calls against the reference standard at its headline threshold, {counted(called, 'study')}"
    caption += f"; {uncalled:,} more have a label but no call." if uncalled else "."
    return Section(
        "confusion",
        "Confusion",
        figures=[Figure("The model's calls", caption, confusion_matrix(model, caption))],
        tables=[
            Table(
                "Every rater's calls by reference label; counts of studies",
                ("", *(f"{_LABELS[label]}, called {call}" for label, call in shown)),
                cells,
            )
        ],
    )


def _order(kind: str) -> int:
    return ("model", "reader", "majority").index(kind)


def arms(source: Source) -> Section | None:
    """Readers in a second arm, such as with the model's aid; None where there is none."""
    reads = source.estimates(covariate="arm", unit="study", analysis_set="determinate")
    tests = source.compared(covariate="arm")
    if not reads and not tests:
        return None
    measures = (("roc_auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
    difference = ("difference", lambda row: words(row["level"]))
    return Section(
        "arms",
        "Readers in two arms",
        ["The same readers in another arm, over the studies that were read in both where arms are compared."],
        tables=[
            measure_table(
                "Mean of the readers, difference between arms (Obuchowski–Rockette, Hillis' degrees of freedom)",
                tests,
                [difference],
                measures,
                cell=comparison_cell,
            ),
            measure_table(
                "Each reader in the further arm",
                reads,
                [("", source.subject), ("arm", lambda row: words(row["level"]))],
                measures,
            ),
        ],
        left_out=[] if tests else [f"no test between arms {NONE} fewer than two readers have both"],
    )
