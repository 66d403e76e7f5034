"""Every command that the program prints runs as it is pasted into a shell."""

import ast
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import diagchd_batch
from diagchd_batch.cli import cluster_client
from diagchd_batch.cli.run_summary import output_arguments, print_summary
from diagchd_batch.config.job_file import InputConfig, JobConfig, OutputConfig
from diagchd_batch.errors import ConfigError
from diagchd_batch.escaping import command_line, for_console
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.runs import cluster_jobs, list_runs, sample, submit
from diagchd_batch.runs.train import training_of
from diagchd_batch.scoring.driver.run_identity.run_request import RunRequest
from diagchd_batch.scoring.driver.run_job import RunOutcome
from tests.support.command_line import Ended
from tests.support.command_line import diagchd_batch as run_here
from tests.unit.results.made_scored_output import MadeScoredOutput

PACKAGE = Path(diagchd_batch.__file__).parent
ODD_NAMES = [
    "plain",
    "two words; ls && 'x' | y > z",
    'quoted "twice" $HOME `id` \\ \\n !! * ? [a] {b,c} ~ #',
    "übergroß-患者",
    "line\nend\ttab \x1b[31m \u202e it's",
]
TESTED = {
    ("cli/query.py", "query"): "test_the_views_are_listed_as_the_messages_say",
    ("cli/run_summary.py", "query"): "test_the_commands_at_the_end_of_a_run",
    ("cli/run_summary.py", "verify"): "test_the_commands_at_the_end_of_a_run",
    ("cli/sample.py", "submit"): "test_the_commands_for_the_sample",
    ("cli/sample.py", "train"): "test_the_commands_for_the_sample",
    ("cli/cluster_client.py", "name"): "test_the_ways_back_to_a_run_on_a_cluster",
    ("cli/cluster_client.py", "status"): "test_the_ways_back_to_a_run_on_a_cluster",
    ("cli/cluster_client.py", "stop"): "test_the_ways_back_to_a_run_on_a_cluster",
    ("results/query/database.py", "query"): "test_the_views_are_listed_as_the_messages_say",
    ("runs/cluster_jobs.py", "list"): "test_the_submissions_are_listed_as_the_message_says",
    ("runs/train.py", "config"): "test_the_schema_is_shown_as_the_message_says",
}
"""The places that print a command (module, and the command or the variable that has it), and the test of each."""


def noting(notes: list[Any], answer: Any) -> Callable[..., Any]:
    """Return a function that notes its first argument and returns `answer`."""

    def note(first: Any, *_: Any, **__: Any) -> Any:
        notes.append(first)
        return answer

    return note


def words_in_a_shell(line: str) -> list[str]:
    """Return the arguments that a shell gives the program when a line is pasted."""
    program = r'diagchd-batch() { printf "%s\0" "$@"; }; '
    shell = ["bash", "--noprofile", "--norc", "-c"]
    done = subprocess.run([*shell, program + line], capture_output=True, check=True, timeout=60)
    assert done.stderr == b"", done.stderr
    return done.stdout.decode(errors="surrogateescape").split("\0")[:-1]


def paste(line: str) -> Ended:
    """Run what a shell makes of a line, without starting a process for the program."""
    return run_here(*words_in_a_shell(line))


def commands(messages: str) -> dict[str, str]:
    """Return the commands in messages by what is said before them."""
    found = re.findall(r"^(.*?): (diagchd-batch .*)$|`(diagchd-batch [^`]*)`", messages, re.MULTILINE)
    return {what: line or quoted for what, line, quoted in found}


def _built_commands(tree: ast.Module) -> set[str]:
    """Return the first argument of each call of `command_line`: a text, or the name of a variable."""
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    first: list[Any] = [node.args[0] for node in calls if getattr(node.func, "id", "") == "command_line"]
    return {str(word.value) if isinstance(word, ast.Constant) else word.id for word in first}


def test_every_place_that_prints_a_command_has_a_test() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        if "command_line(" in text:
            found |= {(str(path.relative_to(PACKAGE)), command) for command in _built_commands(ast.parse(text))}
    assert found == set(TESTED)
    assert all(test in globals() for test in TESTED.values())


@pytest.mark.parametrize("word", [*ODD_NAMES, "", "-", "--", "'", '"', "\\", "$'\\x41'", "a\udcffb", "s3://b/it's $x"])
def test_words_reach_the_program_as_they_are_and_show_no_control_characters(word: str) -> None:
    line = command_line("verify", word, "end")
    assert for_console(line) == line and "\n" not in line
    assert words_in_a_shell(line) == ["verify", word, "end"]


def _job(root: Path, output: str, private: str | None) -> JobConfig:
    archive = InputConfig(uri=str(root / "archive"), layout="tree")
    return JobConfig(version=1, input=archive, output=OutputConfig(uri=output, private_uri=private))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeScoredOutput:
    """Score three files, of which one fails."""
    made = MadeScoredOutput(tmp_path_factory.mktemp("made"), [("a", "", 2), ("b", "", 1)])
    made.broken = {made.file("a", 1)}
    made.run("first")
    return made


