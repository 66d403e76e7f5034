"""The result items that reporting guidelines ask for, each with its place in this report.

The items are in our own words and without the guidelines' numbers: after the results part of STARD 2015, which STARD-AI
extends for artificial intelligence, and of TRIPOD+AI (doi:10.1136/bmj-2023-078378).
"""

from diagchd_batch.report.blocks import Section, Table
from diagchd_batch.report.source import Source

NOT_SUPPLIED = "not supplied"

_DIAGNOSTIC, _PREDICTION = "STARD-AI", "TRIPOD+AI"


def reporting(source: Source) -> Section:
    record = source.record
    tables = source.tables
    estimates = tables["estimates"]
    has_headline = bool(source.headline)
    has_curve = any(row["curve"] == "roc" and row["unit"] == "study" for row in tables["curves"])
    has_bins = any(row["n"] for row in tables["calibration"])
    characteristics = {row["variable"] for row in tables["cohort_characteristics"]} - {"studies"}
    subgroups = any(row["covariate"] and row["subject_kind"] == "model" for row in estimates)
    versions = record.model.card.get("changelog")
    items: list[tuple[str, str, str | None]] = [
        (_DIAGNOSTIC, "flow of participants, as a diagram", "Flow of studies" if tables["flow"] else None),
        (_DIAGNOSTIC, "baseline characteristics of participants", "Cohort" if characteristics else None),
        (
            _DIAGNOSTIC,
            "distribution of severity among those with the condition",
            "Cohort and Subgroups, as diagnoses" if "diagnosis" in characteristics else None,
        ),
        (_DIAGNOSTIC, "distribution of alternative diagnoses among those without the condition", None),
        (_DIAGNOSTIC, "time and interventions between index test and reference standard", None),
        (
            _DIAGNOSTIC,
            "cross tabulation of the index test's results by those of the reference standard",
            "Confusion" if has_headline else None,
        ),
        (_DIAGNOSTIC, "estimates of accuracy and their precision", "Headline; ROC curve" if has_headline else None),
        (
            _DIAGNOSTIC,
            "indeterminate and missing results",
            "Flow of studies; Headline, counted both ways" if tables["flow"] else None,
        ),
        (_DIAGNOSTIC, "performance in subgroups", "Subgroups" if subgroups else None),
        (
            _DIAGNOSTIC,
            "errors and failures of the algorithm",
            "Worst cases; Failures and quality flags" if record.counts else None,
        ),
        (_DIAGNOSTIC, "adverse events from performing the tests", None),
        (
            _PREDICTION,
            "flow of participants, with and without the outcome",
            "Flow of studies" if has_headline else None,
        ),
        (
            _PREDICTION,
            "characteristics of participants, missing values included",
            "Cohort" if characteristics else None,
        ),
        (_PREDICTION, "comparison of development and evaluation data", None),
        (
            _PREDICTION,
            "numbers of participants and outcome events in each analysis",
            "Headline" if has_headline else None,
        ),
        (
            _PREDICTION,
            "the model, so that predictions can be made from it",
            "What was run: architecture and the digest of the weights",
        ),
        (_PREDICTION, "discrimination with intervals", "ROC curve" if has_curve else None),
        (_PREDICTION, "calibration with a plot", "Calibration" if has_bins else None),
        (_PREDICTION, "performance in key subgroups and heterogeneity", "Subgroups" if subgroups else None),
        (
            _PREDICTION,
            "model updating: which model, and performance after it",
            "Earlier runs" if source.comparisons else "What was run: version" if versions else None,
        ),
    ]
    return Section(
        "reporting",
        "Reporting items",
        [
            "Items of the results parts, in our own words: check them against the guidelines before you publish. The "
            "guidelines have further items, on methods and discussion, that no software can fill."
        ],
        tables=[
            Table(
                "Result items of STARD-AI and TRIPOD+AI, and where this report has them",
                ("guideline", "item", "where"),
                [(guideline, item, where or NOT_SUPPLIED) for guideline, item, where in items],
            )
        ],
    )
