"""Definitions, versions, and the limits of use that the model's card states."""

from collections.abc import Mapping
from typing import Any

from diagchd_batch.evaluation.comparison.definitions import DEFINITIONS as OF_COMPARISONS
from diagchd_batch.evaluation.tables.definitions import DEFINITIONS
from diagchd_batch.evaluation.tables.schemas import ANALYSIS_SETS
from diagchd_batch.model.caution import trained_on_phantoms, uses_card_weights
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
    model = source.record.model
    text = ["For research only. Not a medical device: no result here may decide about a patient."]
    if source.record.simulated:
        text.append("The images of this run are SIMULATED; its figures say nothing about patients.")
    elif trained_on_phantoms(model.card, model.weights_digest):
        text.append(
            "The weights were trained on SIMULATED phantoms; their scores of these images mean nothing clinically."
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
    """What the card says, as far as it holds for these weights: a user's own have another history."""
    foreign = bool(card.get("weights")) and not uses_card_weights(card, weights_digest)
    training = (card.get("training_data") or {}).get("description")
    pairs = [
        ("intended use", None if foreign else card.get("intended_use")),
        ("limitations", None if foreign else card.get("limitations")),
        ("training data", None if foreign else training),
        (
            "weights",
            "not those of the card: what they were trained on, and for, is not known here" if foreign else None,
        ),
        ("licence", card.get("licence")),
    ]
    return [(name, str(text)) for name, text in pairs if text]
