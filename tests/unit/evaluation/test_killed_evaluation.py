"""An evaluation that is killed leaves no identified data behind that the next start does not remove."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from diagchd_batch.process.scratch_files import scratch_directory

NAME = "Mustermann"
KILLED = """
import os, signal, sys
from diagchd_batch.evaluation.database import CohortDatabase
with CohortDatabase(memory_limit_bytes=int(sys.argv[1])) as database:
    database.execute("CREATE TABLE planned AS SELECT 'Mustermann ' || range AS source_study_id, hash(range) AS h "
                     "FROM range(1000000)")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_below(directory: Path, memory_limit_bytes: int) -> list[Path]:
    """Kill an evaluation, and return the files below its TMPDIR that name a person."""
    directory.mkdir(exist_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(memory_limit_bytes)], env={**os.environ, "TMPDIR": str(directory)}
    )
    assert done.returncode == -signal.SIGKILL
    return [path for path in directory.rglob("*") if path.is_file() and NAME.encode() in path.read_bytes()]


def test_names_are_in_memory(tmp_path: Path) -> None:
    assert killed_below(tmp_path / "temporary", 1_200_000_000) == []


def test_what_does_not_fit_lies_in_a_private_directory_that_the_next_start_removes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "temporary"
    spilled = killed_below(directory, 30_000_000)
    assert spilled  # Otherwise this test would prove nothing.
    (private,) = directory.iterdir()
    assert private.lstat().st_mode & 0o077 == 0
    assert all(private in path.parents for path in spilled)
    monkeypatch.setenv("TMPDIR", str(directory))
    with scratch_directory() as own:
        assert list(directory.iterdir()) == [own]


@pytest.mark.parametrize("place", ["TMPDIR"])
def test_an_orderly_end_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str) -> None:
    monkeypatch.setenv(place, str(tmp_path))
    with scratch_directory() as own:
        (own / "names").touch()
    assert list(tmp_path.iterdir()) == []
