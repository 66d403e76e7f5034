"""The report as a whole: what it must hold, and what it must never hold."""

import re
from html.parser import HTMLParser

import pytest

from diagchd_batch.config.models import EvaluationConfig
from diagchd_batch.errors import UsageError
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.report import write_report
from tests.support.evaluated_runs import RUN_ID, MadeOutput, MadeStudy


class _Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.ids += [given["id"]] if "id" in given else []
        self.links += [given[name] for name in ("href", "src") if name in given]
        if tag not in ("meta", "link"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def _report(made: MadeOutput, studies: list[MadeStudy], simulated: bool = True) -> str:
    made.write_run(studies, simulated=simulated)
    evaluate_run(made.output, made.private, RUN_ID, EvaluationConfig(resamples=200), made.tokens)
    return made.output.read(write_report(made.output, RUN_ID)).decode()


@pytest.fixture
def made(tmp_path) -> MadeOutput:
    return MadeOutput(tmp_path)


def _studies(labelled: bool = True) -> list[MadeStudy]:
    return [
        MadeStudy(f"canary-{n}", [[(n * 7 % 20) / 20]], label=int(n % 4 == 0) if labelled else None) for n in range(20)
    ]


def test_is_whole_and_asks_nothing_of_the_network(made):
    text = _report(made, _studies())
    page = _Page(text)
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link != "data:,"} <= set(page.ids)
    assert not re.search(r"https?://|<script|@import|url\(", text)
    assert "SIMULATED" in text
    assert "canary" not in text


def test_shows_the_tables_own_numbers(made):
    page = _Page(_report(made, _studies()))
    rows = {row["endpoint"]: row for row in made.metrics("estimates") if row["headline"]}
    shown = {row[1]: row for row in page.rows if len(row) == 10 and row[0] == rows["tp"]["subject"]}
    for endpoint, name in (("tp", "tp"), ("fn", "fn")):
        assert float(shown[name][2]) == rows[endpoint]["value"]
    for endpoint, name in (("sensitivity", "recall"), ("specificity", "specificity")):
        assert float(shown[name][2]) == pytest.approx(rows[endpoint]["value"], abs=5e-4)
        assert [float(end) for end in shown[name][3].split(" to ")] == pytest.approx(
            [rows[endpoint]["ci_low"], rows[endpoint]["ci_high"]], abs=5e-4
        )


@pytest.mark.parametrize("studies", [[], _studies(labelled=False), [MadeStudy("canary", [["decode_error"]], label=1)]])
def test_says_what_is_left_out(made, studies):
    text = _report(made, studies, simulated=False)
    assert _Page(text).open == []
    assert "Left out: no study with a score has a reference label" in text
    assert "SIMULATED" not in text


def test_same_tables_same_bytes(made):
    first = _report(made, _studies())
    assert made.output.read(write_report(made.output, RUN_ID)).decode() == first


def test_a_run_without_metrics_is_refused(made):
    made.write_run(_studies())
    with pytest.raises(UsageError, match="evaluate"):
        write_report(made.output, RUN_ID)
