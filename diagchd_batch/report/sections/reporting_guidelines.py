"""The result items that reporting guidelines ask for, each with its place in this report.

The items are in our own words, with the numbers of STARD-AI (doi:10.1038/s41591-025-03953-8) and TRIPOD+AI
(doi:10.1136/bmj-2023-078378). All items of the results parts were compared with two public transcriptions of each
checklist, which agree, and with STARD 2015 (doi:10.1136/bmj.h5527), whose items 19 to 25 are items 24 to 27 and 30 to
32 of STARD-AI. They were not compared with the journals' own pages. The methods parts are represented only by the items
that have results: 19, 20, 21 and 23 of STARD-AI, and decision curves, because item 12e of TRIPOD+AI asks for clinical
utility.
"""

from collections.abc import Iterator

from diagchd_batch.evaluation.tables.display_names import MISSING
from diagchd_batch.report.elements import Section, Table
from diagchd_batch.report.report_data import ReportData
from diagchd_batch.report.sections.scores import ROC

NOT_SUPPLIED = "not supplied"

_STARD, _TRIPOD = "STARD-AI", "TRIPOD+AI"
_OF_EVERY_RUN = {"studies", "diagnosis", "source_resolution", "number_of_images"}
"""Characteristics that every run has, whether or not the job names covariates."""

Item = tuple[str, str, str, str | None]
"""Guideline, number of the item, the item, and the section of this report that holds it."""


def reporting(data: ReportData) -> Section:
    """Return the section that shows where each item of the reporting guidelines stands; empty without labels."""
    if not _has_headline(data):
        reason = "no study has a reference label, and the guidelines ask for results against labels"
        return Section("reporting", "Reporting items", left_out=[reason])
    items = [*_diagnostic_accuracy(data), *_prediction_model(data)]
    return Section(
        "reporting",
        "Reporting items",
        [
            "These are the items of the results parts, and those of the methods parts that have results. The numbers "
            "are the guidelines', the words are ours: check them against the guidelines before you publish. What the "
            "guidelines ask for in title, introduction, methods, discussion and declarations is up to the authors."
        ],
        tables=[
            Table(
                "Result items of STARD-AI and TRIPOD+AI, and where this report has them",
                ("guideline", "no.", "item", "where"),
                [(guideline, number, item, where or NOT_SUPPLIED) for guideline, number, item, where in items],
            )
        ],
    )


def _diagnostic_accuracy(data: ReportData) -> Iterator[Item]:
    headline = "Headline" if _has_headline(data) else None
    flow = "Flow of studies" if data.tables["flow"] else None
    given, technical = _described_by_the_job(data), _has(data, "source_resolution")
    failures = "Worst cases; Failures and quality flags" if data.record.counts else None
    diseased, healthy = (_has_diagnoses(data, group) for group in ("positive", "negative"))
    yield _STARD, "19–20", "indeterminate and missing results", flow and f"{flow}; Headline, counted both ways"
    yield _STARD, "21", "variability of accuracy", "Subgroups" if headline and (given or technical) else None
    yield _STARD, "23", "errors of the algorithm", failures
    yield _STARD, "23", "bias and fairness, by what is known of the people", "Subgroups" if headline and given else None
    yield _STARD, "24", "flow of participants, as a diagram", flow
    yield _STARD, "25", "demographic and clinical characteristics of those evaluated", "Cohort" if given else None
    yield _STARD, "25", "technical characteristics of the data evaluated", "Cohort" if technical else None
    yield _STARD, "25", "all these of the training and validation sets", None
    yield _STARD, "26a", "severity among those with the condition", "Cohort; Subgroups, by lesion" if diseased else None
    yield _STARD, "26b", "other diagnoses among those without it", "Cohort" if healthy else None
    yield _STARD, "27", "time and interventions between index test and reference standard", None
    yield _STARD, "28", "whether the condition is distributed as among those the test is meant for", None
    yield _STARD, "29", "how an external data set differs from those of development", None
    yield _STARD, "30", "index test's results against those of the reference standard", headline and "Confusion"
    yield _STARD, "31", "estimates of accuracy and their precision", headline and f"{headline}; {ROC}"
    yield _STARD, "32", "adverse events of either test", None


def _prediction_model(data: ReportData) -> Iterator[Item]:
    headline = "Headline" if _has_headline(data) else None
    given = _described_by_the_job(data)
    of_model = [row for row in data.tables["curves"] if row["unit"] == "study" and row["subject_kind"] == "model"]
    curves = {row["curve"] for row in of_model}
    calibrated = any(row["n"] for row in data.tables["calibration"])
    updated = "Earlier runs, where one is of an earlier model" if data.comparisons else None
    decision = "Net benefit" if "decision" in curves else None
    yield _TRIPOD, "12e", "clinical utility: decision curve", decision
    yield _TRIPOD, "20a", "flow of participants, with and without the outcome", headline and "Flow of studies"
    yield _TRIPOD, "20b", "characteristics, and how much is missing of them", "Cohort" if given else None
    yield _TRIPOD, "20b", "dates, settings and treatments", None
    yield _TRIPOD, "20c", "comparison with the development data", None
    yield _TRIPOD, "21", "participants and outcome events in each analysis", headline
    yield _TRIPOD, "22", "the model itself (where it is developed)", "What was run: architecture, digest of the weights"
    yield _TRIPOD, "23a", "discrimination with intervals", ROC if "roc" in curves else None
    yield _TRIPOD, "23a", "calibration with a plot", "Calibration" if calibrated else None
    yield _TRIPOD, "23a", "performance in key subgroups", "Subgroups" if headline and given else None
    yield _TRIPOD, "23b", "heterogeneity between clusters, as hospitals are", _heterogeneity(data)
    yield _TRIPOD, "24", "updating of the model, and performance after it", updated


def _has_headline(data: ReportData) -> bool:
    """Return whether any study entered the headline table. Without labels its rows are empty."""
    return any(row["n_units"] for row in data.estimates(headline=True))


def _has(data: ReportData, variable: str) -> bool:
    return any(row["variable"] == variable for row in data.tables["cohort_characteristics"])


def _described_by_the_job(data: ReportData) -> bool:
    """Return whether the job names covariates of the studies."""
    return bool({row["variable"] for row in data.tables["cohort_characteristics"]} - _OF_EVERY_RUN)


def _has_diagnoses(data: ReportData, group: str) -> bool:
    return any(
        row["variable"] == "diagnosis" and row["group"] == group and row["level"] != MISSING and row["value"]
        for row in data.tables["cohort_characteristics"]
    )


def _heterogeneity(data: ReportData) -> str | None:
    tested = {row["covariate"] for row in data.tables["comparisons"] if row["endpoint"].endswith("_interaction")}
    return "Subgroups: interaction tests, where a covariate names the clusters" if tested - _OF_EVERY_RUN else None
