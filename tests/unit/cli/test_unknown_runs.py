"""Commands with an output or a run that does not exist end with exit code 2 and ask for the right one."""

from pathlib import Path

import pytest

from tests.support.command_line import diagchd_batch
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
