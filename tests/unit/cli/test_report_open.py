"""`report --open` opens a local report, and says why it does not open another one."""

import webbrowser
from pathlib import Path

import pytest

from diagchd_batch.runs import report as report_module
from diagchd_batch.runs.report import Report
from tests.support.command_line import diagchd_batch


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    opened: list[str] = []
    monkeypatch.setattr(report_module, "report", lambda *_, **__: Report("r", "reports/run_id=r/report.html", None))
    monkeypatch.setattr("diagchd_batch.cli.report.open_run", lambda *_: (None, "r"))
    monkeypatch.setattr(webbrowser, "open", opened.append)
    return opened


@pytest.mark.parametrize("form", ["path", "file URI", "relative path"])
def test_a_local_report_is_opened(
    opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.chdir(tmp_path)
    output = {"path": str(tmp_path / "o u t"), "file URI": f"file://{tmp_path}/o%20u%20t", "relative path": "o u t"}
    done = diagchd_batch("report", output[form], "--open")
    assert done.exit_code == 0, done.messages
    assert opened == [f"file://{tmp_path}/o%20u%20t/reports/run_id%3Dr/report.html"]


def test_a_report_on_s3_is_not_opened_and_that_is_said(opened: list[str]) -> None:
    done = diagchd_batch("report", "s3://bucket/out", "--open")
    assert (done.exit_code, opened) == (0, [])
    assert "--open was not done: a browser opens local files only" in done.messages
    assert done.printed.strip() == "s3://bucket/out/reports/run_id=r/report.html"
    assert "--open" not in diagchd_batch("report", "s3://bucket/out").messages
