"""The sections on scores against labels: ROC and other curves, calibration, confusion, and readers in two arms."""

from collections import Counter
from collections.abc import Iterator

from diagchd_batch.report.elements import Cell, Figure, Section, Table
from diagchd_batch.report.figures.confusion import confusion_matrix
from diagchd_batch.report.figures.curves import (
    Point,
    abstention_plot,
    calibration_plot,
    decision_plot,
    precision_recall_plot,
    predictive_value_plot,
    roc_plot,
)
from diagchd_batch.report.formatting import count, counted, interval, number, words
from diagchd_batch.report.measure_tables import comparison_cell, measure_table
from diagchd_batch.report.report_data import ReportData, Row, matching
from diagchd_batch.report.sections.headline import NO_REFERENCE
from diagchd_batch.statistics.classification import proportion_interval

ROC = "ROC and precision-recall curves"
"""Title of the section with both curves."""

_DECISION = ("decision", "decision_at_prevalence")
_MAIN = {"unit": "study", "analysis_set": "determinate", "covariate": None}


def roc(data: ReportData) -> Section:
    """Return the section with the ROC curve."""
    curve = matching(data.tables["curves"], curve="roc", unit="study", subject_kind="model")
    if not curve:
        return Section("roc", ROC, left_out=["a ROC curve needs diseased and healthy studies with a score"])
    aucs = data.estimates(endpoint="roc_auc", subject_kind=("model", "reader", "readers_mean"), **_MAIN)
    model = next(row for row in aucs if row["subject_kind"] == "model")
    said = (
        f"AUC {number(model['value'])} (95 % interval {interval(model['ci_low'], model['ci_high'])}, "
        f"{words(model['ci_method'])}), n = {counted(model['n_units'], 'study')}: "
        f"{count(model['n_positive'])} diseased, {count(model['n_negative'])} healthy"
    )
    points = _points(data)
    caption = f"ROC curve of the model's study scores. {said}. The mark shows the model's calls with 95 % intervals."
    if data.record.cross_validation:
        caption += " The curve is the mean of the folds' curves, weighted by their pairs."
    if data.readers:
        legend = "; ".join(f"{short} = {name}" for name, short in data.readers.items())
        caption += " Other marks show the calls of readers, their mean and their majority; their intervals are in the "
        caption += f"headline table. {legend}."
    against = data.compared(endpoint="roc_auc", subject_kind="model", analysis_set="determinate", covariate=None)
    tables = [measure_table("Area under the ROC curve", aucs, [("", data.subject)], [("roc_auc", "AUC")])]
    if against:
        tables.append(
            measure_table(
                "AUC, model − reader, on the studies that both scored: 95 % interval, p (adjusted p)",
                against,
                [("model minus", data.comparator)],
                [("roc_auc", "AUC")],
                cell=comparison_cell,
            )
        )
    left_out = [] if data.readers else ["marks of readers, because no study with a reference label was read"]
    band, of_what = _roc_band(data, curve)
    if band:
        caption += f" The band shows 95 % Wilson intervals of the sensitivity at each threshold, from {of_what}."
    plot = roc_plot([(row["x"], row["y"]) for row in curve], points, said, band)
    figures = [Figure("The model's scores, all calls", caption, plot), *_precision_recall(data, model)]
    return Section("roc", ROC, figures=figures, tables=tables, left_out=left_out)


def _roc_band(data: ReportData, curve: list[Row]) -> tuple[list[tuple[float, float, float]], str]:
    """Return the limits of the sensitivity at each threshold, and what they were computed from.

    Where subjects have several diseased studies, the number of subjects takes the place of the number of studies, which
    gives wider limits.
    """
    if data.record.cross_validation:  # the mean of the folds' curves has no thresholds
        return [], ""
    found = data.estimates(headline=True, endpoint="sensitivity", subject_kind="model")
    n_studies, n_subjects = (found[0]["denominator"], found[0].get("n_denominator_subjects")) if found else (None, None)
    n = int(n_subjects or n_studies or 0)
    if not n:
        return [], ""
    what = counted(n, "subject" if n_subjects else "study", "diseased")
    return [(row["x"], *proportion_interval(round(row["y"] * n), n)) for row in curve], what


