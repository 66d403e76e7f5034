"""Definitions, versions, and the limits of use that the model's card states."""

from diagchd_batch.evaluation.cohort.definitions import DEFINITIONS
from diagchd_batch.evaluation.cohort.schemas import ANALYSIS_SETS
from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS as OF_COMPARISONS
from diagchd_batch.report.blocks import Section, Table
from diagchd_batch.report.formatting import words
from diagchd_batch.report.source import Source


def definitions(source: Source) -> Section:
    rows = [*source.tables["estimates"], *source.tables["comparisons"]]
    rows += [row for found in source.comparisons.values() for name in _MEASURES for row in found[name]]
    used = dict.fromkeys(row["endpoint"] for row in rows)
    known = DEFINITIONS | OF_COMPARISONS
    sets = dict.fromkeys(row["analysis_set"] for row in rows if row["analysis_set"] in ANALYSIS_SETS)
    return Section(
        "definitions",
        "Definitions",
        ["The tables estimates and comparisons give each figure's method, n and definition beside it."],
        tables=[
            Table(
                "Which units enter", ("analysis set", "units"), [(words(name), ANALYSIS_SETS[name]) for name in sets]
            ),
            Table(
                "What every measure means",
                ("measure", "definition"),
                [(words(name), known[name]) for name in used if name in known],
                folded=True,
            ),
        ],
    )


_MEASURES = ("comparison_tests", "comparison_masks")


def versions(source: Source) -> Section:
    record = source.record
    rows = [
        ("model", record.model.name),
        ("weights (SHA-256)", record.model.weights_digest),
        ("diagchd-batch", record.package_version),
        *sorted((name, version) for name, version in record.versions.items() if name != "diagchd-batch"),
    ]
    return Section("versions", "Versions", tables=[Table("What made the scores", ("", ""), rows)])


def limits(source: Source) -> Section:
    card = source.record.model.card
    training = card.get("training_data") or {}
    pairs = [
        ("intended use", card.get("intended_use")),
        ("limitations", card.get("limitations")),
        ("training data", training.get("description")),
        ("licence", card.get("licence")),
    ]
    stated = [(name, str(text)) for name, text in pairs if text]
    text = ["For research only. Not a medical device: no result here may decide about a patient."]
    if source.record.simulated:
        text.append("The images of this run are SIMULATED; its figures say nothing about patients.")
    return Section(
        "limits",
        "Limits of use",
        text,
        tables=[Table("From the model's card", ("", ""), stated)] if stated else [],
        left_out=[] if stated else ["the model's card states no limits"],
    )
