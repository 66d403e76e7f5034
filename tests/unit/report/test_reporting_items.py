"""The table of reporting guidelines lists all result items, and fills those that the report has."""

import re
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.report import write_report
from tests.support.checkers.html_pages import HtmlPage
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

MISSING = "not supplied"


@pytest.fixture
def made(tmp_path: Path) -> MadeOutput:
    return MadeOutput(tmp_path)


def studies(labels: tuple[int | None, ...] = (1, 0, 0, 0)) -> list[MadeStudy]:
    return [MadeStudy(f"s{n}", [[(n * 7 % 20) / 20]], label=labels[n % len(labels)]) for n in range(20)]


def report(made: MadeOutput, cohort: list[MadeStudy], **config: Any) -> HtmlPage:
    made.write_run(cohort)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100, **config), made.tokens)
    return HtmlPage(made.output.read(write_report(made.output, RUN_ID)).decode())


def places(page: HtmlPage) -> dict[tuple[str, ...], str]:
    """Return (guideline, number, item) → place in the report."""
    return {tuple(row[:3]): row[3] for row in page.table("Result items").rows}


def numbers(items: dict[tuple[str, ...], str], where: str) -> set[tuple[str, str]]:
    return {(guideline, number) for (guideline, number, _), place in items.items() if place == where}


def test_every_result_item_of_the_guidelines_is_listed_under_its_number(made: MadeOutput) -> None:
    listed = {item[:2] for item in places(report(made, studies()))}
    assert listed >= {("STARD-AI", no) for no in ("24", "25", "26a", "26b", "27", "28", "29", "30", "31", "32")}
    assert listed >= {("TRIPOD+AI", no) for no in ("20a", "20b", "20c", "21", "22", "23a", "23b", "24")}


def test_items_that_only_the_authors_know_are_never_filled(made: MadeOutput) -> None:
    missing = numbers(places(report(made, studies())), MISSING)
    assert missing >= {("STARD-AI", no) for no in ("25", "27", "28", "29", "32")} | {("TRIPOD+AI", "20c")}


def test_what_the_job_says_of_the_people_fills_its_items(made: MadeOutput) -> None:
    cohort = studies()
    bare = places(report(made, cohort))
    diagnoses = [
        {"study_id": s.study_id, "label": s.label, "diagnosis": f"{'lesion' if s.label else 'variant'} {n % 2}"}
        for n, s in enumerate(cohort)
    ]
    sites = [{"study_id": s.study_id, "site": str(n % 2)} for n, s in enumerate(cohort)]
    tables = {"reference": made.table("reference", diagnoses), "covariates": made.table("sites", sites)}
    full = places(report(made, cohort, **tables))
    filled = {item[:2] for item, where in full.items() if bare[item] == MISSING != where}
    assert filled == {("STARD-AI", no) for no in ("23", "25", "26a", "26b")} | {
        ("TRIPOD+AI", no) for no in ("20b", "23a", "23b")
    }


def test_what_an_item_points_to_is_a_section_of_the_report(made: MadeOutput) -> None:
    page = report(made, studies())
    wheres = {where for where in places(page).values() if where != MISSING}
    named = {re.split("[:,]", part)[0] for where in wheres for part in where.split("; ")}
    titles = {title.strip() for title in re.findall(r"<h2>(.*?)</h2>", page.text)}
    assert len(named) > 6
    assert named <= titles


def test_without_labels_no_accuracy_is_said_to_be_there(made: MadeOutput) -> None:
    page = report(made, studies(labels=(None,)))
    text = made.output.read(output_layout.report_file(RUN_ID)).decode()
    assert "20 studies, none with a label" in text and "0 healthy" not in text
    assert "Result items" not in page.text
    (folded,) = re.findall(r"Nothing to show for: (.*?)\. Open", page.text)
    assert {"Headline", "Reporting items"} <= set(folded.split(", "))
