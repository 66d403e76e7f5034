"""What lies in the working directory, or shadows a library on PYTHONPATH, is never imported by this program."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from diagchd_batch.process.import_path import PACKAGE_PARENT, protected_environment, shadowed_library

SHADOWED = ("typer", "yaml", "pydantic", "numpy", "ray", "h5py", "keras")


def plant(directory: Path, name: str, *, package: bool = False) -> Path:
    """Write a module that leaves a mark and fails when it is imported; return the mark."""
    directory.mkdir(exist_ok=True)
    mark = directory / "was-imported"
    path = directory / name / "__init__.py" if package else directory / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"open({str(mark)!r}, 'w').close(); raise RuntimeError('not the library')")
    return mark


def start(words: list[str], directory: Path, pythonpath: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=directory,
        env=environment | {"PYTHONPATH": pythonpath},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("words", "outcome"),
    [
        (["-m", "diagchd_batch", "--version"], "diagchd-batch"),
        (["-m", "jobs.score", "--help"], "usage: "),
        ([str(PACKAGE_PARENT / "jobs" / "score.py"), "--help"], "usage: "),
    ],
)
@pytest.mark.parametrize("empty_entry", ["", os.pathsep, f"{os.pathsep}."])
def test_no_library_is_taken_from_the_working_directory(
    tmp_path: Path, words: list[str], outcome: str, empty_entry: str
) -> None:
    for name in SHADOWED:
        mark = plant(tmp_path, name)
    done = start(words, tmp_path, f"{PACKAGE_PARENT}{empty_entry}")
    assert (done.returncode, mark.exists()) == (0, False), done.stderr
    assert done.stdout.lower().startswith(outcome)


@pytest.mark.parametrize("package", [False, True])
@pytest.mark.parametrize("name", ["ray", "typer", "secrets"])
@pytest.mark.parametrize("words", [["-m", "diagchd_batch", "info"], ["-m", "jobs.score", "job.yaml"]])
def test_a_library_shadowed_on_pythonpath_is_refused_with_the_setting(
    tmp_path: Path, name: str, package: bool, words: list[str]
) -> None:
    mark = plant(tmp_path / "other", name, package=package)
    done = start(words, tmp_path, f"{tmp_path / 'other'}{os.pathsep}{PACKAGE_PARENT}")
    assert (done.returncode, mark.exists()) == (2, False), done.stderr
    assert "PYTHONPATH" in done.stderr
    assert str(tmp_path / "other") in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_modules_of_ones_own_shadow_nothing(on_path: Path) -> None:
    plant(on_path, "my_own_tools")
    plant(on_path, "sitecustomize")
    (on_path / "numpy").mkdir()  # without __init__.py: the library wins
    assert shadowed_library(os.environ) == ""


def test_libraries_installed_elsewhere_are_taken(on_path: Path) -> None:
    plant(on_path, "numpy", package=True)
    assert "numpy" in shadowed_library(os.environ)
    metadata = on_path / "numpy-2.3.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 2.3.0\n")
    (metadata / "RECORD").write_text("numpy/__init__.py,,\nnumpy-2.3.0.dist-info/METADATA,,\n")
    assert shadowed_library(os.environ) == ""


def test_processes_that_are_started_get_neither_the_working_directory_nor_relative_entries(tmp_path: Path) -> None:
    named = os.pathsep.join(["", str(tmp_path), ".", "relative"])
    assert protected_environment({"PYTHONPATH": named}) == {
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{Path('relative').absolute()}",
    }
    assert protected_environment({}) == {"PYTHONSAFEPATH": "1"}