def _precision_recall(data: ReportData, auc: Row) -> list[Figure]:
    curve = matching(data.tables["curves"], curve="precision_recall", unit="study", subject_kind="model")
    points = [(row["x"], row["y"]) for row in curve if row["y"] is not None]
    if not points:
        return []
    prevalence = auc["n_positive"] / auc["n_units"] if auc["n_units"] else None
    average = data.estimates(endpoint="average_precision", subject_kind="model", **_MAIN)
    caption = (
        "Precision against recall of the model's study scores at this cohort's prevalence, "
        f"{number(prevalence)} (dashed: calling every study positive)."
    )
    if average and average[0]["value"] is not None:
        caption += f" Average precision {number(average[0]['value'])}."
    return [Figure("Precision and recall", caption, precision_recall_plot(points, prevalence, caption))]


def net_benefit(data: ReportData) -> Section:
    """Return the section with the decision curves, and with the predictive values by prevalence."""
    curves: dict[float | None, list[Row]] = {}
    for row in matching(data.tables["curves"], curve=_DECISION, unit="study", subject_kind="model"):
        if row["y"] is not None:
            curves.setdefault(row.get("prevalence"), []).append(row)
    if not curves:
        return Section("net-benefit", "Net benefit", left_out=["a decision curve needs diseased and healthy studies"])
    figures = [_decision_figure(curve, prevalence) for prevalence, curve in curves.items()]
    return Section("net-benefit", "Net benefit", figures=[*figures, *_predictive_values(data)])


def _decision_figure(curve: list[Row], prevalence: float | None) -> Figure:
    model = [(row["x"], row["y"]) for row in curve]
    call_all = [(row["x"], row["reference_y"]) for row in curve if row["reference_y"] is not None]
    highest = max(0.0, *(y for _, y in [*model, *call_all]))
    where = "this cohort's prevalence" if prevalence is None else f"a prevalence of {prevalence:g}"
    caption = (
        "Net benefit of acting on the model's calls at each threshold probability; dashed: acting on every study. "
        f"Acting on none has a net benefit of 0, where negative values are drawn. It holds at {where}, and only as far "
        "as the scores are calibrated."
    )
    band = [(row["x"], row["ci_low"], row["ci_high"]) for row in curve if row.get("ci_low") is not None]
    if band:
        caption += " The band shows the 95 % interval at each threshold, not of the whole curve."
    title = "Decision curve" if prevalence is None else f"Decision curve at a prevalence of {prevalence:g}"
    return Figure(title, caption, decision_plot(title, model, call_all, highest, caption, band))


def _predictive_values(data: ReportData) -> list[Figure]:
    """Return the figure of PPV and NPV over the prevalence. Outputs of schema versions before 3 have none."""
    ppv, npv = (
        [
            row
            for row in matching(data.tables["curves"], curve=f"{name}_by_prevalence", subject_kind="model")
            if row["y"] is not None
        ]
        for name in ("ppv", "npv")
    )
    if not ppv:
        return []
    caption = (
        "Precision (PPV, solid) and NPV (dashed) of the model's calls that its sensitivity and specificity imply at "
        "each prevalence, by Bayes' rule. Bands: 95 % intervals. It assumes that sensitivity and specificity are the "
        "same there."
    )
    return [Figure("Predictive values by prevalence", caption, predictive_value_plot(ppv, npv, caption))]


def _points(data: ReportData) -> list[Point]:
    rates: dict[tuple[str, str], dict[str, Row]] = {}
    for row in data.estimates(headline=True, endpoint=("sensitivity", "specificity")):
        if row["value"] is not None:
            rates.setdefault((row["subject_kind"], row["subject"]), {})[row["endpoint"]] = row
    return [
        Point(kind, data.readers.get(name, ""), found["sensitivity"], found["specificity"])
        for (kind, name), found in rates.items()
        if len(found) == 2
    ]


