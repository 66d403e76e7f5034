"""The results of the coverage study add up, and the page and the report's cautions are rendered from them."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.evaluation.tables import cautions
from tools.coverage import caution_table, rare_disease, results, tables
from tools.coverage.rare_disease import Tally

PAGE = Path(__file__).parents[3] / "docs" / "statistics.md"
RERUN = "run `python -m tools.coverage render`"


def cell(part: str = "rates", **fields: Any) -> rare_disease.Cell:
    """Return the smallest cell of a part, with other values of some fields."""
    return replace(next(c for c in rare_disease.cells(part, (10,)) if c.prevalence == 0.33), **fields)


def run(
    of: rare_disease.Cell, first: int = 0, cohorts: int = 2000, held: int = 1900, seconds: float = 1.0
) -> results.Run:
    """Return a run of one figure, the LR+."""
    figures = {"lr_positive": Tally(cohorts, held, {"combined_wilson"})}
    return results.Run(of, first, cohorts, seconds, "0123456789", figures)


def test_page_and_cautions_are_those_of_the_results() -> None:
    runs = results.read()
    page = PAGE.read_text(encoding="utf-8")
    assert page.partition(tables.BEGIN)[2].partition(tables.END)[0].strip() == tables.page_text(runs).strip(), RERUN
    assert caution_table.FILE.read_text(encoding="utf-8") == caution_table.file_text(runs), RERUN


def test_results_are_of_cells_of_the_study() -> None:
    """Cohorts of a cell are counted once, and no cell has more than it needs."""
    runs = results.read()
    counted = {(run.cell, run.seed, block) for run in runs for block in range(run.first, run.first + run.cohorts, 100)}
    assert 100 * len(counted) == sum(run.cohorts for run in runs)
    assert {run.cell for run in runs} <= set(results.all_cells())
    axes = cautions.MEASURED_SIZES, cautions.MEASURED_PREVALENCES, cautions.MEASURED_TARGETS
    assert axes == (rare_disease.DISEASED, rare_disease.PREVALENCES, rare_disease.TARGETS)


def test_two_ranges_of_cohorts_are_the_whole() -> None:
    whole = rare_disease.measure(cell(), 200, seed=1)
    parts = [rare_disease.measure(cell(), 100, first=first, seed=1) for first in (0, 100)]
    for name, tally in whole.items():
        assert tally.given == sum(part[name].given for part in parts)
        assert tally.held == sum(part[name].held for part in parts)
    assert parts[0] != parts[1]
    with pytest.raises(ValueError, match="blocks of 100"):
        rare_disease.measure(cell(), 150)


def test_a_study_that_was_stopped_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "COHORTS", 200)
    monkeypatch.setattr(results, "statistics_commit", lambda: "0123456789")
    path, cells = tmp_path / "results.jsonl", [cell(), cell(sensitivity=0.85)]
    assert not list(results.continue_study(path, 0, cells))
    first = next(results.continue_study(path, 10, cells[:1]))  # the generator is closed after its first run
    assert (first.first, first.cohorts, first.commit) == (0, 200, "0123456789")
    path.write_text(replace(first, cohorts=100).as_line() + "\n")
    with path.open("a", encoding="utf-8") as file:
        file.write('{"part": "ra\n')  # the tool was stopped while it wrote
    more = list(results.continue_study(path, 10, cells))
    assert sorted((run.cell.sensitivity, run.first, run.cohorts) for run in more) == [(0.7, 100, 100), (0.85, 0, 200)]
    assert not list(results.continue_study(path, 10, cells))
    assert len(results.read(path)) == 3


def test_the_end_of_the_time_keeps_the_finished_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "statistics_commit", lambda: "0123456789")
    (run,) = results.continue_study(tmp_path / "results.jsonl", 1e-4, [cell()])
    assert run.cohorts == 100


def test_cheap_cells_come_first() -> None:
    large, small = cell(prevalence=0.01), cell()
    measured = [
        run(cell(clustered=True), cohorts=1000, seconds=50.0),
        run(cell(diseased=500, prevalence=0.01), seconds=20),
    ]
    left = results.missing(measured, [cell(clustered=True), large, small])
    assert [entry[2] for entry in left] == [large, small, cell(clustered=True)]
    assert left[2][:2] == (50.0, 1000)  # the other half
    bootstrap = cell("resampled", prevalence=0.01, diseased=50)
    assert results.target(bootstrap) == 500 and results.target(replace(bootstrap, diseased=20)) == 2000


def test_a_cell_below_its_level_is_listed_and_warned_of() -> None:
    runs = [
        run(cell(), cohorts=1000, held=950),
        run(cell(), 1000, 1000, held=870),
        run(cell(specificity=0.99), held=1860),
    ]
    text = tables.page_text(runs)
    assert "| lr_positive | 10 | 20 | specificity 0.9 | 91.0 % | 2,000 |" in text and "1 of 2 entries" in text
    assert "| rates | 2 | 0 |" in text and "commit 0123456789" in text
    _, line = caution_table.file_text(runs).splitlines()
    assert line == "lr_positive,combined_wilson,0,10,20,specificity 0.9,0.9100,2000"
    assert caution_table.file_text(runs[2:]).count("\n") == 1  # the head alone


def test_a_test_may_reject_in_five_percent() -> None:
    def measured(figure: str, share: float) -> results.Measured:
        return results.Measured(cell("compared_rates"), figure, ("mcnemar_exact",), 2000, 2000, round(2000 * share))

    assert tables.passes(measured("test of sensitivity", 0.06)) and not tables.passes(measured("test of ppv", 0.08))
    assert not tables.passes(measured("non-inferiority of sensitivity", 0.045))
    assert tables.passes(measured("difference of ppv", 0.913)) and not tables.passes(
        measured("difference of ppv", 0.91)
    )
