"""`~` is the home directory in every argument, option and key that names a place."""

import inspect
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import diagchd_batch
from diagchd_batch.bundled_files import bundled_path
from diagchd_batch.cli.main import app
from tests.support.command_line import Ended
from tests.support.command_line import diagchd_batch as run
from tests.unit.results.made_scored_output import MadeScoredOutput

OUTPUT, STUDY = "OUTPUT", "s-0123456789abcdef"
"""`OUTPUT` stands for an output that has a run."""

CALLS: dict[tuple[str, str], list[str]] = {
    **{
        (name, "output"): [*name.split(), "HERE", *further]
        for name, *further in [
            *([name] for name in ["verify", "status", "list", "logs", "stop", "evaluate", "report"]),
            ["query", "FROM runs"],
            ["show", STUDY],
            ["delete", "--subject", "p-0123456789abcdef"],
            ["compare", "first", "second"],
            ["export shareable", "shared"],
            ["export worklist"],
            ["export dicom", "objects"],
            ["export png", "masks"],
            ["privacy check"],
        ]
    },
    **{
        (name, "private_uri"): [*name.split(), OUTPUT, *further, "--private-uri", "HERE"]
        for name, *further in [
            *([name] for name in ["verify", "status", "list", "logs", "stop", "evaluate", "report"]),
            ["query", "FROM sources"],
            ["show", STUDY],
            ["delete", "--subject", "p-0123456789abcdef"],
            ["compare", "first", "second"],
            ["export shareable", "shared"],
            ["export worklist"],
            ["export dicom", "objects"],
            ["export png", "masks"],
            ["privacy check"],
        ]
    },
    **{(name, "config"): [*name.split(), "HERE"] for name in ["plan", "index", "submit", "train"]},
    ("config show", "config"): ["config", "show", "HERE"],
    ("config validate", "config"): ["config", "validate", "HERE"],
    ("evaluate", "config"): ["evaluate", OUTPUT, "--config", "HERE"],
    ("compare", "config"): ["compare", OUTPUT, "first", "first", "--config", "HERE"],
    ("query", "out"): ["query", OUTPUT, "SELECT run_id FROM runs", "--out", "HERE.csv"],
    ("sample", "directory"): ["sample", "HERE", "--training-studies", "0"],
    ("bench", "model"): ["bench", "--model", "HERE"],
    ("bench", "weights"): ["bench", "--weights", "HERE"],
    ("export shareable", "destination"): ["export", "shareable", OUTPUT, "HERE"],
    ("export worklist", "destination"): ["export", "worklist", OUTPUT, "HERE"],
    ("export dicom", "destination"): ["export", "dicom", OUTPUT, "HERE"],
    ("export png", "destination"): ["export", "png", OUTPUT, "HERE"],
    ("privacy check", "also"): ["privacy", "check", OUTPUT, "--also", "HERE"],
    ("privacy check", "trained_in"): ["privacy", "check", OUTPUT, "--trained-in", "HERE"],
    ("models list", "models"): ["models", "list", "HERE"],
    ("models show", "model"): ["models", "show", "HERE"],
    ("models check", "model"): ["models", "check", "HERE"],
    ("models copy", "model"): ["models", "copy", "HERE", "copied"],
    ("models copy", "destination"): ["models", "copy", "diagchd-compact", "HERE"],
}
"""Every parameter that names a place, and a command with a place for it. Few of these places exist."""

PATHS = [("config show", "config"), ("compare", "config"), ("query", "out"), ("sample", "directory")]
"""The parameters that are paths on this machine, and no URIs."""

KEYS = [
    *("input.uri", "input.manifest", "output.uri", "output.private_uri", "model.name", "model.weights"),
    *("evaluation.reference", "evaluation.readers", "evaluation.covariates"),
]

NO_PLACES = {
    *("overrides", "run_id", "select", "only", "retry", "until", "address", "sql", "columns_of", "format_", "name"),
    *("subject", "study", "where", "allow", "precision", "first", "second"),
}


