"""`evaluate` and `compare` on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.errors import InputError
from diagchd_batch.results.output import open_output
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from diagchd_batch.runs.run_lookup import submitted_evaluation
from tests.support.evaluated_runs import KEY, RUN_ID, MadeOutput, MadeStudy

OTHER = "0a1b2c3d-4e5f6071-2"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("output"))
    studies = [MadeStudy(f"{i}", [[0.2 + 0.6 * (i % 2)]], i % 2) for i in range(10)]
    made.write_run(studies)
    made.write_run([MadeStudy(s.study_id, [[0.7]], s.label) for s in studies], OTHER)
    return made


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "DIAGCHD_ID_KEY": KEY.decode(), **environment}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, env=environ, timeout=120, check=False
    )


def test_evaluate_names_the_tables_it_wrote(made: MadeOutput) -> None:
    done = command("-m", "diagchd_batch", "evaluate", made.output.uri, "--run-id", RUN_ID, "--json")
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["run_id"] == RUN_ID
    assert summary["n_rows"]["study_results"] == 10
    assert any("readers" in note for note in summary["notes"])


def test_evaluate_takes_the_settings_of_a_job_file(made: MadeOutput, tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(
        "input: {uri: x, layout: tree}\noutput: {uri: y}\n"
        "evaluation: {operating_points: [{name: high, threshold: 0.75, chosen_on: another cohort}]}\n"
    )
    done = command("-m", "diagchd_batch", "evaluate", made.output.uri, "--run-id", RUN_ID, "--config", str(job))
    assert done.returncode == 0, done.stderr
    assert {row["operating_point"] for row in made.metrics("study_results")} == {"high"}


def test_a_table_that_was_named_by_a_relative_path_is_looked_for_where_the_run_was_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("0", [[0.2]], 0)])
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.csv").write_text("study_id,label\n0,0\n")
    record = read_private_run_record(made.private, RUN_ID)
    assert record is not None
    submitted = {"evaluation": {"reference": "tables/mine.csv"}}
    write_run_record(made.output, made.private, record.model_copy(update={"full_config": submitted}))
    output = open_output(made.output.uri)
    monkeypatch.chdir(tmp_path)
    assert submitted_evaluation(output, RUN_ID).reference == "tables/mine.csv"
    monkeypatch.chdir(tmp_path / "tables")
    with pytest.raises(InputError, match=r"evaluation\.reference: .* in the directory where the run was submitted"):
        submitted_evaluation(output, RUN_ID)


def test_an_unknown_run_is_a_usage_error(made: MadeOutput) -> None:
    done = command("-m", "diagchd_batch", "evaluate", made.output.uri, "--run-id", "nothing-1")
    assert done.returncode == 2
    assert "nothing-1" in done.stderr


def test_without_the_key_it_says_where_to_get_it(made: MadeOutput) -> None:
    done = command("-m", "diagchd_batch", "evaluate", made.output.uri, "--run-id", RUN_ID, DIAGCHD_ID_KEY="")
    assert done.returncode == 2
    assert "DIAGCHD_ID_KEY" in done.stderr


def test_compare_counts_changed_calls(made: MadeOutput) -> None:
    done = command("-m", "diagchd_batch", "compare", made.output.uri, RUN_ID, OTHER)
    assert done.returncode == 0, done.stderr
    assert "calls changed" in done.stdout and "5 studies" in done.stdout


@pytest.mark.slow
def test_the_job_script_writes_the_same_tables_and_report(made: MadeOutput) -> None:
    script = str(bundled_path("jobs/evaluate.py"))
    done = command(script, made.output.uri, "--run-id", RUN_ID)
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    summary = json.loads(line)
    report = summary.pop("report")
    assert summary == json.loads(
        command("-m", "diagchd_batch", "evaluate", made.output.uri, "--run-id", RUN_ID, "--json").stdout
    )
    shown = json.loads(command("-m", "diagchd_batch", "report", made.output.uri, "--run-id", RUN_ID, "--json").stdout)
    assert shown == {"run_id": RUN_ID, "report": f"{made.output.uri}/{report}", "gallery": None}
    unknown = command(script, made.output.uri, "--run-id", "../nothing")
    assert unknown.returncode == 2
    assert "is no run id" in unknown.stderr and "Traceback" not in unknown.stderr
