"""The whole report: what it must contain, and what it must never contain."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.config.job_file import EvaluationConfig, OperatingPoint
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.evaluation.comparison.compare import compare_runs
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.report import write_report
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from tests.support.checkers.html_pages import HtmlPage
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy
from tests.support.reference_frames import overlap

LATER = "0a1b2c3d-4e5f6071-2"
SECTIONS = {
    *(
        "flow",
        "run",
        "headline",
        "scores",
        "roc",
        "calibration",
        "net-benefit",
        "confusion",
        "agreement",
        "segmentation",
        "subgroups",
    ),
    *("worst-cases", "quality", "cohort", "comparison", "reporting", "definitions", "versions", "limits"),
}


@pytest.fixture
def made(tmp_path: Path) -> MadeOutput:
    return MadeOutput(tmp_path)


def report(made: MadeOutput, studies: Sequence[MadeStudy], simulated: bool = True, **config: Any) -> str:
    made.write_run(studies, simulated=simulated)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=100, **config), made.tokens)
    return made.output.read(write_report(made.output, RUN_ID)).decode()


def cohort(labels: Sequence[int | None] = (1, 0, 0, 0)) -> list[MadeStudy]:
    return [MadeStudy(f"canary-{n}", [[(n * 7 % 20) / 20]], label=labels[n % len(labels)]) for n in range(20)]


def reads(made: MadeOutput, studies: Sequence[MadeStudy], names: Sequence[str] = ("canary-a", "canary-b")) -> str:
    return made.table(
        "readers",
        [
            {"study_id": study.study_id, "reader": name, "status": "read", "call": (place + n) // 3 % 2}
            for place, name in enumerate(names)
            for n, study in enumerate(studies)
        ],
    )


@pytest.fixture(scope="module")
def with_readers(tmp_path_factory: pytest.TempPathFactory) -> tuple[MadeOutput, str]:
    """Return an output with a cohort and two readers, and its report. Tests leave both as they are."""
    made = MadeOutput(tmp_path_factory.mktemp("with_readers"))
    studies = cohort()
    return made, report(made, studies, readers=reads(made, studies))


def test_is_whole_and_asks_nothing_of_the_network(with_readers: tuple[MadeOutput, str]) -> None:
    _, text = with_readers
    page = HtmlPage(text)
    assert page.unclosed == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link != "data:,"} <= set(page.ids)
    assert not re.search(r"https?:|<script|<img|@import|url\(", text)
    assert set(page.ids) >= SECTIONS
    assert page.figures == page.described_figures > 4
    assert "SIMULATED" in text
    assert "canary" not in text


def test_the_headline_shows_the_tables_own_numbers(with_readers: tuple[MadeOutput, str]) -> None:
    made, text = with_readers
    page = HtmlPage(text)
    table = page.table("Calls against the reference standard")
    headings = {"recall (sensitivity)": "sensitivity", "precision (PPV)": "ppv", "specificity": "specificity"}
    rows = {row["endpoint"]: row for row in made.metrics("estimates") if row["headline"] and row["subject"] == "made"}
    assert [row[0] for row in table.rows] == ["made", "R1", "R2", "mean of the readers", "majority"]
    for heading, endpoint in [*headings.items(), ("accuracy", "accuracy"), ("NPV", "npv"), ("F1", "f1")]:
        value, low, high = re.findall(r"\d\.\d+", " ".join(table.cell("made", heading)))
        assert float(value) == pytest.approx(rows[endpoint]["value"], abs=5.1e-4)
        assert float(low) == pytest.approx(rows[endpoint]["ci_low"], abs=5.1e-4)
        assert float(high) == pytest.approx(rows[endpoint]["ci_high"], abs=5.1e-4)
    for name in ("TP", "FP", "FN", "TN"):
        assert table.cell("made", name) == [str(int(rows[name.lower()]["value"]))]


def test_differences_are_those_to_each_comparator(with_readers: tuple[MadeOutput, str]) -> None:
    made, text = with_readers
    page = HtmlPage(text)
    table = page.table("Differences model")
    compared = [row for row in made.metrics("comparisons") if row["headline"] and row["endpoint"] == "specificity"]
    assert len(compared) == len(table.rows) == 4
    shown = [table.cell(row[0], "specificity")[0].replace("\N{MINUS SIGN}", "-") for row in table.rows]
    assert sorted(map(float, shown)) == pytest.approx(sorted(row["difference"] for row in compared), abs=5.1e-4)


@pytest.mark.parametrize("studies", [[], cohort(labels=(None,)), [MadeStudy("canary", [["decode_error"]], label=1)]])
def test_says_what_is_left_out(made: MadeOutput, studies: list[MadeStudy]) -> None:
    text = report(made, studies, simulated=False)
    page = HtmlPage(text)
    assert page.unclosed == []
    assert set(page.ids) >= SECTIONS
    for reason in (
        "no study with a score has a reference label",
        "no readers were given",
        "no usable reference masks were given",
        "this run was not compared with another one",
    ):
        assert f"Left out: {reason}" in text
    assert "SIMULATED" not in text


def every_study_failed() -> list[MadeStudy]:
    return [MadeStudy(f"canary-{n}", [["decode_error"]], label=n % 2) for n in range(8)]


def masks_alone() -> list[MadeStudy]:
    return [MadeStudy(f"canary-{n}", [[overlap(0.5), overlap(1.0)]]) for n in range(4)]


def one_study() -> list[MadeStudy]:
    return [MadeStudy("canary", [[0.7]], label=1)]


def without_labels() -> list[MadeStudy]:
    return cohort(labels=(None,))


@pytest.mark.parametrize("studies", [every_study_failed, masks_alone, one_study, without_labels, cohort])
@pytest.mark.parametrize("kind", ["complete", "not_read", "arms", "one_reader"])
def test_whatever_is_missing_there_is_a_whole_report(
    made: MadeOutput, studies: Callable[[], list[MadeStudy]], kind: str
) -> None:
    found = studies()
    names = ("canary-a",) if kind == "one_reader" else ("canary-a", "canary-b", "canary-c")
    rows = [
        {"study_id": study.study_id, "reader": name, "session": session, "arm": arm, "status": status, "call": call}
        for name in names
        for session, arm in ((1, "unaided"), (2, "unaided"), (3, "aided"))[: 3 if kind == "arms" else 1]
        for n, study in enumerate(found)
        for status, call in [("not_read", "") if kind == "not_read" else ("read", (n + session) % 2)]
    ]
    text = report(made, found, readers=made.table("readers", rows))
    page = HtmlPage(text)
    assert page.unclosed == []
    assert set(page.ids) >= SECTIONS
    assert "canary" not in text
    assert "None" not in page.words and "nan" not in page.words.split()


@pytest.mark.parametrize("label", [0, 1])
def test_one_class_only(made: MadeOutput, label: int) -> None:
    studies = cohort(labels=(label,))
    text = report(made, studies, readers=reads(made, studies))
    page = HtmlPage(text)
    assert page.unclosed == []
    assert "Left out: a ROC curve needs diseased and healthy studies with a score" in text
    missing = "specificity" if label else "recall (sensitivity)"
    assert page.table("Calls against the reference standard").cell("made", missing) == ["–", "zero denominator"]


def test_several_operating_points_are_not_mixed(made: MadeOutput) -> None:
    points = [
        OperatingPoint(name=n, threshold=t, chosen_on="canary-set") for n, t in (("strict", 0.9), ("lenient", 0.1))
    ]
    page = HtmlPage(report(made, cohort(), operating_points=points))
    headline = page.table("Calls against the reference standard")
    every = page.table("The model at every operating point")
    assert len(headline.rows) == 1
    assert {row[0] for row in every.rows} >= {"strict (≥ 0.9)", "lenient (≥ 0.1)"}
    for table in (headline, every):
        for row in table.rows:
            n, *parts = (int(table.cell(row[0], name)[0]) for name in ("n", "TP", "FP", "FN", "TN"))
            assert n == sum(parts) == 20
    roc = page.text.partition("figure-roc-curve-title")[2].partition("</svg>")[0]
    assert roc.count('class="point model"') == 2  # one for the headline and one for the legend


def test_segmentation_takes_rows_over_images(made: MadeOutput) -> None:
    studies = [MadeStudy(f"s{n}", [[overlap(0.5 + 0.04 * n)]], label=n % 2) for n in range(10)]
    page = HtmlPage(report(made, studies))
    means = page.table("Mean over images")
    assert means.cell("septum", "Dice")[0] == "0.680"
    assert means.cell("septum", "images") == ["10"]
    spread = page.table("Distribution of Dice over images")
    assert (spread.cell("septum", "minimum"), spread.cell("septum", "maximum")) == (["0.500"], ["0.860"])
    worst = page.table("Images with the lowest mean Dice")
    assert [row[-2] for row in worst.rows[:2]] == ["0.500", "0.540"]


def test_subgroups_hold_covariates_and_nothing_else(made: MadeOutput) -> None:
    studies = cohort()
    covariates = made.table(
        "covariates", [{"study_id": s.study_id, "site": f"canary-{n % 2}"} for n, s in enumerate(studies)]
    )
    text = report(made, studies, covariates=covariates, prevalence=[0.01])
    page = HtmlPage(text)
    shown = {row[0] for row in page.table("By subgroup").rows}
    assert shown == {"site", "source resolution", "number of images"}
    assert [row[1] for row in page.table("By subgroup").rows if row[0] == "site"] == ["site level 1", "site level 2"]
    assert [row[0] for row in page.table("Predictive values of the model").rows] == ["0.01"]
    assert "canary" not in text


def test_a_comparison_with_an_earlier_run_is_shown(made: MadeOutput) -> None:
    studies = cohort()
    made.write_run(studies)
    made.write_run([MadeStudy(s.study_id, [[0.9]], s.label) for s in studies], LATER)
    config = EvaluationConfig(resamples=100)
    evaluate_run(made.output, made.private, LATER, config, made.tokens)
    compare_runs(made.output, made.private, RUN_ID, LATER, config, made.tokens, masks=False)
    page = HtmlPage(made.output.read(write_report(made.output, LATER)).decode())
    assert page.table("Studies of this run and of the earlier run").cell("scored by both", "studies") == ["20"]
    assert f"The earlier run is {RUN_ID}." in page.text
    flips = page.table("Calls that changed since the earlier run")
    assert len(flips.rows) == sum(s.images[0][0] < 0.5 for s in studies)  # type: ignore[operator]
    assert {row[-3:-1] == ["negative", "positive"] for row in flips.rows} == {True}


def with_model(made: MadeOutput, weights_digest: str, card: dict[str, Any]) -> HtmlPage:
    """Put the model into the run's record, and write and return the report again."""
    record = read_private_run_record(made.private, RUN_ID)
    model = record.model.model_copy(update={"weights_digest": weights_digest, "card": card})
    write_run_record(made.output, made.private, record.model_copy(update={"model": model}))
    return HtmlPage(made.output.read(write_report(made.output, RUN_ID)).decode())