def calibration(data: ReportData) -> Section:
    """Return the section on calibration."""
    every = [row for row in data.tables["calibration"] if row["unit"] == "study" and row["n"]]
    bins = [row for row in every if not row.get("calibrated")]
    if not bins:
        return Section("calibration", "Calibration", left_out=[NO_REFERENCE])
    after = [row for row in every if row.get("calibrated")]
    measures = (
        ("brier", "Brier score"),
        ("calibration_intercept", "intercept"),
        ("calibration_slope", "slope"),
        ("expected_calibration_error", "calibration error"),
    )
    every_measure = (*measures, ("average_precision", "average precision"))
    rows = data.estimates(unit="study", analysis_set="determinate", subject_kind="model", covariate=(None, "bins"))
    tables = [
        measure_table(
            "Measures of the scores (ideal: intercept 0, slope 1)",
            rows,
            [("", data.subject)],
            every_measure,
        )
    ]
    figures = [_calibration_figure("Observed against predicted", "score", bins)]
    at_prevalence = measure_table(
        "Measures of the scores at other prevalences: the diseased are weighted to make up that share",
        data.estimates(
            covariate="prevalence",
            operating_point=None,
            unit="study",
            analysis_set="determinate",
            subject_kind="model",
        ),
        [("prevalence", lambda row: str(row["level"]))],
        [(f"{name}_at_prevalence", heading) for name, heading in every_measure],
    )
    reweighted: dict[float, list[Row]] = {}
    for row in matching(data.tables["curves"], curve="calibration_at_prevalence", unit="study", subject_kind="model"):
        reweighted.setdefault(row["prevalence"], []).append(row)
    figures += [_reweighted_calibration(bins, curve, prevalence) for prevalence, curve in reweighted.items()]
    tables += [at_prevalence] if at_prevalence.rows else []
    tables.append(_calibration_table("Calibration by bin", bins))
    introduction = []
    if after:
        introduction.append(
            f"The model's package has a calibration{_calibration_method(data)}. It maps a study's score to a "
            "probability, and does not change the order of two studies, the calls or the AUC. It was chosen on scores "
            "of single folds' models, so it is approximate for an ensemble of them."
        )
        figures.append(_calibration_figure("With the package's calibration", "calibrated probability", after))
        with_it = [(f"{endpoint}_calibrated", heading) for endpoint, heading in measures]
        tables.insert(1, measure_table("With the package's calibration", rows, [("", data.subject)], with_it))
        tables.append(_calibration_table("Calibration by bin, with the package's calibration", after))
    return Section("calibration", "Calibration", introduction, figures=figures, tables=tables)


def _calibration_method(data: ReportData) -> str:
    decisions = data.record.model.decisions
    return f" ({decisions.calibration.method})" if decisions and decisions.calibration else ""


def _calibration_figure(title: str, of_what: str, bins: list[Row]) -> Figure:
    n = sum(row["n"] for row in bins)
    caption = (
        f"Share of diseased studies against the mean {of_what}, in {bins[0]['bins']} bins of equal width (empty ones "
        f"left out), with 95 % intervals; n = {counted(n, 'study')}. The dashed line is perfect calibration. The "
        "bars below show how many studies each bin has."
    )
    return Figure(title, caption, calibration_plot(title, bins, caption))


