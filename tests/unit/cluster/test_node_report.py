"""A node's report about itself: whether it can score, and whether it sees the same files as the driver."""

import ast
import re
import tomllib
from dataclasses import replace
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from diagchd_batch.cluster.node_checks import python_requirements
from diagchd_batch.cluster.node_checks.node_report import NodeProbe, NodeReport, probe_node
from diagchd_batch.cluster.node_checks.package_versions import package_versions
from diagchd_batch.storage import open_store

PROJECT = Path(__file__).parents[3]


def test_every_dependency_is_looked_for() -> None:
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {re.match(r"[\w-]+", text)[0].lower() for text in declared}
    distributions = packages_distributions()
    assert {distributions[name][0].lower() for name in python_requirements.PACKAGES} == wanted


def test_this_python_is_fit() -> None:
    assert python_requirements.unsuitable_node() == ""


def test_what_is_missing_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "left_behind" / "__pycache__").mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(python_requirements, "PACKAGES", ("numpy", "not_there_at_all", "left_behind"))
    assert "lacks not_there_at_all, left_behind" in python_requirements.unsuitable_node()
    assert "deploy/Dockerfile" in python_requirements.unsuitable_node()
    monkeypatch.setattr(python_requirements, "PYTHON_FROM", (9, 1))
    assert "too old, 9.1 is needed" in python_requirements.unsuitable_node()


@pytest.fixture
def question(tmp_path: Path) -> NodeProbe:
    """Return a driver's probe for a node that shares the driver's disk."""
    tree, archive = open_store(str(tmp_path / "out")), open_store(str(tmp_path / "archive"))
    tree.create("runs/preflight/token", b"token")
    archive.create("study/image.png", b"")
    return NodeProbe(
        {"output.uri": (tree.uri, "runs/preflight/token", b"token")},
        archive.uri,
        "study/image.png",
        "-n",
        package_versions(),
    )


def test_a_node_that_sees_the_same_says_so_in_the_tree(question: NodeProbe, tmp_path: Path) -> None:
    assert probe_node(question) == NodeReport()
    assert (tmp_path / "out" / "runs" / "preflight" / "token-n").read_bytes() == b"token"


@pytest.mark.parametrize("change", ["no directory", "an empty directory", "another content"])
def test_a_tree_of_its_own_is_told(question: NodeProbe, tmp_path: Path, change: str) -> None:
    path = tmp_path / "out" / "runs" / "preflight" / "token"
    path.unlink()
    if change == "no directory":
        for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
            directory.rmdir()
    elif change == "another content":
        path.write_bytes(b"other")
    assert probe_node(question).unshared == ("output.uri",)


def test_another_version_of_a_package_is_told(question: NodeProbe) -> None:
    problem = probe_node(replace(question, versions=question.versions | {"numpy": "1.0.0"})).problem
    assert f"numpy {package_versions()['numpy']} instead of 1.0.0" in problem
    minor = ".".join(question.versions["python"].split(".")[:2])
    assert probe_node(replace(question, versions=question.versions | {"python": f"{minor}.99"})) == NodeReport()
    assert "instead of 3.99" in probe_node(replace(question, versions=question.versions | {"python": "3.99.1"})).problem


def test_an_input_of_its_own_is_told(question: NodeProbe, tmp_path: Path) -> None:
    (tmp_path / "archive" / "study" / "image.png").unlink()
    assert probe_node(question).unshared == ("input.uri",)


@pytest.mark.parametrize(
    "name",
    [
        "jobs/run_submitted_job.py",
        "diagchd_batch/__init__.py",
        "diagchd_batch/cluster/node_checks/python_requirements.py",
    ],
)
def test_a_python_that_is_too_old_can_read_what_says_so(name: str) -> None:
    ast.parse((PROJECT / name).read_text(), feature_version=(3, 8))
