"""The commands that `submit` prints at the end of a run can be pasted as they stand."""

import shlex
import shutil
from pathlib import Path

import pytest

from diagchd_batch.cli.run_summary import print_summary
from diagchd_batch.config.job_file import InputConfig, JobConfig, OutputConfig
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.runs import submit
from diagchd_batch.scoring.driver.run_job import RunOutcome
from tests.support.command_line import diagchd_batch
from tests.unit.results.made_scored_output import MadeScoredOutput


def test_printed_commands_run_with_spaces_and_a_private_tree_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = MadeScoredOutput(tmp_path, [("a", "", 2), ("b", "", 1)])
    made.broken = {made.file("a", 1)}
    made.run("first")
    (record,) = made.output.runs()
    output, private = tmp_path / "the 'out'; put", tmp_path / "kept private $HOME"
    shutil.move(made.output.private.uri, private)
    shutil.move(made.uri, output)
    job = JobConfig(
        version=1,
        input=InputConfig(uri=str(tmp_path / "archive"), layout="tree"),
        output=OutputConfig(uri=str(output), private_uri=str(private)),
    )
    monkeypatch.setattr(submit, "key_figures", lambda *_: [])
    monkeypatch.setattr(submit, "report_uri", lambda *_: None)

    print_summary(job, RunOutcome("first", ExitCode.FAILED_INPUTS, record.counts))

    printed = capsys.readouterr().err.splitlines()
    commands = {line.partition(": ")[0]: line.partition(": ")[2] for line in printed if ": diagchd-batch " in line}
    assert set(commands) == {"which files", "check it with"}
    for command in commands.values():
        program, *arguments = shlex.split(command)
        assert program == "diagchd-batch"
        ended = diagchd_batch(*arguments)
        assert ended.exit_code == 0, ended.messages
        if arguments[0] == "query":
            assert made.file("a", 1) in ended.printed
