"""A deletion that is killed at any moment leaves the old state, or one that the next command finishes."""

import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from diagchd_batch import output_layout
from diagchd_batch.errors import RunFault
from diagchd_batch.runs.delete import delete
from diagchd_batch.runs.verify import verify
from tests.support.scoring_runs import PROJECT
from tests.unit.results.made_scored_output import MadeScoredOutput, files

N_KILLS = 10
SUBJECT = "subject-of-ada"

DELETE = textwrap.dedent("""
    import sys
    from diagchd_batch.results import open_output
    from diagchd_batch.runs.delete import delete
    print("ready", flush=True)
    sys.stdin.readline()
    delete(open_output(sys.argv[1]), subject=sys.argv[2], confirmed=True)
""")


@pytest.mark.slow
def test_a_deletion_that_is_killed_is_undone_or_finished(tmp_path: Path) -> None:
    made = MadeScoredOutput(tmp_path / "made", [("a", SUBJECT, 3), ("b", "subject-b", 3), ("c", SUBJECT, 2)])
    made.run("first")
    made.studies += [("d", SUBJECT, 1), ("e", "subject-e", 1)]
    made.run("second", parent="first")
    old = _state(made.root)
    whole = tmp_path / "whole"
    shutil.copytree(made.root, whole)
    began_s = time.monotonic()
    delete(MadeScoredOutput(whole).output, subject=SUBJECT, confirmed=True)
    duration_s = time.monotonic() - began_s
    new = _state(whole)

    moments = random.Random(0)
    endings = []
    for number in range(N_KILLS):
        root = tmp_path / f"killed-{number}"
        shutil.copytree(made.root, root)
        _kill_deletion(root / "out", after_s=moments.uniform(0, 1.2) * duration_s)
        endings.append(_check(root, old, new))
        shutil.rmtree(root)
    # A busy machine shifts the moments, so no number is asked for each ending.
    assert len(set(endings)) > 1, endings


def _kill_deletion(output: Path, after_s: float) -> None:
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    with subprocess.Popen(
        [sys.executable, "-c", DELETE, str(output), SUBJECT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
    ) as process:
        assert process.stdout and process.stdin
        assert process.stdout.readline() == b"ready\n"
        process.stdin.write(b"\n")
        process.stdin.flush()
        time.sleep(after_s)
        process.send_signal(signal.SIGKILL)


def _state(root: Path) -> dict[str, bytes]:
    """Return the files of an output that count: not those that are only staged, nor half-written ones."""
    return {
        path.removeprefix(str(root)): content
        for path, content in files(str(root / "out")).items()
        if f"/{output_layout.DELETION_PREFIX}" not in path and "/.tmp-" not in path
    }


def _check(root: Path, old: dict[str, bytes], new: dict[str, bytes]) -> str:
    output = MadeScoredOutput(root).output
    if output.private.stat(output_layout.DELETION_JOURNAL) is None:
        ending = "old" if _state(root) == old else "new"
        assert _state(root) in (old, new)
        if ending == "old":
            assert verify(output).ok
            delete(output, subject=SUBJECT, confirmed=True)
    else:
        ending = "unfinished"
        with pytest.raises(RunFault, match="deletion of this output is not finished"):
            verify(output)
        delete(output, confirmed=True)
    assert _state(root) == new
    assert verify(output).ok
    return ending
