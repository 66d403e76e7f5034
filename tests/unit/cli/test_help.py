"""The help of every command: an example that the command accepts, and the grammar that all commands share."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import click
import pytest
import typer

from diagchd_batch.cli.main import app

ROOT = typer.main.get_command(app)


def _commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*words, name))
        else:
            yield (*words, name), command


COMMANDS = dict(_commands(ROOT))
BY_NAME = pytest.mark.parametrize("words", COMMANDS, ids=" ".join)


def _arguments(command: click.Command) -> list[str]:
    return [parameter.name for parameter in command.params if parameter.param_type_name == "argument"]


def _options(command: click.Command) -> set[str]:
    return {name for parameter in command.params for name in parameter.opts if parameter.param_type_name == "option"}


@BY_NAME
def test_the_help_has_an_example_that_the_command_accepts(words: tuple[str, ...]) -> None:
    command = COMMANDS[words]
    examples = re.findall(r"Example: diagchd-batch (.+)", command.help or "")
    assert len(examples) == 1, "one line that begins with `Example: diagchd-batch`"
    given = shlex.split(examples[0].partition(" && ")[0].partition(" > ")[0])
    assert tuple(given[: len(words)]) == words
    command.make_context(" ".join(words), given[len(words) :])


@BY_NAME
def test_the_output_is_the_first_argument_and_the_run_an_option(words: tuple[str, ...]) -> None:
    arguments, options = _arguments(COMMANDS[words]), _options(COMMANDS[words])
    assert "--output" not in options and "run_id" not in arguments
    if "output" in arguments:
        assert arguments[0] == "output"
        assert "--run-id" in options or words in (("compare",), ("list",), ("privacy", "check"))


WITHOUT_JSON = {
    ("logs",): "it passes on what a driver printed",
    ("query",): "--format json",
    ("config", "schema"): "it prints JSON",
    ("config", "validate"): "its answer is the exit code",
}


@BY_NAME
def test_a_command_that_prints_something_to_parse_prints_it_as_json(words: tuple[str, ...]) -> None:
    assert ("--json" in _options(COMMANDS[words])) == (words not in WITHOUT_JSON)


@pytest.mark.parametrize("name", ["list", "logs", "stop"])
def test_a_cluster_is_asked_without_an_output(name: str) -> None:
    command = COMMANDS[(name,)]
    assert "--address" in _options(command)
    assert all(not parameter.required for parameter in command.params)


@pytest.mark.parametrize("name", ["plan", "submit"])
def test_old_spellings_of_select_are_accepted_and_not_shown(name: str) -> None:
    command = COMMANDS[(name,)]
    shown = {
        option for parameter in command.params if not getattr(parameter, "hidden", False) for option in parameter.opts
    }
    assert "--select" in shown and not {"--only", "--retry"} & shown
    assert {"--only", "--retry"} <= _options(command)
