"""Every command that reads a damaged table names the table and says what to do."""

import json
import shutil
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.evaluation.cohort.evaluate import evaluate_run
from diagchd_batch.results.run_record import read_private_run_record, write_run_record
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import KEY, RUN_ID, MadeOutput, MadeStudy
from tests.support.scoring_runs import PROJECT

SAMPLE = str(PROJECT / "configs" / "sample.yaml")
LATER = "0a1b2c3d-4e5f6071-2"


@pytest.fixture(scope="module")
def undamaged(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp("undamaged"))
    studies = [MadeStudy(f"s{n}", [[(n + 1) / 10]], n % 2) for n in range(8)]
    for run in (RUN_ID, LATER):
        made.write_run(studies, run)
        evaluate_run(made.output, made.private, run, EvaluationConfig(resamples=100), made.tokens)
    return made


@pytest.fixture
def made(undamaged: MadeOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeOutput:
    monkeypatch.setenv("DIAGCHD_ID_KEY", KEY.decode())
    shutil.copytree(undamaged.root, tmp_path, dirs_exist_ok=True)
    return MadeOutput(tmp_path)


@pytest.mark.parametrize("command", [("report",), ("export", "shareable")], ids=" ".join)
def test_metrics(made: MadeOutput, command: tuple[str, ...], tmp_path: Path) -> None:
    made.output.replace(output_layout.metrics_file(LATER, "estimates"), b"PAR1 cut")
    destination = [str(tmp_path / "shared")] if "shareable" in command else []
    done = diagchd_batch(*command, made.output.uri, *destination, "--run-id", LATER)
    assert (done.exit_code, done.printed) == (1, "")
    assert f"estimates/run_id={LATER}/part-00000.parquet is damaged" in done.messages
    assert "the command `evaluate`" in done.messages


@pytest.mark.parametrize("command", [("evaluate", "--run-id", LATER), ("compare", RUN_ID, LATER)], ids=" ".join)
def test_predictions(made: MadeOutput, command: tuple[str, str, str]) -> None:
    made.output.replace(output_layout.predictions_file(LATER, 0), b"PAR1 cut")
    done = diagchd_batch(command[0], made.output.uri, *command[1:])
    assert (done.exit_code, done.printed) == (1, "")
    assert "part-00000.parquet" in done.messages and "the command `verify`" in done.messages


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
@pytest.mark.parametrize("command", ["list", "status"])
def test_a_run_record_is_named_once_and_the_other_run_is_listed(made: MadeOutput, command: str, content: bytes) -> None:
    made.output.replace(output_layout.run_record(LATER), content)
    done = diagchd_batch(command, made.output.uri)
    assert done.exit_code == 1
    (line,) = done.messages.splitlines()
    assert f"run {LATER}:" in line and f"run_id={LATER}/run.json is damaged" in line and "resume the run" in line
    assert "pydantic" not in line
    assert RUN_ID in done.printed and "finished" in done.printed
    assert LATER in done.printed and "damaged" in done.printed
    states = json.loads(diagchd_batch(command, made.output.uri, "--json").printed)
    assert {state["run_id"]: state["status"] for state in states} == {RUN_ID: "finished", LATER: "damaged"}


def test_a_plan_has_nothing_to_do_with_the_record_of_another_run(made: MadeOutput) -> None:
    made.output.replace(output_layout.run_record(LATER), b"{")
    settings = (f"output.uri={made.output.uri}", "model.weights=seed:0")
    done = diagchd_batch(
        "plan", SAMPLE, "--no-measure", "--json", *(word for one in settings for word in ("--set", one))
    )
    assert done.exit_code == 0, done.messages
    assert json.loads(done.printed)["run_id"] is None


def test_the_newest_log_is_looked_for_among_the_others_and_that_is_said(made: MadeOutput) -> None:
    made.output.replace(output_layout.run_record(LATER), b"{")
    done = diagchd_batch("logs", made.output.uri)
    assert done.exit_code == 0, done.messages
    assert f"no log is kept of run {RUN_ID}" in done.printed
    assert f"run {LATER} is left out, it may be newer" in done.messages and "run.json is damaged" in done.messages


@pytest.mark.parametrize("content", [b"", b"{", b"[]"])
@pytest.mark.parametrize(
    "command", [("evaluate",), ("report",), ("export", "shareable"), ("export", "worklist")], ids=" ".join
)
def test_the_latest_run_is_looked_for_among_the_others_and_that_is_said(
    made: MadeOutput, command: tuple[str, ...], content: bytes, tmp_path: Path
) -> None:
    record = read_private_run_record(made.private, RUN_ID)
    write_run_record(made.output, made.private, record.model_copy(update={"ended_at": record.started_at}))
    made.output.replace(output_layout.run_record(LATER), content)
    destination = [str(tmp_path / "shared")] if command[0] == "export" else []
    done = diagchd_batch(*command, made.output.uri, *destination)
    assert done.exit_code == 0, done.messages
    assert RUN_ID in done.printed and LATER not in done.printed
    assert f"run {LATER} is left out, it may be newer" in done.messages and "run.json is damaged" in done.messages
    made.output.replace(output_layout.run_record(RUN_ID), content)
    refused = diagchd_batch(*command, made.output.uri, *destination)
    assert refused.exit_code == 1 and "run.json is damaged" in refused.messages


def test_queries_that_need_no_record_are_answered_in_full_and_those_that_do_leave_out_the_damaged_run(
    made: MadeOutput,
) -> None:
    both = "SELECT run_id, count(*) AS n FROM predictions GROUP BY ALL ORDER BY run_id"
    before = diagchd_batch("query", made.output.uri, both, "--format", "csv")
    made.output.replace(output_layout.run_record(LATER), b"{")
    after = diagchd_batch("query", made.output.uri, both, "--format", "csv")
    assert (after.exit_code, after.written) == (0, before.written)
    assert RUN_ID in after.printed and LATER in after.printed
    for view in ("runs", "lineages", "current"):
        answered = diagchd_batch("query", made.output.uri, f"SELECT DISTINCT run_id FROM {view}", "--format", "csv")
        assert answered.exit_code == 0, answered.messages
        assert RUN_ID in answered.printed and LATER not in answered.printed
        assert f"run_id={LATER}/run.json is damaged" in answered.messages
        other = diagchd_batch("query", made.output.uri, f"SELECT count(*) FROM {view}", "--run-id", RUN_ID)
        assert other.exit_code == 0, other.messages
