"""What a node of a cluster tells of itself: whether it can do the work, and whether it sees what the driver sees."""

import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from diagchd_batch.cluster import node
from diagchd_batch.cluster.node import Answer, Question, look
from diagchd_batch.storage import open_storage

PROJECT = Path(__file__).parents[3]


def test_every_dependency_is_looked_for():
    declared = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = {re.match(r"[\w-]+", text)[0].lower() for text in declared}
    distributions = packages_distributions()
    assert {distributions[name][0].lower() for name in node.PACKAGES} == wanted


def test_this_python_is_fit():
    assert node.unfit() == ""


def test_what_is_missing_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(node, "PACKAGES", ("numpy", "not_there_at_all"))
    assert "lacks not_there_at_all" in node.unfit()
    assert "deploy/Dockerfile" in node.unfit()
    monkeypatch.setattr(node, "PYTHON_FROM", (9, 1))
    assert "too old, 9.1 is needed" in node.unfit()


@pytest.fixture
def question(tmp_path) -> Question:
    """As a driver asks it, of a node that shares its disk."""
    tree, archive = open_storage(str(tmp_path / "out")), open_storage(str(tmp_path / "archive"))
    tree.create("runs/preflight/token", b"token")
    archive.create("study/image.png", b"")
    return Question({"output.uri": (tree.uri, "runs/preflight/token", b"token")}, archive.uri, "study/image.png", "-n")


def test_a_node_that_sees_the_same_says_so_in_the_tree(question, tmp_path):
    assert look(question) == Answer()
    assert (tmp_path / "out" / "runs" / "preflight" / "token-n").read_bytes() == b"token"


@pytest.mark.parametrize("change", ["no directory", "an empty directory", "another content"])
def test_a_tree_of_its_own_is_told(question, tmp_path, change):
    path = tmp_path / "out" / "runs" / "preflight" / "token"
    path.unlink()
    if change == "no directory":
        for directory in (path.parent, path.parent.parent, path.parent.parent.parent):
            directory.rmdir()
    elif change == "another content":
        path.write_bytes(b"other")
    assert look(question).unshared == ("output.uri",)


def test_an_input_of_its_own_is_told(question, tmp_path):
    (tmp_path / "archive" / "study" / "image.png").unlink()
    assert look(question).unshared == ("input.uri",)