def _calibration_table(caption: str, bins: list[Row]) -> Table:
    return Table(
        caption,
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


def _reweighted_calibration(bins: list[Row], curve: list[Row], prevalence: float) -> Figure:
    """Return the calibration diagram of the same bins, with the shares and intervals of the reweighted curve."""
    of_bin = {row["point"]: row for row in curve}
    bins = [
        {
            **row,
            "mean_score": found["x"],
            "observed": found["y"],
            "ci_low": found["ci_low"],
            "ci_high": found["ci_high"],
        }
        for row in bins
        if (found := of_bin.get(row["bin"])) and found["y"] is not None
    ]
    caption = (
        "Share of diseased studies against the mean score, in the same bins, with 95 % intervals, if the diseased made "
        f"up {prevalence:g} of the studies. The numbers are those of this cohort."
    )
    title = f"Calibration at a prevalence of {prevalence:g}"
    return Figure(title, caption, calibration_plot(title, bins, caption))


_UNCERTAINTIES = {
    "score_margin": "distance of the score to the threshold",
    "score_entropy": "distance of the score to 0.5",
    "chd_probability_sd": "standard deviation of the members' probabilities",
    "mask_disagreement": "disagreement of the members' masks",
    "view_score": "view score",
    "random": "left out at random",
    "oracle": "oracle: wrong calls left out first",
}
"""Measure of uncertainty → its name, in the order of the report."""

_SHARES_KEPT = (1.0, 0.9, 0.8, 0.7, 0.5)


def abstention(data: ReportData) -> Section | None:
    """Return the section on abstention curves, or None for tables of a schema version that had none."""
    curves = {
        name: points
        for name in _UNCERTAINTIES
        if (points := matching(data.tables["abstention"], unit="study", uncertainty=name))
    }
    if not curves:
        return None
    caption = (
        "Share of wrong calls against the share of studies kept, if the most uncertain ones are left out. A measure of "
        "uncertainty is worth something where its curve lies below the dashed line of studies left out at random; no "
        f"curve can lie below the dotted line of the oracle. Operating point {curves['random'][0]['operating_point']}."
    )
    names = {name: f"{_UNCERTAINTIES[name]}{'*' if name in ('random', 'oracle') else ''}" for name in curves}
    lines = {names[name]: [(row["kept"], row["error_rate"]) for row in points] for name, points in curves.items()}
    areas = data.estimates(endpoint="abstention_area", covariate="uncertainty", unit="study")
    by_measure = ("studies are left out by", lambda row: _UNCERTAINTIES[row["level"]])
    cells = [
        (_UNCERTAINTIES[name], *(_at_share(points, share) for share in _SHARES_KEPT)) for name, points in curves.items()
    ]
    return Section(
        "abstention",
        "Abstention",
        figures=[Figure("Errors among the studies that are kept", caption, abstention_plot(lines, caption))],
        tables=[
            measure_table(
                "Area under the curve, with 95 % intervals; less is better",
                sorted(areas, key=lambda row: list(_UNCERTAINTIES).index(row["level"])),
                [by_measure],
                [("abstention_area", "mean share of wrong calls")],
            ),
            Table(
                "Wrong calls, sensitivity and specificity by the share of studies kept",
                ("left out by", *(f"{share:.0%} kept" for share in _SHARES_KEPT)),
                cells,
                folded=True,
            ),
        ],
    )


def _at_share(points: list[Row], share: float) -> Cell:
    """Return the figures at the point that is nearest to a share of kept studies."""
    row = min(points, key=lambda point: abs(point["kept"] - share))
    return number(row["error_rate"]), f"{number(row['sensitivity'])}, {number(row['specificity'])}"


_CALLS = ("positive", "negative", "indeterminate", "missing")
_LABELS = {"positive": "diseased", "negative": "healthy", "unknown": "no reference"}


def confusion(data: ReportData) -> Section:
    """Return the section with the confusion matrix."""
    rows = matching(data.tables["cross_tabulation"], unit="study", comparator_kind="reference")
    if not any(row["reference_call"] != "unknown" for row in rows):
        return Section("confusion", "Confusion", left_out=[NO_REFERENCE])
    counts: dict[tuple[Cell, str], Counter[tuple[str, str]]] = {}
    for row in rows:
        named = (row["subject"], row["operating_point"]) if row["operating_point"] else data.subject(row)
        whom = (named, row["subject_kind"])
        counts.setdefault(whom, Counter())[row["reference_call"], row["call"]] += row["n"]
    shown = [
        (label, call) for label in _LABELS for call in _CALLS if any(found[label, call] for found in counts.values())
    ]
    cells = [
        (name, *(count(found[cell]) for cell in shown))
        for (name, kind), found in sorted(counts.items(), key=lambda item: _order(item[0][1]))
    ]
    model = Counter[tuple[str, str]]()
    for row in matching(rows, subject_kind="model", operating_point=data.operating_point):
        model[row["reference_call"], row["call"]] += row["n"]
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


_ARM_STUDIES = {"determinate": "read by all readers in both arms", "read_in_both_arms": "each reader's own"}


def _loss_of_studies(tests: list[Row]) -> Iterator[str]:
    """Say how many studies the comparison of studies that all readers read leaves out."""
    of_level: dict[str, dict[str, int]] = {}
    for row in tests:
        of_level.setdefault(row["level"], {}).setdefault(row["analysis_set"], row["n_units"])
    for level, n in of_level.items():
        if "read_in_both_arms" in n:
            yield (
                f"{words(level)}: {counted(n['read_in_both_arms'], 'study')} were read in both arms by at least one "
                f"reader, {count(n['determinate'])} by every reader. The rows of each reader's own studies use all of "
                "them, and compare each reader with himself or herself. They assume that whether a study was read "
                "does not depend on how the reader would call it."
            )


def arms(data: ReportData) -> Section | None:
    """Return the section on readers in a second arm, such as with the model's aid, or None without a second arm."""
    reads = data.estimates(covariate="arm", unit="study", analysis_set="determinate")
    tests = data.compared(covariate="arm")
    if not reads and not tests:
        return None
    measures = (("roc_auc", "AUC"), ("sensitivity", "sensitivity"), ("specificity", "specificity"))
    difference = ("difference", lambda row: words(row["level"]))
    whose = ("studies", lambda row: _ARM_STUDIES[row["analysis_set"]])
    return Section(
        "arms",
        "Readers in two arms",
        [
            "The same readers in another arm. Comparisons use the studies that were read in both arms.",
            *_loss_of_studies(tests),
        ],
        tables=[
            measure_table(
                "Mean of the readers, difference between arms (Obuchowski–Rockette, Hillis' degrees of freedom)",
                tests,
                [difference, whose],
                measures,
                cell=comparison_cell,
            ),
            measure_table(
                "Each reader in the further arm",
                reads,
                [("", data.subject), ("arm", lambda row: words(row["level"]))],
                measures,
            ),
        ],
        left_out=[] if tests else ["the test between arms, because fewer than two readers have both"],
    )
