"""The report says which studies a comparison of readers loses, and what the studies that they skipped could change."""

from dataclasses import replace

import numpy as np

from diagchd_batch.evaluation.readers.aided_and_unaided import two_arm_rows
from diagchd_batch.evaluation.readers.reader_study import ReaderStudy
from diagchd_batch.evaluation.readers.unread_studies import unread_estimate_rows
from diagchd_batch.evaluation.study_score import ScoreDefinition
from diagchd_batch.evaluation.tables.rows import Row, RowBuilder, Settings
from diagchd_batch.evaluation.units_and_raters import NOT_READ, Rater, Units
from diagchd_batch.report.report_data import ReportData
from diagchd_batch.report.sections.headline import _unread
from diagchd_batch.report.sections.scores import arms
from diagchd_batch.results.columns.evaluation_tables import FIGURES

N = 60
BUILDER = RowBuilder(Settings(ScoreDefinition(), 100, 1))


def study(seed: int) -> ReaderStudy:
    """Return three readers, each of whom skipped ten other studies."""
    generator, truth, readers = np.random.default_rng(seed), np.arange(N) % 2.0, []
    for place in range(3):
        reason = np.where(np.arange(N) // 10 == place, NOT_READ, 0).astype(np.int8)
        call = np.where(generator.random(N) < 0.8, truth, 1 - truth)
        readers.append(Rater("reader", f"r-{place}", np.where(reason == 0, call, np.nan), reason))
    return ReaderStudy(np.arange(N), Units("study", np.arange(N), truth), tuple(readers))


def report_data(estimates: list[Row], comparisons: list[Row]) -> ReportData:
    empty = dict.fromkeys(column.name for column in FIGURES)
    tables = {name: [empty | row for row in rows] for name, rows in _tables(estimates, comparisons).items()}
    return ReportData(None, tables, [], {}, None, {})


def _tables(estimates: list[Row], comparisons: list[Row]) -> dict[str, list[Row]]:
    return {"estimates": estimates, "comparisons": comparisons}


def test_two_arms_show_each_readers_own_studies_and_what_the_common_ones_lose() -> None:
    rows = list(two_arm_rows(BUILDER, study(1), study(2), ("unaided", "aided")))
    section = arms(report_data([], rows))
    assert section is not None
    text = " ".join(section.introduction)
    assert "60 studies were read in both arms by at least one reader, 30 by every reader" in text
    table = section.tables[0]
    shown = {row[1]: row for row in table.rows}
    assert shown.keys() == {"read by all readers in both arms", "each reader's own"}
    assert [shown[name][2] for name in shown] == ["30", "60"]
    # The p values stand beside what is known of tests with three readers.
    assert "only the 30 of 60 studies" in table.caption and "readers in general from 3 readers" in table.caption


def test_the_headline_says_how_much_the_skipped_studies_could_change() -> None:
    read = study(1)
    called = [
        {"headline": True, "endpoint": "tp", "subject_kind": "reader", "subject": reader.name, "n_units": 50}
        for reader in read.readers
    ]
    found = list(unread_estimate_rows(BUILDER, read))
    text = _unread(report_data([*called, *found], []))
    assert "of 60 studies with a reference label, each reader called 50." in text
    of_mean = [row for row in found if (row["subject"], row["endpoint"]) == ("readers_mean", "sensitivity")]
    values = {row["analysis_set"]: row["value"] for row in of_mean}
    wrong, right = values["not_read_wrong"], values["not_read_right"]
    assert f"a sensitivity from {wrong:.3f} to {right:.3f}" in text
    assert _unread(report_data(called, [])) == ""


def test_a_study_that_everyone_read_has_no_such_sentence() -> None:
    whole = study(1)
    readers = tuple(replace(r, reason=np.zeros(N, np.int8), call=np.ones(N)) for r in whole.readers)
    assert list(unread_estimate_rows(BUILDER, replace(whole, readers=readers))) == []
