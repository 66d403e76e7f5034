"""The sample's report and gallery as users see them: after `submit`, in a browser, on a phone and on paper."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from diagchd_batch.exit_codes import ExitCode
from tests.support.checkers.html_pages import HtmlPage
from tests.support.scoring_runs import PROJECT
from tests.support.servers_and_hosts.browser import CHROMIUM, Browser

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed (apt-get install chromium)")


# One file of the sample is damaged on purpose.
_SUBMIT = ("-m", "diagchd_batch", "submit", "configs/sample.yaml", "--set")


def _run(*command: str, exit_code: int = 0) -> str:
    done = subprocess.run([sys.executable, *command], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == exit_code, f"{command}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sample") / "out"


@pytest.fixture(scope="module")
def told(output: Path) -> str:
    """Return what `submit` prints."""
    return _run(*_SUBMIT, f"output.uri={output}", exit_code=ExitCode.FAILED_INPUTS)


@pytest.fixture(scope="module")
def report(told: str, output: Path) -> Path:
    """Return the report that `submit` wrote."""
    (found,) = output.glob("reports/run_id=*/index.html")
    return found


@pytest.fixture
def browser() -> Iterator[Browser]:
    with Browser() as opened:
        yield opened


def test_submit_ends_with_key_figures_and_the_report(told: str, report: Path) -> None:
    assert re.search(r"AUC +0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\), 62 studies", told)
    for name, units in (("sensitivity", "22 diseased studies"), ("specificity", "40 healthy studies")):
        assert re.search(rf"{name} +0\.\d{{3}} \(0\.\d{{3}} to [01]\.\d{{3}}\), \d\d of {units}", told)
    assert re.search(r"mean IoU +0\.\d{3} \(0\.\d{3} to [01]\.\d{3}\), 119 images", told)
    assert str(report) in told
    assert len(list(report.parents[2].glob("runs/run_id=*/_SUCCESS"))) == 1


def test_the_same_run_gives_the_same_bytes(report: Path, output: Path) -> None:
    written = report.read_bytes()
    report.unlink()
    _run("jobs/evaluate.py", str(output))
    assert report.read_bytes() == written
    _run("-m", "diagchd_batch", "report", str(output))
    assert report.read_bytes() == written
    again = _run(*_SUBMIT, f"output.uri={output}", "--json", exit_code=ExitCode.FAILED_INPUTS)
    assert json.loads(again)["report"] == str(report)


def test_all_there_and_nothing_identified(report: Path) -> None:
    text = report.read_text(encoding="utf-8")
    page = HtmlPage(text)
    assert "SIMULATED" in text
    assert page.figures == page.described_figures > 8
    assert "Left out: this run was not compared with another one" in text
    assert text.count("Left out:") == 1  # The sample's report has all other sections.
    assert [row[0] for row in page.table("Calls against the reference standard").rows] == [
        "diagchd-compact",
        *(f"R{n}" for n in range(1, 7)),
        "mean of the readers",
        "majority",
    ]
    own_names = [path.stem for name in ("damaged", "images") for path in (PROJECT / "dataset/sample" / name).iterdir()]
    assert len(own_names) > 100
    assert not [name for name in own_names if name in text]
    assert "data:image" not in text


@needs_chromium
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1400])
def test_opens_without_an_error_or_a_request_and_fits(report: Path, browser: Browser, width: int, dark: bool) -> None:
    browser.open(report, width, dark=dark)
    assert browser.requests() == [report.resolve().as_uri().replace("=", "%3D")]
    assert browser.complaints() == []
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    page, ink = browser.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert (_brightness(page) < _brightness(ink)) == dark


@needs_chromium
def test_figures_are_legible_and_described_on_a_phone(report: Path, browser: Browser) -> None:
    browser.open(report, 390)
    figures = browser.evaluate(
        "Array.from(document.querySelectorAll('svg')).map(s => [s.querySelector('title').textContent, "
        "s.querySelector('desc').textContent, s.getBoundingClientRect().width / s.viewBox.baseVal.width, "
        "parseFloat(getComputedStyle(s.querySelector('text:not([class])')).fontSize), "
        "s.parentElement.scrollWidth <= s.parentElement.clientWidth])"
    )
    assert len(figures) > 8
    for title, description, scale, text_size, is_whole in figures:
        assert title
        assert len(description) > 40
        assert text_size * scale > 10  # size of the figures' text in CSS pixels
        assert is_whole or title == "Agreement matrix", title  # that of many readers scrolls
    hint = "getComputedStyle(document.querySelector('.hint')).display"
    assert browser.evaluate(hint) == "block"
    browser.open(report, 1400)
    assert browser.evaluate(hint) == "none"


@needs_chromium
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="pdftotext is not installed (poppler-utils)")
def test_prints_with_the_headline(report: Path, browser: Browser, tmp_path: Path) -> None:
    browser.open(report)
    (tmp_path / "report.pdf").write_bytes(browser.pdf())
    text = subprocess.check_output(["pdftotext", "-layout", str(tmp_path / "report.pdf"), "-"], text=True)
    pages = text.split("\f")[:-1]
    assert 5 < len(pages) < 40
    (headline,) = [page for page in pages if "Calls against the reference standard" in page]
    for word in ("TP", "recall", "precision", "NPV", "F1", "mean of", "majority"):
        assert word in headline
    assert all(page.strip() for page in pages)


def test_the_gallery_is_private_and_whole(told: str, output: Path, request: pytest.FixtureRequest) -> None:
    printed = _run("-m", "diagchd_batch", "report", str(output), "--gallery", "2").splitlines()
    gallery = Path(printed[1])
    assert gallery.is_relative_to(output / "_private")
    assert gallery.stat().st_mode & 0o777 == 0o600
    text = gallery.read_text(encoding="utf-8")
    page = HtmlPage(text)
    assert page.unclosed == []
    assert text.count("<figure>") == 10  # two images of each of five kinds
    n_pictures = 10 + text.count("<li>")  # with the other images of their studies
    assert text.count("data:image/png;base64,") == text.count('class="predicted heart"') == n_pictures
    assert text.count("<dt>diagnosis</dt>") == 10
    assert not re.search(r"https?:|<script", text)
    if CHROMIUM is not None:
        browser = request.getfixturevalue("browser")
        browser.open(gallery, 390)
        assert browser.complaints() == []
        assert {url.partition(":")[0] for url in browser.requests()} == {"file", "data"}
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390


def _brightness(colour: str) -> int:
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