def test_scores_of_images_by_weights_that_saw_phantoms_alone_say_so_at_the_top(made: MadeOutput) -> None:
    report(made, cohort(), simulated=False)
    card = load_card("diagchd-compact").model_dump(mode="json")
    bundled = with_model(made, card["weights"]["sha256"], card)
    assert bundled.words.index("NO CLINICAL MEANING") < bundled.words.index("Flow of studies")
    assert card["limitations"] in bundled.words
    own = with_model(made, "a" * 64, card)  # The card's text about the bundled weights does not apply to other weights.
    assert "phantoms" not in own.words.lower()
    assert "what they were trained on, and for what use, is unknown" in own.words


def test_a_cohort_without_labels_shows_no_table_of_nothing(made: MadeOutput) -> None:
    page = HtmlPage(report(made, cohort(labels=(None,))))
    assert "no units" not in page.words
    assert "AUC and calibration are left out" in page.words


def test_a_printed_page_says_which_run_it_is_of(with_readers: tuple[MadeOutput, str]) -> None:
    _, text = with_readers
    assert f'@bottom-left {{ content: "SIMULATED · made, run {RUN_ID}"' in text
    assert "counter(page)" in text


def test_own_names_are_text_and_never_markup(made: MadeOutput) -> None:
    studies = cohort()
    hostile = ["<script>alert(1)</script>", "\"><img src='https://evil.example/x'>&amp;{{ 7 * 7 }}"]
    covariates = made.table(
        "covariates", [{"study_id": s.study_id, "site": hostile[n % 2]} for n, s in enumerate(studies)]
    )
    readers = reads(made, studies, hostile)
    text = report(made, studies, readers=readers, covariates=covariates, disclose=True)
    page = HtmlPage(text)
    assert page.unclosed == []
    assert not {"script", "img"} & page.tags
    assert "alert(1)" in page.words
    assert "{{ 7 * 7 }}" in page.words


def test_same_tables_same_bytes(with_readers: tuple[MadeOutput, str]) -> None:
    made, first = with_readers
    assert made.output.read(write_report(made.output, RUN_ID)).decode() == first


def test_a_run_without_metrics_is_refused(made: MadeOutput) -> None:
    made.write_run(cohort())
    with pytest.raises(UsageError, match="evaluate"):
        write_report(made.output, RUN_ID)
