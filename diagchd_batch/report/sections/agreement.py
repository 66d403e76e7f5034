"""Agreement among readers, and of the model with them. No reference standard is needed."""

from diagchd_batch.report.blocks import Figure, Section
from diagchd_batch.report.figures.matrix import agreement_matrix
from diagchd_batch.report.measures import Key, Measure, measure_table
from diagchd_batch.report.source import Row, Source

_MEASURES: tuple[Measure, ...] = (
    ("percent_agreement", "equal calls"),
    ("cohen_kappa", "Cohen's kappa"),
    ("fleiss_kappa", "Fleiss' kappa"),
    ("gwet_ac1", "Gwet's AC1"),
    ("krippendorff_alpha", "Krippendorff's alpha"),
    ("positive_agreement", "positive agreement"),
    ("negative_agreement", "negative agreement"),
)


def agreement(source: Source) -> Section:
    points = (source.operating_point, *({None} - {source.operating_point}))
    rows = [
        row
        for row in source.estimates(unit="study", analysis_set="agreement")
        if row["operating_point"] in points or row["subject_kind"] != "model"
    ]
    if not rows:
        return Section("agreement", "Agreement", left_out=["no readers were given"])
    kinds: dict[str, list[Key]] = {
        "Among all readers, and with the model as one more": [("", _group)],
        "The model with each reader": [("model with", source.comparator)],
        "Each reader with the majority of the others": [("", source.subject)],
        "Each reader with the own second reading": [("", source.subject)],
        "Every pair of readers": [("", source.subject), ("with", source.comparator)],
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
        ["Agreement needs no reference standard. AC1 stands beside kappa, which drops at low prevalence."],
        figures=_matrix(source, rows),
        tables=tables,
    )


def _matrix(source: Source, rows: list[Row]) -> list[Figure]:
    values: dict[tuple[str, str], float] = {}
    pairs: list[Row] = [row for row in rows if row["endpoint"] == "cohen_kappa" and row["comparator_kind"] == "reader"]
    names: dict[str, str] = {row["subject"]: "model" for row in pairs if row["subject_kind"] == "model"}
    for row in pairs:
        for name in (str(row["subject"]), str(row["comparator"])):
            names.setdefault(name, source.readers.get(name, name))
        if row["value"] is not None:
            values.setdefault((row["subject"], row["comparator"]), row["value"])
    if not values:
        return []
    ordered = sorted(names, key=lambda name: (names[name] != "model", name))
    units = [row["n_units"] for row in pairs]
    legend = "; ".join(f"{names[name]} = {name}" for name in ordered)
    caption = (
        f"Cohen's kappa (unweighted) of every pair of raters; the n of a pair is {min(units)} to {max(units)} studies. "
        f"{legend}."
    )
    return [
        Figure("Cohen's kappa", caption, agreement_matrix({name: names[name] for name in ordered}, values, caption))
    ]


def _group(row: Row) -> str:
    return "readers and model" if row["subject"] == "readers_and_model" else "readers"
