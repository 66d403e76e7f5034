"""The headline section: model, readers, their mean and majority against the reference standard, and differences."""

from collections.abc import Iterator

from diagchd_batch.report.elements import Section, Table, Tile
from diagchd_batch.report.formatting import counted, interval, number, p_value, signed, words
from diagchd_batch.report.key_figures import KeyFigure, key_figures
from diagchd_batch.report.measure_tables import (
    Measure,
    caution_sentences,
    comparison_cell,
    measure_table,
    method_table,
)
from diagchd_batch.report.report_data import ReportData, Row
from diagchd_batch.results.columns.evaluation_tables import ANALYSIS_SETS

NO_REFERENCE = "no study with a score has a reference label"

COUNTS: tuple[Measure, ...] = (("tp", "TP"), ("fp", "FP"), ("fn", "FN"), ("tn", "TN"))
RATES: tuple[Measure, ...] = (
    ("accuracy", "accuracy"),
    ("sensitivity", "recall (sensitivity)"),
    ("specificity", "specificity"),
    ("ppv", "precision (PPV)"),
    ("npv", "NPV"),
    ("f1", "F1"),
)
_FURTHER: tuple[Measure, ...] = (
    ("balanced_accuracy", "balanced accuracy"),
    ("mcc", "MCC"),
    ("lr_positive", "LR+"),
    ("lr_negative", "LR−"),
    ("ppv_pooled", "pooled precision"),
    ("npv_pooled", "pooled NPV"),
    ("prevalence", "prevalence"),
)
_STATISTICS = {
    "mean": "mean",
    "max": "maximum",
    "median": "median",
    "top_k": "mean of the {top_k} highest",
}
"""How scores are combined → in words."""

_UNREAD_SETS = ("not_read_wrong", "not_read_right")
_KINDS = ("model", "reader", "readers_mean", "majority")


def headline(data: ReportData) -> Section:
    """Return the headline section."""
    rows = sorted(data.estimates(headline=True), key=lambda row: (_KINDS.index(row["subject_kind"]), row["subject"]))
    tiles = [
        Tile(figure.name, number(figure.value), f"{_limits(figure)}{figure.basis}")
        for figure in key_figures(data.tables["estimates"])
    ]
    if not any(row["n_units"] for row in rows):
        return Section("headline", "Headline", tiles=tiles, left_out=[NO_REFERENCE])
    compared = data.compared(headline=True, subject_kind="model", comparator_kind=_KINDS)
    compared.sort(key=lambda row: (_KINDS.index(row["comparator_kind"]), row["comparator"]))
    whom, against = ("", data.subject), ("model minus", data.comparator)
    tables = [
        measure_table(
            "Calls against the reference standard, with 95 % intervals; n = studies analysed",
            rows,
            [whom],
            (*COUNTS, *RATES),
            excluded=True,
            cautions=False,
        )
    ]
    if compared:
        caption = "Differences model − reader on the studies that both called: 95 % interval, p (adjusted p)"
        table = measure_table(caption, compared, [against], RATES, cell=comparison_cell, cautions=False)
        tables.append(table)
    tables += _second_rank(data, rows, compared)
    left_out = [] if data.readers else ["no readers were given, so the model is not compared"]
    return Section(
        "headline",
        "Headline",
        list(_introduction(data, rows, compared)),
        tiles,
        tables=[table for table in tables if table.rows],
        left_out=left_out,
    )


def _introduction(data: ReportData, rows: list[Row], compared: list[Row]) -> Iterator[str]:
    row = rows[0]
    if folds := data.record.cross_validation:
        yield (
            f"These figures are cross-validated in {counted(folds.n_folds, 'fold')}: each of "
            f"{counted(data.record.plan.n_studies, 'study')} was scored by the model of the fold that held it out, not "
            "by the package's ensemble. The AUC is the mean of the folds' AUCs, weighted by their pairs of a diseased "
            "and a healthy study, and its interval resamples subjects within folds. Calls are counted over all folds. "
            "No interval includes the variation between models that other training sets would give."
        )
    yield (
        f"The unit of analysis is the study. {_score(row)} {_threshold(data, row)} "
        f"Analysis set: {ANALYSIS_SETS[row['analysis_set']]}."
    )
    if row["optimistic"]:
        yield "These figures are optimistic, because the threshold was chosen on this cohort."
    if row["cluster"] == "subject":
        yield (
            "Some subjects have several studies, so intervals and tests account for clusters (effective number of "
            "units, subject bootstrap, sign flips of subjects, scores summed within subjects)."
        )
    else:
        yield "Every subject has one study."
    yield f"Precision and NPV hold at this cohort's prevalence, {number(_prevalence(row))}."
    if compared:
        yield (
            "Differences are model − reader on the studies with both calls, so they can deviate from the difference of "
            "two rows above. p in brackets is adjusted by Holm's method within a family of comparisons. Everything "
            "except a named primary endpoint is exploratory."
        )
    for primary in data.compared(role="primary"):
        yield _primary(primary)
    unread = _unread(data)
    if unread:
        yield unread
    yield from caution_sentences((*rows, *compared), dict(RATES))


def _unread(data: ReportData) -> str:
    """Return how many studies each reader did not read, and what that can do to the readers' mean."""
    mean = {
        (row["analysis_set"], row["endpoint"]): row["value"]
        for row in data.estimates(subject_kind="readers_mean", covariate=None, analysis_set=_UNREAD_SETS)
    }
    if not mean:
        return ""
    n_read = [row["n_units"] for row in data.estimates(headline=True, endpoint="tp", subject_kind="reader")]
    n_called = f"{min(n_read)} to {max(n_read)}" if min(n_read) < max(n_read) else str(min(n_read))
    n_all = max(row["n_units"] for row in data.estimates(subject_kind="reader", analysis_set=_UNREAD_SETS))
    spans = (
        f"{name} from {number(mean[_UNREAD_SETS[0], name])} to {number(mean[_UNREAD_SETS[1], name])}"
        for name in ("sensitivity", "specificity")
    )
    return (
        f"The readers' figures leave out studies that they did not read: of {n_all} studies with a reference label, "
        f"each reader called {n_called}. If all unread studies were read wrong, or all right, the "
        f"readers' mean would have a {' and a '.join(spans)}."
    )


