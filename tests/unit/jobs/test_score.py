"""The command line of `jobs/score.py`."""

from typing import Any, Never

import pytest

from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.process.interrupts import RunInterrupted
from diagchd_batch.runs.submit import SubmitOptions
from jobs import score

JOB = JobConfig.model_validate({"input": {"uri": "/archive", "layout": "tree"}, "output": {"uri": "/out"}})
SPELLINGS: dict[str, list[list[str]]] = {
    "all": [[]],
    "new": [["--select", "new"], ["--only", "new"]],
    "failed": [["--select", "failed"], ["--retry", "failed"]],
}


@pytest.mark.parametrize(
    ("options", "selection"),
    [(options, selection) for selection, spellings in SPELLINGS.items() for options in spellings],
)
def test_select_and_its_old_spellings_name_the_same_run(
    options: list[str], selection: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def submit(options: SubmitOptions, *_: Any) -> Never:
        asked.append((options.config, options.request.selection))
        raise RunInterrupted(15)

    monkeypatch.setattr(score, "submit_on_joined_ray", submit)
    monkeypatch.setattr("sys.argv", ["score.py", "job.yaml", *options, "model.precision=bfloat16"])
    assert score.main(lambda name, overrides, environ: JOB) == 143
    assert asked == [(JOB, selection)]


def test_two_selections_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["score.py", "job.yaml", "--select", "new", "--retry", "failed"])
    with pytest.raises(SystemExit, match="2"):
        score.main()
    assert "not allowed with" in capsys.readouterr().err
