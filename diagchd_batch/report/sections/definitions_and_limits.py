"""The last sections: definitions, versions, and the limits of use that the model's card states."""

from collections.abc import Mapping
from typing import Any

from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS as COMPARISON_DEFINITIONS
from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.model.clinical_warning import trained_on_phantoms, uses_card_weights
from diagchd_batch.report.elements import Section, Table
from diagchd_batch.report.formatting import words
from diagchd_batch.report.report_data import ReportData
from diagchd_batch.results.columns.evaluation_tables import ANALYSIS_SETS


def definitions(data: ReportData) -> Section:
    """Return the section that defines the report's terms and measures."""
    rows = [*data.tables["estimates"], *data.tables["comparisons"]]
    rows += [row for found in data.comparisons.values() for name in _MEASURES for row in found[name]]
    used = dict.fromkeys(row["endpoint"] for row in rows)
    known = DEFINITIONS | COMPARISON_DEFINITIONS
    sets = dict.fromkeys(row["analysis_set"] for row in rows if row["analysis_set"] in ANALYSIS_SETS)
    return Section(
        "definitions",
        "Definitions",
        ["In the tables estimates and comparisons, each row has its method, n and definition."],
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


def versions(data: ReportData) -> Section:
    """Return the section on the versions of the program and its packages."""
    record = data.record
    rows = [
        ("model", record.model.name),
        ("weights (SHA-256)", record.model.weights_digest),
        ("diagchd-batch", record.package_version),
        *sorted((name, version) for name, version in record.versions.items() if name != "diagchd-batch"),
    ]
    return Section("versions", "Versions", tables=[Table("What made the scores", ("", ""), rows)])


def limits(data: ReportData) -> Section:
    """Return the section on the limits of use."""
    model = data.record.model
    text = ["For research only. This is not a medical device: do not use any result here to decide about a patient."]
    if data.record.simulated:
        text.append("The images of this run are SIMULATED; its figures say nothing about patients.")
    elif trained_on_phantoms(model.card, model.weights_digest):
        text.append(
            "The weights were trained on SIMULATED phantoms, so their scores of these images have no clinical meaning."
        )
    stated = _stated(model.card, model.weights_digest)
    return Section(
        "limits",
        "Limits of use",
        text,
        tables=[Table("From the model's card", ("", ""), stated)] if stated else [],
        left_out=[] if stated else ["the model's card states no limits"],
    )


def _stated(card: Mapping[str, Any], weights_digest: str) -> list[tuple[str, str]]:
    """Return what the card states, without what does not apply to weights other than the card's."""
    foreign = bool(card.get("weights")) and not uses_card_weights(card, weights_digest)
    training = (card.get("training_data") or {}).get("description")
    pairs = [
        ("intended use", None if foreign else card.get("intended_use")),
        ("limitations", None if foreign else card.get("limitations")),
        ("training data", None if foreign else training),
        (
            "weights",
            "not those of the card; what they were trained on, and for what use, is unknown" if foreign else None,
        ),
        ("licence", card.get("licence")),
    ]
    return [(name, str(text)) for name, text in pairs if text]