@pytest.fixture(params=ODD_NAMES, ids=range(len(ODD_NAMES)))
def job(request: pytest.FixtureRequest, made: MadeScoredOutput, tmp_path: Path) -> JobConfig:
    """Return the job of an output under an odd name, whose private tree lies elsewhere."""
    output, private = tmp_path / request.param, tmp_path / f"private of {request.param}"
    shutil.copytree(made.uri, output)
    shutil.move(output / Path(made.output.private.uri).relative_to(made.uri), private)
    return _job(made.root, str(output), str(private))


def test_the_commands_at_the_end_of_a_run(
    made: MadeScoredOutput, job: JobConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(submit, "key_figures", lambda *_: [])
    monkeypatch.setattr(submit, "report_uri", lambda *_: None)
    (record,) = made.output.runs()
    print_summary(job, RunOutcome("first", ExitCode.FAILED_INPUTS, record.counts))
    printed = commands(capsys.readouterr().err)
    assert set(printed) == {"which files", "check it with"}
    ended = {what: paste(line) for what, line in printed.items()}
    assert {what: end.exit_code for what, end in ended.items()} == dict.fromkeys(printed, 0)
    assert made.file("a", 1) in ended["which files"].printed


def test_an_output_that_looks_like_an_option(
    made: MadeScoredOutput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made.uri, "-rf")
    shutil.move("-rf/_private", "--yes")
    assert paste(command_line("verify", *output_arguments(_job(made.root, "-rf", "--yes")))).exit_code == 0


@pytest.mark.parametrize("ended_options", [[], ["--"]])
@pytest.mark.parametrize("new_run", [True, False])
def test_the_ways_back_to_a_run_on_a_cluster(
    job: JobConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    new_run: bool,
    ended_options: list[str],
) -> None:
    job_file = Path(job.output.uri).with_name(f"job of {Path(job.output.uri).name}.yaml")
    job_file.write_text(job.model_dump_json(exclude_unset=True))
    words = ["submit", "--address", "http://head:8265", "--no-wait", *["--new-run"] * new_run]
    words += ["--set", f"input.uri={json.dumps(job.output.uri + ' of another')}", *ended_options, str(job_file)]
    monkeypatch.setattr(sys, "argv", ["diagchd-batch", *words])
    cluster_client._say_ways_back(job, "first", RunRequest(new_run=new_run))
    printed = commands(capsys.readouterr().err)
    assert set(printed) == {"follow it", "see how far it is", "end it"}

    submitted: list[submit.SubmitOptions] = []
    answer = submit.ClusterSubmission(None, "first", "first-0", True)
    monkeypatch.setattr(submit, "submit_to_cluster", noting(submitted, answer))
    monkeypatch.setattr(submit, "follow_submission", lambda *_, **__: ExitCode.DONE)
    for line in printed.values():
        assert paste(line).exit_code == 0, line
    (options,) = submitted
    assert options.config.input.uri == f"{job.output.uri} of another"
    assert options.request == RunRequest("first" if new_run else None)


@pytest.mark.parametrize("name", [*ODD_NAMES, "-rf"])
def test_the_commands_for_the_sample(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from diagchd_batch.runs import train

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sample, "_generate", lambda directory, _: directory.mkdir())
    printed = commands(run_here("sample", "--training-studies", "1", "--", name).messages)
    assert len(printed) == 2

    started: list[Any] = []
    done = submit.Submission(RunOutcome("first", ExitCode.DONE, None), ())
    monkeypatch.setattr(submit, "submit_here", noting(started, done))
    monkeypatch.setattr(submit, "plan_of_headers", lambda *_: None)
    trained = train.TrainOutcome("first", ExitCode.DONE, None, 2)
    monkeypatch.setattr(train, "train_here", noting(started, trained))
    for line in printed.values():
        assert paste(line).exit_code == 0, line
    assert [options.config.output.uri for options in started] == [f"{name}/out", f"{name}/out-training"]


def test_the_views_are_listed_as_the_messages_say(made: MadeScoredOutput) -> None:
    for arguments in (["query"], ["query", made.uri, "SHOW TABLES"], ["query", made.uri, "SELECT * FROM absent"]):
        ended = run_here(*arguments)
        assert ended.exit_code == 2
        (line,) = commands(ended.messages).values()
        listed = paste(line)
        assert listed.exit_code == 0 and "predictions" in listed.printed


def test_the_submissions_are_listed_as_the_message_says(monkeypatch: pytest.MonkeyPatch) -> None:
    address = "http://head:8265/a;b"
    jobs = SimpleNamespace(address=address, latest=lambda _: None, list=list, run_ids=set)
    asked: list[str | None] = []
    for module in (cluster_jobs, list_runs):
        monkeypatch.setattr(module, "connect", noting(asked, jobs))
    ended = run_here("logs", "--run-id", "first", "--address", address)
    (line,) = commands(ended.messages).values()
    assert paste(line).exit_code == 0
    assert asked == [address, address]


def test_the_schema_is_shown_as_the_message_says(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        training_of(_job(tmp_path, str(tmp_path), None))
    (line,) = commands(str(caught.value)).values()
    assert '"training"' in paste(line).printed
