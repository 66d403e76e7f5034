"""The report's figures show what the tables say: bands, bars, numbers at lines, and the scores of two runs."""

import re
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.proportion import proportion_confint

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.report import write_report
from diagchd_batch.report.figures.curves import abstention_plot, decision_plot
from diagchd_batch.report.figures.histogram import histogram
from diagchd_batch.report.figures.svg import Axes
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy

EARLIER = "0a1b2c3d-4e5f6071-0"
SQUARE = Axes(420, 420, "", "")
"""The plot area of the square figures, which converts values to places."""

Attributes = dict[str, str]


def cohort(shift: float) -> list[MadeStudy]:
    return [MadeStudy(f"s{n}", [[(n * 7 % 20) / 20 * shift]], label=int(n % 4 == 1)) for n in range(20)]


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeOutput, str]:
    """Return an output with a run that was compared with an earlier one, and the report of the later run."""
    made = MadeOutput(tmp_path_factory.mktemp("compared"))
    studies = cohort(1.0)
    sites = [{"study_id": study.study_id, "site": f"site {n % 3}"} for n, study in enumerate(studies)]
    config = EvaluationConfig(resamples=100, covariates=made.table("covariates", sites))
    for run_id, shift in ((EARLIER, 0.5), (RUN_ID, 1.0)):
        made.write_run(cohort(shift), run_id)
        evaluate_run(made.output, made.private, run_id, config, made.tokens)
    compare_runs(made.output, made.private, EARLIER, RUN_ID, config, made.tokens, masks=False)
    return made, made.output.read(write_report(made.output, RUN_ID)).decode()


def figure(text: str, title: str) -> str:
    """Return the drawing with this title."""
    (found,) = re.findall(rf"<svg[^>]*>(?:(?!</svg>).)*?<title[^>]*>{re.escape(title)}<.*?</svg>", text, re.DOTALL)
    assert isinstance(found, str)
    return found


def elements(drawn: str, name: str, class_: str) -> list[Attributes]:
    tags = re.findall(rf"<{name} ([^>]*)>", drawn)
    found = [dict(re.findall(r'([\w-]+)="([^"]*)"', tag)) for tag in tags]
    return [attributes for attributes in found if attributes.get("class") == class_]


def rows(made: MadeOutput, table: str, **wanted: Any) -> list[dict[str, Any]]:
    return [row for row in made.metrics(table) if all(row[name] == value for name, value in wanted.items())]


def test_the_band_of_the_roc_curve_is_wilsons_interval_of_each_sensitivity(compared: tuple[MadeOutput, str]) -> None:
    made, text = compared
    (band,) = elements(figure(text, "ROC curve"), "polygon", "band")
    corners = {tuple(map(float, corner.split(","))) for corner in band["points"].split()}
    curve = rows(made, "curves", curve="roc", unit="study", subject_kind="model")
    n_diseased = 5
    assert len(curve) > 5
    for row in curve:
        for limit in proportion_confint(round(row["y"] * n_diseased), n_diseased, method="wilson"):
            place = (round(SQUARE.x(row["x"]), 1), round(SQUARE.y(limit), 1))
            assert any(abs(x - place[0]) + abs(y - place[1]) < 0.15 for x, y in corners), row
    assert "The band shows 95 % Wilson intervals of the sensitivity at each threshold, from 5 diseased" in text


def test_bars_below_the_calibration_are_as_high_as_their_bins_have_studies(compared: tuple[MadeOutput, str]) -> None:
    made, text = compared
    bars = elements(figure(text, "Observed against predicted"), "rect", "bar")
    bins = [row for row in rows(made, "calibration", unit="study") if row["n"] and not row["calibrated"]]
    assert len(bars) == len(bins) > 5
    most = max(row["n"] for row in bins)
    highest = max(float(bar["height"]) for bar in bars)
    for bar, row in zip(bars, bins, strict=True):
        assert float(bar["height"]) / highest == pytest.approx(row["n"] / most, abs=0.01)
        assert float(bar["x"]) == pytest.approx(SQUARE.x(row["score_low"]), abs=1)


