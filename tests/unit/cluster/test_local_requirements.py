"""Surroundings in which Ray would hang or fail without a reason are refused before it starts."""

import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Sequence
from pathlib import Path

import pytest

from diagchd_batch.cluster.local_cluster import LocalCluster
from diagchd_batch.cluster.local_requirements import check_local_requirements
from diagchd_batch.cluster.resources import NodeResources
from diagchd_batch.errors import RunFault

CHECK = """
import sys
from pathlib import Path
from diagchd_batch.cluster.local_requirements import check_local_requirements
from diagchd_batch.errors import DiagchdBatchError
try:
    check_local_requirements(Path("/tmp"))
except DiagchdBatchError as error:
    print(int(error.exit_code), error)
"""
Usage = namedtuple("Usage", "total used free")


def checked(command: Sequence[str], **environment: str) -> str:
    done = subprocess.run(
        [*command, "-c", CHECK], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_these_surroundings_will_do(tmp_path: Path) -> None:
    check_local_requirements(tmp_path)


@pytest.mark.parametrize(("options", "environment"), [(["-OO"], {}), ([], {"PYTHONOPTIMIZE": "2"})])
def test_python_without_docstrings_is_named(options: list[str], environment: dict[str, str]) -> None:
    answer = checked([sys.executable, *options], **environment)
    assert answer.startswith("2 ")
    assert "PYTHONOPTIMIZE" in answer


def test_python_without_assertions_will_do() -> None:
    assert checked([sys.executable], PYTHONOPTIMIZE="1") == ""


def test_a_loopback_interface_that_is_down_is_named() -> None:
    if os.geteuid() != 0 or subprocess.run(["unshare", "--net", "true"], capture_output=True).returncode != 0:
        pytest.skip("a network of its own needs root's rights")
    answer = checked(["unshare", "--net", sys.executable])  # in a new network the interface is down
    assert answer.startswith("1 the loopback interface does not answer")
    assert "ip link set lo up" in answer


@pytest.mark.parametrize(
    ("free_bytes", "starts", "goes_on"), [(1 << 30, True, True), (8 << 20, False, True), (0, False, False)]
)
def test_a_full_temporary_directory_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_bytes: int, starts: bool, goes_on: bool
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, 0, free_bytes))
    for check, passes in (
        (lambda: check_local_requirements(tmp_path), starts),
        (LocalCluster(NodeResources(1, 0, 1 << 30)).check, goes_on),
    ):
        if passes:
            check()
            continue
        with pytest.raises(RunFault, match=r"temporary directory .* free space.*TMPDIR"):
            check()
