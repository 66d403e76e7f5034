"""What `jobs/evaluate.py` and a job file that cannot be used print on a cluster names settings and no place."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from diagchd_batch.config.job_file import EvaluationConfig
from diagchd_batch.errors import InputError, StorageFault
from diagchd_batch.scoring.liveness.driver_log import read_log
from diagchd_batch.workspace import Workspace
from jobs import evaluate, score
from tests.support.evaluated_runs import FAILED, RUN_ID, MadeOutput, MadeStudy

CANARY = "ZQX"
Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeOutput:
    made = MadeOutput(tmp_path_factory.mktemp(f"output-{CANARY}"))
    made.write_run([MadeStudy("a", [[0.25]]), MadeStudy("b", [[FAILED]])])
    return made


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a job with arguments and returns its exit code and all that it printed."""

    def run(job: Callable[[], object], *arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["job", *arguments])
        try:
            exit_code = job()
        except SystemExit as end:
            exit_code = end.code
        return int(str(exit_code)), "".join(capfd.readouterr())

    return run


def job_file(directory: Path, text: str = "") -> str:
    path = directory / f"job-{CANARY}.yaml"
    path.write_text(
        f"version: 1\ninput: {{uri: /archive/{CANARY}, layout: tree}}\noutput: {{uri: /results/{CANARY}}}\n"
        f"evaluation: {{reference: /tables/{CANARY}.csv}}\n{text}"
    )
    return str(path)


def fault_of_storage(config: EvaluationConfig) -> None:
    raise StorageFault(f"{config.reference} cannot be read; check the mount")


def file_beside_a_table(config: EvaluationConfig) -> None:
    raise InputError(f"{config.reference}.old/Patientin {CANARY}: not usable")


def unforeseen(config: EvaluationConfig) -> None:
    raise KeyError(f"{CANARY} in {config.reference}")


@pytest.mark.parametrize(
    ("fault", "expected", "exit_code"),
    [
        (fault_of_storage, "error: evaluation.reference cannot be read; check the mount", 1),
        (file_beside_a_table, "error: evaluation.reference/…", 2),
        (unforeseen, "error: an unforeseen fault (KeyError)", 1),
    ],
)
def test_a_fault_of_an_evaluation_names_the_setting_and_the_private_tree_has_the_full_text(
    fault: Callable[[EvaluationConfig], None],
    expected: str,
    exit_code: int,
    run: Run,
    made: MadeOutput,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def failing(workspace: Workspace, run_id: str, *, config: EvaluationConfig, on_note: object) -> None:
        fault(config)

    monkeypatch.setattr(evaluate, "evaluate", failing)
    ended, printed = run(evaluate.main, made.output.uri, "--run-id", RUN_ID, "--config", job_file(tmp_path))
    assert ended == exit_code
    assert expected in printed and f"the command `logs` with --run-id {RUN_ID} prints it" in printed
    assert CANARY not in printed and "Traceback" not in printed
    assert CANARY in (read_log(Workspace.open(made.output.uri).private, RUN_ID) or "")


def test_an_output_without_a_run_is_not_named_and_nothing_is_written_to_it(run: Run, tmp_path: Path) -> None:
    ended, printed = run(evaluate.main, str(tmp_path / CANARY))
    assert ended == 2
    assert "output.uri" in printed and "shows the full text" in printed
    assert CANARY not in printed
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("job", [score.main, evaluate.main])
@pytest.mark.parametrize(
    ("text", "override", "expected"),
    [
        (f"shards: {{images_per_shard: '{CANARY}'}}\n", "", "not valid at shards.images_per_shard"),
        (f"model: {{precision: {CANARY}}}\n", "", "not valid at model.precision"),
        (f"{CANARY}: 1\n", "", "not valid at its first level"),
        (f"disclosure: {{Frau {CANARY}: 1}}\n", "", "not valid at disclosure"),
        (f"model: '{CANARY}\n", "", "not valid YAML at line"),
        (f"model: &{CANARY} {{}}\n", "", "not valid YAML at line 5"),
        ("", CANARY, "is not valid"),
        ("", f"input.uri.x={CANARY}", "is not valid"),
        ("", f"input={CANARY}", "not valid at input"),
    ],
)
def test_a_job_file_that_cannot_be_used_is_refused_without_its_values(
    job: Callable[[], object], text: str, override: str, expected: str, run: Run, tmp_path: Path
) -> None:
    path = job_file(tmp_path, text)
    if job is score.main:
        ended, printed = run(job, path, *([override] if override else []))
    else:
        ended, printed = run(job, str(tmp_path), "--config", path, *(["--set", override] if override else []))
    assert ended == 2
    assert f"error: the job file{'' if 'at' in expected else ', an override or an environment variable'} " in printed
    assert expected in printed and "config validate" in printed
    assert CANARY not in printed and str(tmp_path) not in printed and "Traceback" not in printed


def test_a_job_file_that_is_not_there_is_not_named(run: Run, tmp_path: Path) -> None:
    ended, printed = run(score.main, str(tmp_path / CANARY))
    assert ended == 2
    assert "the job file cannot be read (No such file or directory)" in printed
    assert CANARY not in printed