def _primary(row: Row) -> str:
    """Return the primary endpoint and its conclusion in words."""
    limits = interval(row["ci_low"], row["ci_high"])
    head = (
        f"Primary endpoint: {words(row['endpoint'])}, {words(row['subject'])} − {words(row['comparator'])}, "
        f"margin {number(row['margin'])}: {signed(row['difference'])} ({limits}), p {p_value(row['p'])}; "
        f"{words(row['conclusion'])}."
    )
    if row.get("p_margin") is not None:
        head += f" One-sided p against the margin: {p_value(row['p_margin'])}."
    reasons = {
        "superior": "The whole 95 % interval lies above 0.",
        "non-inferior": f"The whole 95 % interval lies above −{number(row['margin'])}, but not above 0.",
        "not shown": f"The 95 % interval reaches down to {signed(row['ci_low'])}, so the margin is not excluded.",
        "no interval": "Without an interval there is no conclusion.",
    }
    return f"{head} {reasons[row['conclusion']]}"


def _score(row: Row) -> str:
    """Return the definition of a study's score in a sentence."""
    study_score = _STATISTICS[row["study_score"]]
    if row.get("image_score") is None:  # an evaluation of schema version 1 or 2
        return f"Its score is the {study_score} of its frames' probabilities of CHD."
    image_score = _STATISTICS[row["image_score"]].format(top_k=row["top_k"])
    return (
        f"Its score is the {study_score} of its images' scores. An image's score is the {image_score} of its frames' "
        "probabilities of CHD."
    )


def _limits(figure: KeyFigure) -> str:
    return "" if figure.low is None else f"{interval(figure.low, figure.high)} · "


def _threshold(data: ReportData, row: Row) -> str:
    points = data.record.config.get("evaluation", {}).get("operating_points", [])
    chosen = next(
        (
            f", chosen on: {point.get('chosen_on') or 'not stated'}"
            for point in points
            if (point.get("name"), point.get("threshold")) == (row["operating_point"], row["threshold"])
        ),
        "",
    )
    return f"CHD is called at {row['threshold']:g} and above (operating point {row['operating_point']}{chosen})."


def _prevalence(row: Row) -> float | None:
    return row["n_positive"] / row["n_units"] if row["n_units"] else None


def _second_rank(data: ReportData, rows: list[Row], compared: list[Row]) -> Iterator[Table]:
    studies = {"unit": "study", "covariate": None}
    whom = ("", data.subject)
    both_ways = data.estimates(analysis_set=("indeterminate_wrong", "indeterminate_right"), **studies)
    if len({row["operating_point"] for row in data.estimates(endpoint="tp", subject_kind="model", **studies)}) > 1:
        point = ("operating point", lambda row: f"{row['operating_point']} (≥ {row['threshold']:g})")
        every = data.estimates(analysis_set="determinate", subject_kind="model", **studies)
        every = [row for row in every if row["operating_point"] is not None]
        yield measure_table("The model at every operating point", every, [point], (*COUNTS, *RATES))
    yield measure_table(
        "Predictive values of the model at other prevalences, by Bayes' rule",
        data.estimates(covariate="prevalence", operating_point=data.operating_point),
        [("prevalence", lambda row: str(row["level"]))],
        (("ppv_at_prevalence", "precision (PPV)"), ("npv_at_prevalence", "NPV")),
    )
    yield measure_table(
        "Corrected for studies without a reference label (Begg and Greenes): it assumes that, among studies with the "
        "same call, those with a label are like those without",
        data.estimates(analysis_set="partly_labelled", operating_point=data.operating_point, **studies),
        [whom],
        (("sensitivity_corrected", "recall (sensitivity)"), ("specificity_corrected", "specificity")),
    )
    yield measure_table(
        "Failed, indeterminate and undecided results counted as wrong, and as right",
        both_ways,
        [whom, ("counted as", lambda row: words(row["analysis_set"]).removeprefix("indeterminate "))],
        RATES,
        folded=True,
    )
    counted_as = ("unread studies counted as", lambda row: words(row["analysis_set"]).removeprefix("not read "))
    unread = data.estimates(analysis_set=_UNREAD_SETS, **studies)
    caption = "Readers, with the studies that they did not read counted as wrong, and as right"
    yield measure_table(caption, unread, [whom, counted_as], RATES, folded=True)
    unread = data.compared(analysis_set=_UNREAD_SETS, operating_point=data.operating_point, **studies)
    caption = "Differences model − reader, with the studies that the reader did not read counted as wrong, and as right"
    against = ("model minus", data.comparator)
    yield measure_table(caption, unread, [against, counted_as], RATES, cell=comparison_cell, folded=True)
    generalises = ("the interval is about", lambda row: words(row["generalises_to"] or "these_studies"))
    further = data.estimates(analysis_set="determinate", operating_point=(data.operating_point, None), **studies)
    yield measure_table("Further measures of the calls", further, [whom, generalises], _FURTHER, folded=True)
    images = data.estimates(
        analysis_set="determinate", unit="image", operating_point=data.operating_point, covariate=None
    )
    yield measure_table("The model's calls of single images", images, [whom], (*COUNTS, *RATES), folded=True)
    yield method_table("Methods behind the two tables", [*rows, *compared], dict(RATES))