def _commands(group: typer.Typer, words: tuple[str, ...] = ()) -> Iterator[tuple[str, Callable[..., Any]]]:
    for command in group.registered_commands:
        assert command.callback
        yield " ".join([*words, command.name or command.callback.__name__.replace("_", "-")]), command.callback
    for inner in group.registered_groups:
        assert inner.typer_instance
        yield from _commands(inner.typer_instance, (*words, str(inner.name)))


def test_every_parameter_is_in_the_table_or_names_no_place() -> None:
    texts = {
        (name, parameter.name)
        for name, callback in _commands(app)
        for parameter in inspect.signature(callback).parameters.values()
        if parameter.name not in NO_PLACES and re.search(r"\bstr\b|Path", str(parameter.annotation))
    }
    assert texts == set(CALLS)


def test_one_function_expands_the_home_directory() -> None:
    modules = Path(diagchd_batch.__file__).parent.rglob("*.py")
    users = [path.name for path in modules if "expanduser" in path.read_text(encoding="utf-8")]
    assert users == ["uris.py"]


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = MadeScoredOutput(tmp_path_factory.mktemp("made"), [("a", "", 1)])
    made.run("first")
    return Path(made.uri)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty directory that is not the home directory."""
    (tmp_path / "work").mkdir()
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def _ended(words: list[str], output: Path, place: str, home: Path) -> tuple[Ended, list[str]]:
    """Run a command on a copy of the output. Return its end, and the files that it left in the home directory."""
    shutil.copytree(output, "output")
    ended = run(*[word.replace("HERE", place).replace(OUTPUT, "output") for word in words])
    left = sorted(str(path.relative_to(home)) for path in home.rglob("*"))
    assert not list(Path().glob("*~*")), "a directory named ~"
    for path in [Path("output"), *home.iterdir()]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    return ended, left


def _comparable(ended: Ended, home: Path) -> tuple[int, str, str]:
    """Return what a command ended with, without times, and with the home directory written out."""
    printed, messages = (re.sub(r"\d", "0", text.replace("~/", f"{home}/")) for text in (ended.printed, ended.messages))
    return ended.exit_code, printed, messages


@pytest.mark.parametrize("parameter", CALLS, ids=" ".join)
def test_a_parameter_means_the_same_with_the_home_directory_written_out(
    output: Path, home: Path, parameter: tuple[str, str]
) -> None:
    short, left = _ended(CALLS[parameter], output, "~/some/place", home)
    whole, expected = _ended(CALLS[parameter], output, f"{home}/some/place", home)
    assert left == expected
    assert _comparable(short, home) == _comparable(whole, home)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_of_the_job_file_means_the_same_with_the_home_directory_written_out(
    output: Path, home: Path, key: str
) -> None:
    tables = dict.fromkeys(("evaluation.reference", "evaluation.readers", "evaluation.covariates"), "null")
    values = tables | {"input.uri": f"{output.parent}/archive", "input.manifest": f"{output.parent}/manifest.csv"}
    values |= {key: "HERE"}
    words = [
        "plan",
        "--no-measure",
        str(bundled_path("configs/sample.yaml")),
        *(f"--set={one}={two}" for one, two in values.items()),
    ]
    short, _ = _ended(words, output, "~/some/place", home)
    whole, _ = _ended(words, output, f"{home}/some/place", home)
    assert _comparable(short, home) == _comparable(whole, home)
    nobody, _ = _ended(words, output, "~no-such-user/place", home)
    assert nobody.exit_code == 2 and "begins with ~" in nobody.messages


@pytest.mark.parametrize("parameter", [("verify", "output"), ("verify", "private_uri"), *PATHS], ids=" ".join)
def test_a_home_directory_that_nobody_has_is_named(output: Path, home: Path, parameter: tuple[str, str]) -> None:
    ended, left = _ended(CALLS[parameter], output, "~no-such-user/place", home)
    assert (ended.exit_code, left) == (2, [])
    assert "'~no-such-user/place" in ended.messages and "begins with ~" in ended.messages
