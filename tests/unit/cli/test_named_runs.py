"""How commands take the name of an output and of a run, and what they say of those that do not exist."""

from pathlib import Path
from typing import Any

import pytest

from diagchd_batch.cli.verify import _print_report
from diagchd_batch.config.job_file import JobConfig
from diagchd_batch.errors import StorageFault, UsageError
from diagchd_batch.results import open_output
from diagchd_batch.results.verify.findings import Problem, ProblemKind, VerifyReport
from diagchd_batch.runs.run_lookup import full_run_id
from diagchd_batch.runs.submit import LineageTotals, lineage_totals
from diagchd_batch.workspace import Workspace
from tests.support.command_line import diagchd_batch
from tests.support.evaluated_runs import MadeOutput, MadeStudy
from tests.unit.results.made_run import RUN_ID, make_run

OUTPUT_COMMANDS = (
    ("status",),
    ("list",),
    ("verify",),
    ("evaluate",),
    ("report",),
    ("show",),
    ("export", "worklist"),
)
FURTHER: dict[tuple[str, ...], list[str]] = {("show",): ["s-0123456789abcdef"]}


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_run(tmp_path_factory.mktemp("output"), 2).storage.uri


@pytest.mark.parametrize("command", OUTPUT_COMMANDS, ids=" ".join)
def test_an_output_that_is_not_there_is_named(command: tuple[str, ...], tmp_path: Path) -> None:
    done = diagchd_batch(*command, str(tmp_path / "mistyped"), *FURTHER.get(command, []))
    assert (done.exit_code, done.printed) == (2, "")
    assert "mistyped holds no run; name the directory or prefix that is output.uri" in done.messages
    assert not (tmp_path / "mistyped").exists()


@pytest.mark.parametrize("command", [c for c in OUTPUT_COMMANDS if c != ("list",)], ids=" ".join)
def test_a_run_that_is_not_there_is_named_with_where_to_look(command: tuple[str, ...], output: str) -> None:
    done = diagchd_batch(*command, output, *FURTHER.get(command, []), "--run-id", "no-such-run")
    assert (done.exit_code, done.printed) == (2, "")
    assert "no-such-run" in done.messages and "the command `list`" in done.messages


@pytest.mark.parametrize("runs", [(RUN_ID, "no-such-run"), ("no-such-run", RUN_ID)])
def test_compare_names_the_run_that_is_not_there(runs: tuple[str, str], output: str) -> None:
    done = diagchd_batch("compare", output, *runs)
    assert done.exit_code == 2
    assert "holds no run no-such-run" in done.messages


def test_another_private_tree_is_asked_for(output: str, tmp_path: Path) -> None:
    done = diagchd_batch("verify", output, "--private-uri", str(tmp_path))
    assert done.exit_code == 1
    assert "--private-uri" in done.messages


@pytest.mark.parametrize("command", [("status",), ("verify",), ("query",)], ids=" ".join)
def test_a_run_is_named_by_the_beginning_of_its_id(command: tuple[str, ...], output: str) -> None:
    statement = ["SELECT DISTINCT run_id FROM scores"] if command == ("query",) else []
    done = diagchd_batch(*command, output, *statement, "--run-id", RUN_ID[:5])
    assert RUN_ID in done.printed + done.messages


def test_a_beginning_that_several_ids_have_is_refused_with_all_of_them(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    for run_id in ("night", "night-2", "night-20", "other"):
        made.write_run([MadeStudy("a", [[0.2]])], run_id)
    output = open_output(made.output.uri)
    assert [full_run_id(output, name) for name in ("night", "night-20", "o", "x")] == [
        "night",
        "night-20",
        "other",
        "x",
    ]
    with pytest.raises(UsageError, match="begins with nig: night, night-2, night-20; write more of it"):
        full_run_id(output, "nig")


def test_list_says_which_run_continues_which(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.2]])], "first")
    made.write_run([MadeStudy("b", [[0.2]])], "second", parent="first")
    first, second = diagchd_batch("list", made.output.uri).printed.splitlines()
    assert "continues" not in first
    assert "files, continues first" in second


def test_a_run_that_continues_another_is_summed_up_with_it(tmp_path: Path) -> None:
    made = MadeOutput(tmp_path)
    made.write_run([MadeStudy("a", [[0.2]]), MadeStudy("b", [[0.2], [0.3]])], "first")
    made.write_run([MadeStudy("c", [[0.9]])], "second", parent="first")
    job = JobConfig.model_validate(
        {"input": {"uri": str(tmp_path / "archive"), "layout": "tree"}, "output": {"uri": made.output.uri}}
    )
    assert lineage_totals(job, "first") is None
    assert lineage_totals(job, "second") == LineageTotals(n_runs=2, n_studies=3, n_images=4, n_ok=4, n_failed=0)


@pytest.mark.parametrize("command", ["status", "list", "logs"])
def test_commands_that_only_look_wait_for_storage_for_twenty_seconds(
    command: str, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits_s: list[float] = []

    def refuse(*_: Any, object_timeout_s: float, **__: Any) -> Workspace:
        waits_s.append(object_timeout_s)
        raise StorageFault("no answer")

    monkeypatch.setattr(Workspace, "open", refuse)
    assert diagchd_batch(command, output).exit_code == 1
    assert waits_s == [20.0]


def test_verify_prints_like_problems_of_a_run_once_and_counts_the_others(capsys: pytest.CaptureFixture[str]) -> None:
    report = VerifyReport("r")
    report.add(*(Problem(ProblemKind.MISSING_SHARD, f"shard {n}", "no file", "resume") for n in range(36)))
    report.add(Problem(ProblemKind.UNFINISHED, "run r", "it runs", "wait"))
    _print_report(report)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert "shard 0" in lines[0] and "33 more of this kind; --json lists them" in lines[3] and "unfinished" in lines[4]
