"""Names in job files, archives, errors and command lines control no terminal, whatever the command or job prints."""

import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Never

import pytest

from diagchd_batch.cli.main import app
from diagchd_batch.cli.progress import BarProgress
from diagchd_batch.errors import RunFault
from diagchd_batch.escaping import is_unsafe
from diagchd_batch.exit_codes import ExitCode
from diagchd_batch.model.benchmark_against_keras import PredictorBenchmark
from diagchd_batch.model.packages.registry import load_card
from diagchd_batch.results.counts import RunCounts
from diagchd_batch.runs import bench, info, submit
from diagchd_batch.scoring.driver.run_job import RunOutcome
from diagchd_batch.scoring.liveness.progress_events import RunStart
from jobs import score, train
from tests.support.command_line import diagchd_batch

HOSTILE = "x\x1b[31mRED\x1b]0;PWNED\x07\x9b31m\u202eevil\r[bold]"
NAME = HOSTILE.replace("/", "")
COMMANDS = sorted(
    str(command.name or command.callback.__name__)
    for command in app.registered_commands
    if command.callback is not None
)


@pytest.fixture(autouse=True)
def _plain_usage_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turn Typer's own colours off, which some CI services turn on. The tests look for escape codes."""
    monkeypatch.setattr("typer.rich_utils.COLOR_SYSTEM", None)


def unsafe_in(printed: str) -> set[str]:
    assert printed
    return set(filter(is_unsafe, printed.replace("\r\n", "\n")))


def check(*command: str, exit_code: int | None = None, says: str = "") -> None:
    ended = diagchd_batch(*command)
    printed = ended.printed + ended.messages
    assert not unsafe_in(printed), command
    assert "Traceback" not in printed
    assert exit_code in (None, ended.exit_code), printed
    assert says in printed


@pytest.mark.parametrize(
    "command",
    [
        (HOSTILE,),
        (f"--{HOSTILE}",),
        ("export", HOSTILE),
        ("config", HOSTILE),
        ("export", "shareable", "a", "b", "--min-cell", HOSTILE),
        ("bench", "--images", HOSTILE),
        ("query", "a", "b", "--format", HOSTILE),
        *((name, f"--{HOSTILE}") for name in COMMANDS),
        *((name, "a", "b", "c", "d", HOSTILE) for name in COMMANDS),
    ],
    ids=lambda command: " ".join(command).encode("unicode_escape").decode(),
)
def test_errors_about_the_command_line(command: tuple[str, ...]) -> None:
    check(*command, exit_code=2)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """Write a job of which every name is hostile, and its archive."""
    study = tmp_path / NAME / f"study {NAME}"
    study.mkdir(parents=True)
    (study / f"{NAME}.png").write_bytes(b"\x89PNG")
    (tmp_path / "readers.csv").write_text(
        f'study_id,reader,status,call\n"study {NAME}","{NAME}",read,1\n"{NAME}",b,read,1\n'
    )
    path = tmp_path / f"job {NAME}.yaml"
    path.write_text(
        f"input: {{uri: {quoted(str(tmp_path / NAME))}, layout: tree}}\n"
        "model: {name: diagchd-compact}\n"
        f"output: {{uri: {quoted(str(tmp_path / f'out {NAME}'))}}}\n"
        f"evaluation: {{readers: {quoted(str(tmp_path / 'readers.csv'))}}}\n"
    )
    return path


def quoted(text: str) -> str:
    """Return a text as a YAML string in double quotes."""
    return '"' + "".join(c if c.isascii() and c.isprintable() else f"\\u{ord(c):04x}" for c in text) + '"'


OVERRIDES = (
    *(f"model.{key}={quoted(HOSTILE)}" for key in ("name", "weights", "precision", "runtime")),
    f"input.layout={quoted(HOSTILE)}",
    f"input.uri={quoted(f'/nowhere/{HOSTILE}')}",
    f"input.uri={quoted(f's3://{HOSTILE}')}",
    f"output.uri={quoted(f'/proc/{HOSTILE}')}",
    f"output.private_uri={quoted(f'/proc/{HOSTILE}')}",
    *(f"evaluation.{table}={quoted(f'/nowhere/{HOSTILE}')}" for table in ("reference", "readers", "covariates")),
    f"evaluation.{HOSTILE}=1",
    f"{HOSTILE}=1",
    HOSTILE,
)