def test_lines_of_the_forest_plot_end_with_their_figures(compared: tuple[MadeOutput, str]) -> None:
    made, text = compared
    drawn = figure(text, "Sensitivity by subgroup")
    wanted = {"endpoint": "sensitivity", "covariate": "site", "unit": "study", "subject_kind": "model"}
    estimates = rows(made, "estimates", analysis_set="determinate", **wanted)
    assert len(estimates) == 3
    for row in estimates:
        assert f">{row['value']:.2f} ({row['ci_low']:.2f}–{row['ci_high']:.2f})<" in drawn


def test_scores_of_the_earlier_run_lie_against_those_of_this_one(compared: tuple[MadeOutput, str]) -> None:
    _, text = compared
    marks = elements(figure(text, "Scores against those of the earlier run"), "circle", "point model dense")
    drawn = sorted((round(float(mark["cx"]), 1), round(float(mark["cy"]), 1)) for mark in marks)
    scores = [n * 7 % 20 / 20 for n in range(20)]
    wanted = sorted((SQUARE.x(score * 0.5), SQUARE.y(score)) for score in scores)
    assert len(drawn) == 20
    for mark, place in zip(drawn, wanted, strict=True):
        assert mark == pytest.approx(place, abs=0.15)


def test_a_phone_is_told_that_tables_scroll(compared: tuple[MadeOutput, str]) -> None:
    _, text = compared
    assert '<p class="hint">Wide tables scroll sideways.</p>' in text
    everywhere, _, rest = text.partition("@media (max-width: 40rem)")
    on_phones, _, in_print = rest.partition("@media print")
    assert ".hint { display: none; }" in everywhere
    assert ".hint { display: block;" in on_phones
    assert ".hint { display: none; }" in in_print


def test_no_two_lines_of_the_abstention_figure_look_alike() -> None:
    names = [*"abcde", "random*", "oracle*"]
    drawn = abstention_plot({name: [(0.5, 0.1), (1.0, 0.2)] for name in names}, "description")
    classes = re.findall(r'<polyline [^>]*class="([^"]+)"', drawn)
    assert len(set(classes)) == len(names) and len(classes) == 2 * len(names)  # each has a line in the legend
    style = (Path(abstention_plot.__code__.co_filename).parents[1] / "templates" / "style.css").read_text("utf-8")
    dashes = re.findall(r"\.(dash-\d|reference|reference\.dotted) \{[^}]*stroke-dasharray: ([^;}]+)", style)
    assert {name.replace(".", " ") for name, _ in dashes} == {class_.removeprefix("curve ") for class_ in classes} - {
        "dash-0"
    }
    assert len({dash.strip() for _, dash in dashes}) == len(dashes)


@pytest.mark.parametrize("highest", [1.0, 0.35, 0.0017, 0.00018])
def test_the_title_of_an_axis_lies_beside_its_numbers(highest: float) -> None:
    drawn = decision_plot("title", [(0.1, highest), (0.9, 0.0)], [], highest, "description")
    numbers = re.findall(r'<text x="([\d.]+)"[^>]*text-anchor="end">([^<]+)<', drawn)
    assert len(numbers) > 4
    baseline = float(re.findall(r"translate\(([\d.]+) [\d.]+\) rotate", drawn)[0])
    descent = 0.25 * 13
    for end, label in numbers:
        assert float(end) - 0.55 * 13 * len(label) > baseline + descent


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.51, 0.99])
@pytest.mark.parametrize("most", [3, 90_000])
def test_the_histogram_fits_a_phone_with_legible_text(threshold: float, most: int) -> None:
    drawn = histogram("title", [0, most, 1], "description", threshold)
    (width,) = map(float, re.findall(r'viewBox="0 0 (\d+) ', drawn))
    (smallest,) = map(float, re.findall(r"min-width:(\d+)px", drawn))
    assert smallest <= 361  # 390 px without the margins of the page
    size = 20.0  # px in the drawing on a phone
    assert size * 361 / width > 10
    for tag, label in re.findall(r"<text ([^>]*)>([^<]*)<", drawn):
        if "rotate" in tag:
            continue
        x = float(re.findall(r'x="([\d.]+)"', tag)[0])
        long = 0.58 * size * len(label)
        start = {"start": x, "middle": x - long / 2, "end": x - long}[re.findall(r'text-anchor="(\w+)"', tag)[0]]
        beside_title = 16 + 0.25 * size if 'text-anchor="end"' in tag and label[0].isdigit() else 0.0
        assert start >= beside_title and start + long <= width, label
