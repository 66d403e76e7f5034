"""Definitions, versions, limits of use, and the items that reporting guidelines ask for."""

from diagchd_batch.evaluation.cohort.definitions import DEFINITIONS
from diagchd_batch.report.blocks import Section, Table
from diagchd_batch.report.formatting import words
from diagchd_batch.report.source import Source

NOT_SUPPLIED = "not supplied"


def definitions(source: Source) -> Section:
    used = dict.fromkeys(row["endpoint"] for row in source.tables["estimates"])
    rows = [(words(name), DEFINITIONS[name]) for name in used if name in DEFINITIONS]
    return Section(
        "definitions", "Definitions", tables=[Table("What every measure means", ("measure", "definition"), rows)]
    )


def versions(source: Source) -> Section:
    rows = [("diagchd-batch", source.record.package_version), *sorted(source.record.versions.items())]
    return Section(
        "versions", "Versions", tables=[Table("Software that made the scores", ("package", "version"), rows)]
    )


def limits(source: Source) -> Section:
    text = "For research only. Not a medical device: no result here may decide about a patient."
    if source.record.simulated:
        text += " The images of this run are simulated; its figures say nothing about patients."
    return Section("limits", "Limits of use", text)


def reporting(source: Source) -> Section:
    record = source.record
    has_reference = bool(source.headline)
    subgroups = any(row["covariate"] for row in source.tables["estimates"])
    calibrated = bool(source.tables["calibration"])
    indeterminate = any(row["name"] == "indeterminate" for row in source.tables["flow"])
    items = [
        ("STARD-AI", "flow of participants", "Flow of studies" if source.tables["flow"] else NOT_SUPPLIED),
        ("STARD-AI", "baseline characteristics", "Cohort" if source.tables["cohort_characteristics"] else NOT_SUPPLIED),
        (
            "STARD-AI",
            "severity of disease in those with it",
            "see Cohort" if _has(source, "diagnosis") else NOT_SUPPLIED,
        ),
        ("STARD-AI", "alternative diagnoses in those without it", NOT_SUPPLIED),
        ("STARD-AI", "interval and interventions between index test and reference", NOT_SUPPLIED),
        ("STARD-AI", "cross tabulation of index test and reference", "Confusion" if has_reference else NOT_SUPPLIED),
        ("STARD-AI", "accuracy with precision of estimates", "Headline" if has_reference else NOT_SUPPLIED),
        (
            "STARD-AI",
            "indeterminate and missing results",
            "Flow of studies" if indeterminate or record.counts else NOT_SUPPLIED,
        ),
        ("STARD-AI", "adverse events", NOT_SUPPLIED),
        ("STARD-AI", "failures and error analysis", "Failures and quality flags" if record.counts else NOT_SUPPLIED),
        ("TRIPOD+AI", "participants and outcome events", "Flow of studies" if has_reference else NOT_SUPPLIED),
        ("TRIPOD+AI", "differences between development and evaluation data", NOT_SUPPLIED),
        (
            "TRIPOD+AI",
            "full model specification",
            f"{record.model.architecture}, weights {record.model.weights_digest[:16]}",
        ),
        ("TRIPOD+AI", "discrimination with intervals", "ROC curve" if source.tables["curves"] else NOT_SUPPLIED),
        ("TRIPOD+AI", "calibration", "Calibration" if calibrated else NOT_SUPPLIED),
        ("TRIPOD+AI", "performance in key subgroups, fairness", "Subgroups" if subgroups else NOT_SUPPLIED),
        ("TRIPOD+AI", "model updating", "Earlier runs" if source.comparisons else NOT_SUPPLIED),
    ]
    return Section(
        "reporting",
        "Reporting items",
        tables=[
            Table(
                "Result items of STARD-AI and TRIPOD+AI: where this report has them",
                ("guideline", "item", "where"),
                items,
            )
        ],
    )


def _has(source: Source, variable: str) -> bool:
    return any(row["variable"] == variable for row in source.tables["cohort_characteristics"])
