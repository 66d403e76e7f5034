"""`logs` prints the log that is kept in the run's output if no cluster answers."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from diagchd_batch import output_layout
from diagchd_batch.cli.main import app
from diagchd_batch.errors import RunFault, UsageError
from diagchd_batch.results.output import Output, open_output
from diagchd_batch.results.run_record import write_run_record
from diagchd_batch.scoring.liveness.driver_log import DriverLog
from tests.support.checkers.canaries import canary
from tests.unit.results.made_run import RUN_ID, make_run, run_record

NOBODY = "http://127.0.0.1:9"


@pytest.fixture
def output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    run = make_run(tmp_path, 1)
    record = run_record(run.plan, status="failed", exit_code=1)
    record = record.model_copy(update={"reason": f"/archive/{canary('file')} is full"})
    write_run_record(run.storage, run.private, record)
    return open_output(run.storage.uri)


def _logs(*options: str) -> Result:
    return CliRunner().invoke(app, ["logs", *options])


@pytest.mark.parametrize("options", [[], ["--address", NOBODY]], ids=["no cluster", "a cluster that is gone"])
def test_the_log_of_the_latest_driver_is_printed(output: Output, options: list[str]) -> None:
    with DriverLog() as log:
        log.keep(output.private, RUN_ID, "11111111")
        log.write("what the driver said")
    printed = _logs(output.storage.uri, "--run-id", RUN_ID, *options)
    assert (printed.exit_code, printed.stdout) == (0, "what the driver said\n")
    of_the_newest = CliRunner().invoke(app, ["logs", output.storage.uri])
    assert of_the_newest.stdout == printed.stdout
    assert ("no answer from" in printed.stderr) is bool(options)


def test_of_a_run_without_a_log_it_tells_the_kind_of_its_end_and_where_the_private_text_lies(output: Output) -> None:
    printed = _logs(output.storage.uri, "--run-id", RUN_ID)
    assert printed.exit_code == 0
    assert "it is failed: a fault of the run, exit code 1; the full text is in the private tree" in printed.stdout
    assert output_layout.private_run_record(RUN_ID) in printed.stdout
    assert canary("file").encode() in output.private.read(output_layout.private_run_record(RUN_ID))
    assert canary("file") not in printed.output


def test_without_output_and_cluster_it_says_what_to_give(output: Output) -> None:
    for options in ([], ["--run-id", RUN_ID], ["--address", NOBODY]):
        assert isinstance(_logs(*options).exception, UsageError)
    refused = _logs("--run-id", RUN_ID, "--address", NOBODY)
    assert isinstance(refused.exception, RunFault)
    assert "logs OUTPUT" in refused.stderr


def test_an_unknown_run_is_refused(output: Output) -> None:
    refused = CliRunner().invoke(app, ["logs", output.storage.uri, "--run-id", "unknown"])
    assert isinstance(refused.exception, UsageError)