class NoCluster:
    """Stands for a Ray that cannot begin."""

    def __init__(self, *_: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Never:
        raise RunFault(HOSTILE)


@pytest.mark.parametrize("command", ["plan", "submit", "config validate"])
@pytest.mark.parametrize("override", OVERRIDES, ids=[text.encode("unicode_escape").decode() for text in OVERRIDES])
def test_jobs_that_cannot_begin(job: Path, command: str, override: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submit, "LocalCluster", NoCluster)
    check(*command.split(), str(job), "--set", override, *(("--no-measure",) if command == "plan" else ()))


@pytest.mark.parametrize("command", ["plan", "submit", "config show", "config validate"])
def test_job_files_that_cannot_be_read(tmp_path: Path, command: str) -> None:
    check(*command.split(), str(tmp_path / f"{NAME}.yaml"), exit_code=2)
    path = tmp_path / "job.yaml"
    for text in (
        f"{quoted(HOSTILE)}: 1\n",
        f"version: {quoted(HOSTILE)}\n",
        HOSTILE,
        f"input: {{uri: {quoted(HOSTILE)}",
    ):
        path.write_text(text)
        check(*command.split(), str(path), exit_code=2)


@pytest.mark.parametrize(
    "command", ["plan --no-measure", "plan --no-measure --json", "config show", "config show --json"]
)
def test_a_job_of_hostile_names(job: Path, command: str) -> None:
    name, *options = command.split(" --")
    check(*name.split(), str(job), *(f"--{option}" for option in options), exit_code=0)


def outcome_of(**fields: Any) -> RunOutcome:
    counts = RunCounts(
        n_shards=1,
        n_images=2,
        n_rows=2,
        n_ok=1,
        n_failed=1,
        n_chd_calls=0,
        failures={"decode_error": 1},
        reference_status={},
        quality_flags={HOSTILE: 1},
    )
    return RunOutcome(f"run-{HOSTILE}", ExitCode.FAILED_INPUTS, counts, **fields)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_the_end_of_a_submit(job: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    def submit_here(options: Any, progress: Any, log: Any) -> submit.Submission:
        progress.message(HOSTILE)
        return submit.Submission(outcome_of(), (HOSTILE,))

    def refused(*_: Any) -> Never:
        raise RunFault(HOSTILE)

    monkeypatch.setattr(submit, "submit_here", submit_here)
    monkeypatch.setattr(submit, "key_figures", lambda *_: [SimpleNamespace(name=HOSTILE)])
    monkeypatch.setattr(submit, "report_uri", lambda *_: f"/out/{HOSTILE}")
    monkeypatch.setattr(submit, "lineage_totals", refused)
    check("submit", str(job), *options, exit_code=3)


@pytest.mark.parametrize("options", [(), ("--json",), ("--no-wait",)])
def test_a_submit_to_a_cluster(job: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    def follow(_: Any, __: Any, *, write_log: Callable[[str], None], say: Callable[[str], None]) -> ExitCode:
        write_log(f"{HOSTILE}\n")
        say(HOSTILE)
        return ExitCode.DONE

    submission = submit.ClusterSubmission(None, f"run-{HOSTILE}", f"job-{HOSTILE}", attached=True)
    monkeypatch.setattr(submit, "submit_to_cluster", lambda *_, **__: submission)
    monkeypatch.setattr(submit, "follow_submission", follow)
    check("submit", str(job), "--address", "http://head:8265", *options, exit_code=0)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_figures_of_a_benchmark(monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    def run_benchmark(*arguments: Any) -> bench.Benchmark:
        arguments[-1](HOSTILE)
        predictor = PredictorBenchmark(HOSTILE, HOSTILE, 8, 1.0, {})
        return bench.Benchmark(predictor, bench.Throughput(8, 8, 1.0, 1.0, 1.0, 1.0), {HOSTILE: HOSTILE})

    monkeypatch.setattr(bench, "run_benchmark", run_benchmark)
    check("bench", *options, exit_code=0)


@pytest.mark.parametrize("option", ["model", "weights", "precision"])
def test_a_benchmark_of_what_is_not_there(option: str) -> None:
    check("bench", f"--{option}", HOSTILE, exit_code=2)


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_what_a_machine_says_of_itself(monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]) -> None:
    card = load_card("diagchd-compact").model_copy(update={"version": HOSTILE, "intended_use": HOSTILE})
    machine = info.MachineInfo("3.11", {HOSTILE: HOSTILE}, 1, (HOSTILE,), (HOSTILE,), {HOSTILE: card})
    monkeypatch.setattr(info, "machine_info", lambda: machine)
    check("info", *options, exit_code=0)


def test_warnings_of_a_command(job: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def submit_here(*_: Any, **__: Any) -> Never:
        warnings.warn(HOSTILE, stacklevel=1)
        raise RunFault(HOSTILE)

    monkeypatch.setattr(submit, "submit_here", submit_here)
    check("submit", str(job), exit_code=1, says="warning: x")


def test_the_live_bar(capfd: pytest.CaptureFixture[str]) -> None:
    with BarProgress() as progress:
        progress.started(RunStart(HOSTILE, 10, 1, 0, 0, resumed=False))
        progress.message(HOSTILE)
    assert not unsafe_in("".join(capfd.readouterr()))


JOBS: dict[str, Callable[[], object]] = {"score.py": score.main, "train.py": train.main}


@pytest.mark.parametrize("name", JOBS)
def test_errors_about_the_arguments_of_a_job(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["job.yaml", f"--{HOSTILE}"], [], ["--select", HOSTILE, "job.yaml"]):
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        with pytest.raises(SystemExit, match="2"):
            JOBS[name]()
        assert not unsafe_in("".join(capfd.readouterr()))


@pytest.mark.parametrize("log", ["", "json"])
@pytest.mark.parametrize("is_fault", [False, True])
def test_a_job_on_a_cluster(
    job: Path, log: str, is_fault: bool, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def submit_on_joined_ray(_: Any, progress: Any, __: Any) -> submit.Submission:
        progress.started(RunStart(f"run-{HOSTILE}", 10, 1, 0, 0, resumed=True))
        progress.message(HOSTILE)
        warnings.warn(HOSTILE, stacklevel=1)
        if is_fault:
            raise RunFault(HOSTILE)
        return submit.Submission(outcome_of(), ())

    monkeypatch.setattr(score, "submit_on_joined_ray", submit_on_joined_ray)
    monkeypatch.setenv("DIAGCHD_BATCH_LOG", log)
    for arguments in ([str(job)], [str(job), "--until", HOSTILE], [f"/nowhere/{NAME}"], [str(job), f"{HOSTILE}=1"]):
        monkeypatch.setattr(sys, "argv", ["score.py", *arguments])
        score.main()
        assert not unsafe_in("".join(capfd.readouterr()))


def test_jobs_parse_their_arguments_with_the_console_parser() -> None:
    for path in Path(score.__file__).parent.glob("*.py"):
        assert "argparse.ArgumentParser(" not in path.read_text(encoding="utf-8"), f"{path.name}: use ConsoleParser"
