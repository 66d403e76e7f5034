"""What a report says of an archive without labels: counts, distribution, highest scores, and what changed."""

import re
from pathlib import Path

import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.report import write_report
from diagchd_batch.report.report_data import read_report_data
from diagchd_batch.report.score_summary import N_BINS
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from tests.support.checkers.html_pages import HtmlPage
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

LATER = "0a1b2c3d-4e5f6071-2"
SCORES = (0.0, 0.049, 0.05, 0.5, 0.74, 0.999, 1.0)


@pytest.fixture
def made(tmp_path: Path) -> MadeOutput:
    return MadeOutput(tmp_path)


def evaluated(made: MadeOutput, run_id: str = RUN_ID) -> HtmlPage:
    evaluate_run(made.output, made.private, run_id, EvaluationConfig(resamples=100), made.tokens)
    return HtmlPage(made.output.read(write_report(made.output, run_id)).decode())


def unlabelled() -> list[MadeStudy]:
    return [*(MadeStudy(f"s{n}", [[score]]) for n, score in enumerate(SCORES)), MadeStudy("bad", [["decode_error"]])]


def test_counts_bins_and_order_are_those_of_the_studies(made: MadeOutput) -> None:
    made.write_run(unlabelled())
    evaluated(made)
    found = read_report_data(made.output, RUN_ID).study_scores
    assert found is not None and found.changes is None
    assert (found.n_studies, found.n_scored, found.n_called, found.n_flagged) == (8, 7, 4, 0)
    bins = {place: n for place, n in enumerate(found.histogram) if n}
    assert bins == {0: 2, 1: 1, 10: 1, 14: 1, N_BINS - 1: 2}
    assert [row["study_id"] for row in found.highest] == [made.tokens.study(f"s{n}") for n in reversed(range(7))]


def test_an_archive_without_labels_begins_with_its_scores_and_folds_what_is_empty(made: MadeOutput) -> None:
    made.write_run(unlabelled())
    record = read_private_run_record(made.private, RUN_ID)
    assert record is not None
    named = {"config": {"evaluation": {"cohort_name": "Second trimester 2024 <b>"}}}
    write_run_record(made.output, made.private, record.model_copy(update=named))
    page = evaluated(made)
    headings = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert headings[0] == "Scores"
    assert not {"Headline", "Calibration", "Agreement"} & set(headings)
    assert page.text.count("Nothing to show for: Headline") == 1
    assert "<h1>Second trimester 2024 &lt;b&gt; " in page.text
    assert "<title>" in page.text and "Second trimester 2024 &lt;b&gt; ·" in page.text
    table = page.table("The studies by score")
    assert [row[2] for row in table.rows] == ["1.000", "0.999", "0.740", "0.500", "0.050", "0.049", "0.000"]
    assert [row[3] for row in table.rows] == ["positive"] * 4 + ["negative"] * 3


def test_a_cohort_with_labels_begins_with_the_headline(made: MadeOutput) -> None:
    made.write_run([MadeStudy(f"s{n}", [[n / 20]], label=n % 2) for n in range(20)])
    page = evaluated(made)
    headings = re.findall(r"<h2>(.*?)</h2>", page.text)
    assert headings[:2] == ["Headline", "Scores"]
    assert {"ROC and precision-recall curves", "Net benefit"} <= set(headings)
    assert "20 studies, 20 images" in page.text
    figures = set(re.findall(r"<h3>(.*?)</h3>", page.text))
    assert {"Precision and recall", "Decision curve", "Distribution of the scores"} <= figures
    at_one_percent = {f"{name} at a prevalence of 0.01" for name in ("Decision curve", "Calibration")}
    assert at_one_percent | {"Predictive values by prevalence"} <= figures
    assert page.table(
        "Measures of the scores at other prevalences: the diseased are weighted to make up that share"
    ).rows


def test_a_run_that_continues_another_tells_what_changed(made: MadeOutput) -> None:
    made.write_run(
        [
            *(MadeStudy(name, [[score]]) for name, score in (("same", 0.2), ("other", 0.3), ("flips", 0.4))),
            MadeStudy("bad", [["decode_error"]]),
        ]
    )
    evaluated(made)
    later = (("other", 0.35), ("flips", 0.9), ("bad", 0.1), ("new", 0.7))
    made.write_run([MadeStudy(name, [[score]]) for name, score in later], run_id=LATER, parent=RUN_ID)
    page = evaluated(made, LATER)
    found = read_report_data(made.output, LATER).study_scores
    assert found is not None and found.changes is not None
    changes = found.changes
    assert (changes.n_new, changes.n_now_scored, changes.n_scores, changes.n_calls) == (1, 1, 2, 1)
    table = page.table(f"Calls that changed since {RUN_ID}")
    assert table.rows == [[made.tokens.study("flips"), "0.400", "0.900", "negative", "positive"]]
    assert f"This run continues {RUN_ID}. Since then: 1 new study, 1 scored that had no score before" in page.text


def test_no_study_with_a_score_leaves_a_whole_report(made: MadeOutput) -> None:
    made.write_run([MadeStudy("bad", [["decode_error"]])])
    page = evaluated(made)
    assert "no study has a score" in page.text
    assert page.unclosed == []
