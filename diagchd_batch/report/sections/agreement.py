"""The section on agreement among readers and of the model with them. It needs no reference standard."""

from diagchd_batch.report.elements import Figure, Section
from diagchd_batch.report.figures.matrix import agreement_matrix
from diagchd_batch.report.measure_tables import Key, Measure, measure_table
from diagchd_batch.report.report_data import ReportData, Row

_MEASURES: tuple[Measure, ...] = (
    ("percent_agreement", "equal calls"),
    ("cohen_kappa", "Cohen's kappa"),
    ("fleiss_kappa", "Fleiss' kappa"),
    ("gwet_ac1", "Gwet's AC1"),
    ("krippendorff_alpha", "Krippendorff's alpha"),
    ("positive_agreement", "positive agreement"),
    ("negative_agreement", "negative agreement"),
)


def agreement(data: ReportData) -> Section:
    """Return the section on the agreement of readers with each other and with the model."""
    points = (data.operating_point, *({None} - {data.operating_point}))
    rows = [
        row
        for row in data.estimates(unit="study", analysis_set="agreement")
        if row["operating_point"] in points or row["subject_kind"] != "model"
    ]
    if not rows:
        return Section("agreement", "Agreement", left_out=["no readers were given"])
    kinds: dict[str, list[Key]] = {
        "Among all readers, and with the model as one more": [("", _group)],
        "The model with each reader": [("model with", data.comparator)],
        "Each reader with the majority of the others": [("", data.subject)],
        "Each reader with their own second reading": [("", data.subject)],
        "Every pair of readers": [("", data.subject), ("with", data.comparator)],
    }
    parts = (
        [row for row in rows if row["subject_kind"] == "readers"],
        [row for row in rows if row["subject_kind"] == "model" and row["comparator_kind"] == "reader"],
        [row for row in rows if row["subject_kind"] == "reader" and row["comparator_kind"] == "majority"],
        [row for row in rows if row["covariate"] == "session"],
        [row for row in rows if row["subject_kind"] == "reader" and row["comparator_kind"] == "reader"],
    )
    tables = [
        measure_table(caption, part, keys, _MEASURES, folded=place > 1)
        for place, ((caption, keys), part) in enumerate(zip(kinds.items(), parts, strict=True))
        if part
    ]
    return Section(
        "agreement",
        "Agreement",
        ["Agreement needs no reference standard. AC1 is shown beside kappa because kappa drops at low prevalence."],
        figures=_matrix(data, rows),
        tables=tables,
    )


def _matrix(data: ReportData, rows: list[Row]) -> list[Figure]:
    values: dict[tuple[str, str], float] = {}
    pairs: list[Row] = [row for row in rows if row["endpoint"] == "cohen_kappa" and row["comparator_kind"] == "reader"]
    names: dict[str, str] = {row["subject"]: "model" for row in pairs if row["subject_kind"] == "model"}
    for row in pairs:
        for name in (str(row["subject"]), str(row["comparator"])):
            names.setdefault(name, data.readers.get(name, name))
        if row["value"] is not None:
            values.setdefault((row["subject"], row["comparator"]), row["value"])
    if not values:
        return []
    ordered = sorted(names, key=lambda name: (names[name] != "model", name))
    units = [row["n_units"] for row in pairs]
    legend = "; ".join(f"{names[name]} = {name}" for name in ordered)
    caption = (
        f"Cohen's kappa (unweighted) of every pair of raters; each pair has {min(units)} to {max(units)} studies. "
        f"{legend}."
    )
    return [
        Figure("Cohen's kappa", caption, agreement_matrix({name: names[name] for name in ordered}, values, caption))
    ]


def _group(row: Row) -> str:
    return "readers and model" if row["subject"] == "readers_and_model" else "readers"
